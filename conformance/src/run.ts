/** Runs items on one target. */

import type { Item, Mode, Rights, Section, Variant } from './item.js';
import { atLeast, type Version } from './kernel.js';
import type { World } from './world.js';

/** What came of one variant on one target. */
export interface Outcome {
  readonly item: string;
  /** Which of the item's variants. */
  readonly variant: number;
  /** What was seen instead; absent where the target answered as expected. */
  readonly failure?: string;
}

export interface Target {
  /** `simulation seed`, `kernel 6.1`. */
  readonly name: string;
  readonly kind: 'simulation' | 'kernel';
  readonly version: Version;
  /** What this target can set up. */
  readonly modes: readonly Mode[];
  readonly rights: readonly Rights[];
  /** What variants may need of it. */
  readonly has: readonly NonNullable<Variant['needs']>[];
  /** A world for one variant. The runner ends it. */
  readonly world: (variant: Variant) => World;
}

/** Whether a kernel of this version answers by this variant. */
export const covers = ({ from = 'seed', below }: Variant, version: Version): boolean =>
  atLeast(version, from) && (below === undefined || !atLeast(version, below));

export function applies(variant: Variant, target: Omit<Target, 'world'>): boolean {
  if (!covers(variant, target.version)) return false;
  if (target.kind === 'kernel' ? variant.simulationOnly !== undefined : variant.kernelOnly !== undefined) return false;
  if (variant.needs !== undefined && !target.has.includes(variant.needs)) return false;
  return target.modes.includes(variant.mode ?? 'iommu') && target.rights.includes(variant.rights ?? 'all');
}

async function runVariant(variant: Variant, target: Target): Promise<string | undefined> {
  let world: World | undefined;
  try {
    world = target.world(variant);
    await variant.run(world);
    world.end();
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    try {
      world?.end();
    } catch (late) {
      return `${message}; and at the end: ${late instanceof Error ? late.message : String(late)}`;
    }
    return message;
  }
}

/** Every variant of these sections that the target can show, in order. */
export async function runSections(
  sections: readonly Section[],
  target: Target,
  chosen: (item: Item) => boolean = () => true,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const item of sections.flatMap(({ items }) => items).filter(chosen)) {
    for (const [index, variant] of item.variants.entries()) {
      if (!applies(variant, target)) continue;
      const failure = await runVariant(variant, target);
      outcomes.push({ item: item.id, variant: index, ...(failure === undefined ? {} : { failure }) });
    }
  }
  return outcomes;
}
