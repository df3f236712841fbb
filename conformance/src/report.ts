/** What all targets together say of each item. */

import type { Item, Section } from './item.js';
import { covers, type Outcome, type Target } from './run.js';

/** One target and what it answered. */
export interface TargetResult extends Pick<Target, 'name' | 'kind' | 'version'> {
  readonly outcomes: readonly Outcome[];
}

export type Status = 'agree' | 'kernelDiffers' | 'simulationOnly' | 'kernelOnly' | 'failed';

export interface Verdict {
  readonly item: Item;
  readonly status: Status;
  /** For all but `agree`: why. */
  readonly reason: string;
  /** Targets that answered as expected. */
  readonly seenOn: readonly string[];
  readonly witnessedOnKernel: boolean;
  /** Some variant ran on the simulation alone, since no kernel that was run is of its versions. */
  readonly byReading: boolean;
}

export function judge(item: Item, results: readonly TargetResult[]): Verdict {
  const all = results.flatMap((target) =>
    target.outcomes.filter((outcome) => outcome.item === item.id).map((outcome) => ({ target, outcome })),
  );
  const kernels = results.filter(({ kind }) => kind === 'kernel');
  const onKernel = all.filter(({ target, outcome }) => target.kind === 'kernel' && outcome.failure === undefined);
  const onSimulation = all.filter(({ target }) => target.kind === 'simulation');
  const failures = all.filter(({ outcome }) => outcome.failure !== undefined);
  const verdict = (status: Status, reason: string): Verdict => ({
    item,
    status,
    reason,
    seenOn: [...new Set(all.filter(({ outcome }) => outcome.failure === undefined).map(({ target }) => target.name))],
    witnessedOnKernel: onKernel.length > 0,
    byReading: item.variants.some(
      (variant, index) =>
        onSimulation.some(({ outcome }) => outcome.variant === index) &&
        !kernels.some(({ version }) => covers(variant, version)),
    ),
  });
  if (item.missing !== undefined) return verdict('failed', item.missing);
  if (failures.length > 0)
    return verdict('failed', failures.map(({ target, outcome }) => `${target.name}: ${outcome.failure}`).join('; '));
  if (onKernel.length > 0 && onSimulation.length > 0)
    return item.differs === undefined ? verdict('agree', '') : verdict('kernelDiffers', item.differs);
  const reasonOf = (key: 'simulationOnly' | 'kernelOnly') =>
    item.variants.map((variant) => variant[key]).find((reason) => reason !== undefined);
  if (onKernel.length > 0)
    return reasonOf('kernelOnly') === undefined
      ? verdict('failed', 'a kernel shows it, the simulation does not, and no reason is given')
      : verdict('kernelOnly', reasonOf('kernelOnly') as string);
  if (onSimulation.length === 0) return verdict('failed', 'no target ran it');
  const reason =
    reasonOf('simulationOnly') ??
    (item.variants.some((variant) => kernels.some(({ version }) => covers(variant, version)))
      ? undefined
      : 'no kernel of these versions was run');
  return reason === undefined
    ? verdict('failed', 'the simulation shows it, no kernel did, and no reason is given')
    : verdict('simulationOnly', reason);
}

interface Counts {
  items: number;
  agree: number;
  kernelDiffers: number;
  simulationOnly: number;
  kernelOnly: number;
  failed: number;
  witnessedOnKernel: number;
  byReading: number;
}

export interface Report {
  readonly targets: readonly string[];
  readonly sections: Readonly<Record<string, Counts>>;
  readonly total: Counts;
  readonly kernelDiffers: readonly Reason[];
  readonly simulationOnly: readonly Reason[];
  readonly kernelOnly: readonly Reason[];
  readonly failed: readonly Reason[];
}

export interface Reason {
  readonly item: string;
  readonly reason: string;
}

const none = (): Counts => ({
  items: 0,
  agree: 0,
  kernelDiffers: 0,
  simulationOnly: 0,
  kernelOnly: 0,
  failed: 0,
  witnessedOnKernel: 0,
  byReading: 0,
});

export function report(
  sections: readonly Section[],
  results: readonly TargetResult[],
): { readonly report: Report; readonly verdicts: readonly Verdict[] } {
  const verdicts = sections.flatMap(({ items }) => items.map((item) => judge(item, results)));
  const total = none();
  const counted: Record<string, Counts> = {};
  for (const section of sections) {
    const counts = none();
    for (const { status, witnessedOnKernel, byReading } of verdicts.filter(({ item }) =>
      section.items.includes(item),
    )) {
      counts.items++;
      counts[status]++;
      if (witnessedOnKernel) counts.witnessedOnKernel++;
      if (byReading) counts.byReading++;
    }
    counted[section.name] = counts;
    for (const key of Object.keys(total) as (keyof Counts)[]) total[key] += counts[key];
  }
  const reasons = (status: Status): Reason[] =>
    verdicts.filter((verdict) => verdict.status === status).map(({ item, reason }) => ({ item: item.id, reason }));
  return {
    verdicts,
    report: {
      targets: results.map(({ name }) => name),
      sections: counted,
      total,
      kernelDiffers: reasons('kernelDiffers'),
      simulationOnly: reasons('simulationOnly'),
      kernelOnly: reasons('kernelOnly'),
      failed: reasons('failed'),
    },
  };
}
