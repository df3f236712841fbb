import { readdirSync, readFileSync } from 'node:fs';
import { isVfioError, type VfioError } from 'vfio-core';
import { check, same } from '../guest.js';

/** What this process holds that a device or the SDK could have left behind. */
const held = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  locked: /VmLck:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1],
  maps: readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /anon_inode|\/dev\/|memfd:/.test(line)).length,
});

/** Runs `work`, which must be refused with `code`, and leave descriptors, locked memory and maps as they were. */
export async function refused(code: string, work: () => unknown): Promise<VfioError> {
  const before = held();
  let error: unknown;
  try {
    await work();
  } catch (thrown) {
    error = thrown;
  }
  check(error !== undefined, `not refused, though ${code} was expected`);
  check(isVfioError(error), `not an error of the SDK: ${String(error)}`);
  same(error.code, code, `code of "${error.message}"`);
  check((error.remedy ?? '').length > 0, `no remedy: ${error.message}`);
  same(held(), before, 'descriptors, locked memory and maps');
  return error;
}

/** What {@link attempt} brings back of the other process. */
export interface Attempt {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly remedy?: string;
    readonly details?: Readonly<Record<string, unknown>>;
  } | null;
  readonly before: unknown;
  readonly after: unknown;
}
