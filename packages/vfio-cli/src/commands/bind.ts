import type { SystemCalls } from 'vfio-core';
import { type BindPlan, bind, bindPlan, unbind, unbindPlan } from 'vfio-pci';
import { json, type Output } from '../output.js';

interface Options {
  json?: boolean;
  yes?: boolean;
}

/** `vfio bind ADDRESS...`: hands functions to vfio-pci. Without `--yes` it only says what it would do. */
export function bindCommand(
  system: SystemCalls,
  output: Output,
  addresses: readonly string[],
  options: Options & { driver?: string },
): number {
  const driver = options.driver ?? 'vfio-pci';
  const plans = addresses.map((address) => bindPlan(address, { backend: system, driver }));
  return perform(output, plans, options, (plan) => bind(plan.address, { backend: system, driver }));
}

/** `vfio unbind ADDRESS...`: gives functions back to the driver that they had before. */
export function unbindCommand(
  system: SystemCalls,
  output: Output,
  addresses: readonly string[],
  options: Options & { to?: string },
): number {
  const target = { backend: system, ...(options.to === undefined ? {} : { to: options.to }) };
  const plans = addresses.map((address) => unbindPlan(address, target));
  return perform(output, plans, options, (plan) => unbind(plan.address, target));
}

/** All plans are made, and so checked, before the first is carried out. */
function perform(
  output: Output,
  plans: readonly BindPlan[],
  options: Options,
  act: (plan: BindPlan) => unknown,
): number {
  if (!options.yes) {
    if (options.json) output.out(json({ done: false, plans }));
    else {
      for (const plan of plans) describe(output, plan);
      output.out('Nothing was changed. Run it again with --yes to do this.');
    }
    return 0;
  }
  const results = plans.map((plan) => act(plan));
  if (options.json) output.out(json({ done: true, plans, results }));
  else
    for (const plan of plans) output.out(`${plan.address}: ${plan.from ?? 'no driver'} -> ${plan.to ?? 'no driver'}`);
  return 0;
}

function describe(output: Output, plan: BindPlan): void {
  output.out(`${plan.address}: ${plan.from ?? 'no driver'} -> ${plan.to ?? 'no driver'}`);
  for (const { path, value, why } of plan.steps) output.out(`  write ${JSON.stringify(value)} to ${path}  (${why})`);
  if (plan.steps.length === 0) output.out('  nothing to do');
}
