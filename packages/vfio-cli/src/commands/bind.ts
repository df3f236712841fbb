import { isVfioError, type SystemCalls } from 'vfio-core';
import { type BindPlan, type BindResult, bind, bindPlan, unbind, unbindPlan } from 'vfio-pci';
import { errorFacts, json, type Output } from '../output.js';

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
  act: (plan: BindPlan) => BindResult,
): number {
  if (!options.yes) {
    if (options.json) output.out(json({ done: false, plans }));
    else {
      for (const plan of plans) describe(output, plan);
      output.out('Nothing was changed. Run it again with --yes to do this.');
    }
    return 0;
  }
  // Said one by one: where a later one fails, what was changed before it is known.
  const results: BindResult[] = [];
  for (const plan of plans) {
    try {
      const result = act(plan);
      results.push(result);
      if (!options.json) report(output, result);
    } catch (thrown) {
      if (!options.json || !isVfioError(thrown)) throw thrown;
      output.out(json({ done: false, plans, results, failed: plan.address, error: errorFacts(thrown) }));
      return 1;
    }
  }
  if (options.json) output.out(json({ done: true, plans, results }));
  return 0;
}

const change = ({ address, from, to }: BindPlan): string =>
  `${address}: ${from ?? 'no driver'} -> ${to ?? 'no driver'}`;

function report(output: Output, result: BindResult): void {
  output.out(change(result));
  // Only a function that vfio-pci holds asks something of the rest of its group.
  if (result.driver !== 'vfio-pci' || result.stillToBind.length === 0) return;
  output.out(`  its group cannot be used yet: vfio bind ${result.stillToBind.join(' ')} --yes`);
}

function describe(output: Output, plan: BindPlan): void {
  output.out(change(plan));
  for (const { path, value, why } of plan.steps) output.out(`  write ${JSON.stringify(value)} to ${path}  (${why})`);
  if (plan.steps.length === 0) output.out('  nothing to do');
}
