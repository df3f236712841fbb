import type { SystemCalls } from 'vfio-core';
import { diagnose } from '../doctor/index.js';
import { json, type Output } from '../output.js';

const marks = { ok: 'ok     ', info: 'info   ', warning: 'warning', failed: 'FAILED ' } as const;

/** `vfio doctor [ADDRESS]`: exit code 1 when a check failed. */
export function doctor(
  system: SystemCalls,
  output: Output,
  address: string | undefined,
  options: { json?: boolean },
): number {
  const diagnosis = diagnose(system, address);
  if (options.json) output.out(json(diagnosis));
  else {
    for (const check of diagnosis.checks) {
      output.out(`${marks[check.status]}  ${check.title}: ${check.found}`);
      if (check.cure !== undefined) output.out(`           cure: ${check.cure}`);
    }
    output.out(diagnosis.ok ? 'Drivers can run here.' : 'Drivers cannot run here yet.');
  }
  return diagnosis.ok ? 0 : 1;
}
