/**
 * Shows that the suite notices: one rule of the simulated kernel is broken, and those items of its section fail that speak of
 * it, and no others.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Version } from './src/kernel.js';
import { runSections } from './src/run.js';
import { sections } from './src/sections.js';
import { simulationTarget, withIoctl } from './src/simulation.js';
import { E, word } from './src/world.js';

type Rule = Parameters<typeof withIoctl>[1];

interface Mutation {
  /** What is told otherwise. */
  readonly words: string;
  readonly rule: Rule;
  /** The simulated kernel; 6.1 by default. */
  readonly kernel?: Version;
  /** The items of the section that must fail. */
  readonly fails: readonly string[];
}

/** Where `request` answers `right`, it answers `wrong`. */
const instead =
  (requests: number | readonly number[], right: number, wrong: number): Rule =>
  (request, _argument, answer) => {
    if (![requests].flat().includes(request)) return undefined;
    const result = answer();
    return result === right ? wrong : result;
  };

/** Changes what a call that succeeded wrote back. */
const rewritten =
  (wanted: number, change: (bytes: Uint8Array) => void): Rule =>
  (request, argument, answer) => {
    if (request !== wanted) return undefined;
    const result = answer();
    if (result >= 0 && argument instanceof Uint8Array) change(argument);
    return result;
  };

/** SET_IRQS of an index does nothing. */
const deaf =
  (index: number): Rule =>
  (request, argument) =>
    request === 0x3b6e && argument instanceof Uint8Array && word(argument, 8) === index ? 0 : undefined;

const mutations: Readonly<Record<string, readonly Mutation[]>> = {
  GEN: [
    {
      words: 'an unknown command is EINVAL everywhere',
      rule: (request) => (request === 0x3b64 + 99 ? E.INVAL : undefined),
      fails: ['GEN-2', 'GEN-3'],
    },
    {
      words: 'a reply that cannot be written is EINVAL',
      rule: instead([0x3b6b, 0x3b70], E.FAULT, E.INVAL),
      fails: ['GEN-5'],
    },
  ],
  CTR: [
    { words: 'the version of the interface is 1', rule: instead(0x3b64, 0, 1), fails: ['CTR-2'] },
    {
      words: 'SET_IOMMU without a group, of a second model and of what is no model is EBUSY',
      rule: instead(0x3b66, E.INVAL, E.BUSY),
      fails: ['CTR-1', 'CTR-9', 'CTR-10', 'CTR-12'],
    },
    {
      words: 'no model can unmap all at once',
      rule: (request, argument) => (request === 0x3b65 && argument === 9 ? 0 : undefined),
      fails: ['CTR-3'],
    },
  ],
  GRP: [
    {
      words: 'a group with an open device may leave its container',
      rule: instead(0x3b69, E.BUSY, 0),
      fails: ['GRP-21'],
    },
    {
      words: 'a group never says that it is in a container',
      rule: rewritten(0x3b67, (bytes) => bytes.set([word(bytes, 4) & ~2], 4)),
      fails: ['GRP-6', 'GRP-8', 'GRP-9', 'GRP-10', 'GRP-18', 'GRP-33'],
    },
    {
      words: 'a name that is not of the group is EINVAL',
      rule: instead(0x3b6a, E.NODEV, E.INVAL),
      fails: ['GRP-26', 'GRP-27', 'GRP-28', 'GRP-32'],
    },
  ],
  NOI: [
    {
      words: 'MAP_DMA without an IOMMU is EINVAL',
      rule: instead(0x3b71, E.NOTTY, E.INVAL),
      fails: ['NOI-19'],
    },
    {
      words: 'SET_CONTAINER asks for no right',
      rule: instead(0x3b68, E.PERM, 0),
      fails: ['NOI-10'],
    },
    {
      words: 'no container and no iommufd says that it knows no-IOMMU mode',
      kernel: '6.12',
      rule: (request, argument) => (request === 0x3b65 && argument === 8 ? 0 : undefined),
      fails: ['NOI-14', 'NOI-15', 'NOI-26'],
    },
  ],
  T1: [
    {
      words: 'an overlap is EINVAL',
      rule: instead(0x3b71, E.EXIST, E.INVAL),
      fails: ['T1-1', 'T1-15', 'T1-23', 'T1-33', 'T1-45'],
    },
    {
      words: 'the limit of locked memory is EAGAIN',
      rule: instead(0x3b71, E.NOMEM, E.AGAIN),
      fails: ['T1-29', 'T1-30', 'T1-31'],
    },
    {
      words: 'IOMMU_GET_INFO gives every power of two as a page size',
      rule: rewritten(0x3b70, (bytes) => bytes.fill(0xff, 8, 16)),
      fails: ['T1-10', 'T1-11', 'T1-34'],
    },
    {
      words: 'what UNMAP_DMA refuses as invalid succeeds',
      rule: instead(0x3b72, E.INVAL, 0),
      fails: ['T1-1', 'T1-35', 'T1-36', 'T1-40', 'T1-44', 'T1-45', 'T1-46'],
    },
  ],
  LIFE: [
    {
      words: 'no device has the RESET flag',
      rule: rewritten(0x3b6b, (bytes) => bytes.set([word(bytes, 4) & ~1], 4)),
      fails: ['LIFE-1', 'LIFE-12'],
    },
    { words: 'an open during a reset is EBUSY', rule: instead(0x3b6a, E.AGAIN, E.BUSY), fails: ['LIFE-2'] },
    { words: 'ERR is never signalled', rule: deaf(3), fails: ['LIFE-12', 'LIFE-15'] },
    { words: 'REQ is never signalled', rule: deaf(4), fails: ['LIFE-9'] },
  ],
  IFD: [
    {
      words: 'ATTACH of a number that nothing has is EINVAL',
      kernel: '6.12',
      rule: instead(0x3b77, E.NOENT, E.INVAL),
      fails: ['IFD-10'],
    },
    {
      words: 'what is in use is not there, for DESTROY',
      kernel: '6.12',
      rule: instead(0x3b80, E.BUSY, E.NOENT),
      fails: ['IFD-9', 'IFD-20'],
    },
    {
      words: 'an iommufd in the place of a container has the extension of nested translation',
      kernel: '6.12',
      rule: (request, argument) => (request === 0x3b65 && argument === 6 ? 1 : undefined),
      fails: ['IFD-31'],
    },
  ],
};

async function failing(name: string, rule: Rule, kernel: Version = '6.1'): Promise<string[]> {
  const target = simulationTarget(kernel, (system) => withIoctl(system, rule));
  const outcomes = await runSections(
    sections.filter((section) => section.name === name),
    target,
  );
  return [...new Set(outcomes.filter(({ failure }) => failure !== undefined).map(({ item }) => item))];
}

describe.each(Object.entries(mutations))('of section %s', (name, list) => {
  it.each(['6.1', '6.12'] as const)('nothing fails where nothing is changed, on %s', async (kernel) => {
    expect(await failing(name, () => undefined, kernel)).toEqual([]);
  });

  it.each(list)('those items fail that speak of it: $words', async ({ rule, fails, kernel }) => {
    expect(await failing(name, rule, kernel)).toEqual(fails);
  });
});

const folder = new URL('./items/', import.meta.url);
/** Files of items with the numbers of what is in them. */
const files = readdirSync(folder)
  .map((file) => ({ file, ids: readFileSync(new URL(file, folder), 'utf8').match(/(?<=')[A-Z]+\d?-\d+(?=')/g) ?? [] }))
  .filter(({ ids }) => ids.length > 0);

describe.each(files)('items/$file', ({ ids }) => {
  it('has an item that fails by one of these broken rules', () => {
    const caught = Object.values(mutations).flatMap((list) => list.flatMap(({ fails }) => fails));
    expect(ids.filter((id) => caught.includes(id))).not.toEqual([]);
  });
});

it('every section has a rule that is broken', () => {
  expect(Object.keys(mutations)).toEqual(sections.map(({ name }) => name));
});
