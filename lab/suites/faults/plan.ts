import { mebibytes, nvme, plan, type Run } from '../../src/suite.js';
import { throttle } from './load.js';

/** Rounds of what the product promises most, and of the rest. Fewer for a quick look: FAULTS_MANY, FAULTS_FEW. */
const rounds = (many: number, few: number): Record<string, string> => ({
  FAULTS_MANY: process.env.FAULTS_MANY ?? String(many),
  FAULTS_FEW: process.env.FAULTS_FEW ?? String(few),
});

/** A disk in each of so many slots. */
const disks = (count: number, options: { readonly options?: string } = {}): Pick<Run, 'slots' | 'disks'> => {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  return {
    slots: numbers.map((number) => [nvme(`disk${number}`, `id=card${number}`)]),
    disks: numbers.map((number) => ({ name: `disk${number}`, bytes: mebibytes(16), ...options })),
  };
};

/** Kinds of what goes wrong; each is a part of guest.ts. */
type Part = 'killed' | 'ended' | 'taken' | 'unplugged';

const asked = /vfio-pci 0000:0[1-9a]:00\.0: (Relaying device request to user|.*blocked until device is released)/;

/** A boot in which these go wrong. */
const machine = (name: string, parts: readonly Part[], way: 'container' | 'iommufd'): Run => ({
  name,
  mode: 'iommu',
  kernel: way === 'iommufd' ? '6.12' : '6.1',
  memoryMiB: 1536,
  ...(parts.includes('unplugged') ? disks(10) : disks(1, { options: throttle })),
  scripts: ['victim.ts'],
  environment: {
    ...(way === 'iommufd' ? rounds(10, 2) : rounds(50, 5)),
    FAULTS_PARTS: parts.join(' '),
    FAULTS_WAY: way,
  },
  // Every process at the same addresses: the emulation then knows its code already, and starts it in half the time.
  kernelArguments: ['norandmaps'],
  expected: parts.some((part) => part === 'taken' || part === 'unplugged')
    ? [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }]
    : [],
  seconds: 900,
  silentSeconds: 120,
});

export default plan({
  title: 'processes and Workers that end in the middle of DMA, devices that are taken away or fall asleep under it',
  runs: [
    machine('ended', ['ended'], 'container'),
    machine('killed', ['killed'], 'container'),
    machine('taken', ['taken'], 'container'),
    machine('iommufd', ['killed', 'ended', 'taken'], 'iommufd'),
    machine('unplugged', ['unplugged'], 'container'),
    machine('unplugged-iommufd', ['unplugged'], 'iommufd'),
  ],
  // A guest is kept waiting much of its time: by resets, by the port that unplugs.
  sideBySide: 2,
  judge: (runs) => ({
    fields: { scenarios: Object.assign({}, ...runs.map(({ fields }) => fields)) as Record<string, unknown> },
  }),
});
