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

const asked = /vfio-pci 0000:0[1-9a]:00\.0: (Relaying device request to user|.*blocked until device is released)/;

const common: Omit<Run, 'name'> = {
  mode: 'iommu',
  memoryMiB: 1536,
  ...disks(1, { options: throttle }),
  scripts: ['victim.ts'],
  environment: rounds(50, 5),
  // Every process at the same addresses: the emulation then knows its code already, and starts it in half the time.
  kernelArguments: ['norandmaps'],
  seconds: 900,
  silentSeconds: 120,
};

const runs: Run[] = [
  { ...common, name: 'killed' },
  { ...common, name: 'ended' },
  {
    ...common,
    name: 'taken',
    expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }],
  },
  {
    ...common,
    name: 'unplugged',
    ...disks(10),
    expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }],
  },
];

export default plan({
  title: 'processes and Workers that end in the middle of DMA, devices that are taken away or fall asleep under it',
  runs: [
    ...runs,
    ...runs.map((run): Run => ({ ...run, name: `${run.name}-iommufd`, kernel: '6.12', environment: rounds(10, 2) })),
  ],
  // A guest is kept waiting much of its time: by resets, by the port that unplugs.
  sideBySide: 2,
  judge: (runs) => ({
    fields: { scenarios: Object.assign({}, ...runs.map(({ fields }) => fields)) as Record<string, unknown> },
  }),
});
