import { mebibytes, nvme, plan, type Run } from '../../src/suite.js';

/** For a quick look: fewer rounds. */
const rounds = (name: string) => (process.env[name] === undefined ? {} : { [name]: process.env[name] });

/** A disk in each of so many slots. */
const disks = (count: number): Pick<Run, 'slots' | 'disks'> => {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  return {
    slots: numbers.map((number) => [nvme(`disk${number}`, `id=card${number}`)]),
    disks: numbers.map((number) => ({ name: `disk${number}`, bytes: mebibytes(16) })),
  };
};

const machine = (name: string, more: Partial<Run> = {}): Run => ({
  name,
  mode: 'iommu',
  memoryMiB: 1536,
  ...disks(1),
  scripts: ['victim.ts'],
  environment: { ...rounds('FAULTS_MANY'), ...rounds('FAULTS_FEW') },
  seconds: 600,
  silentSeconds: 120,
  ...more,
});

const asked = /vfio-pci 0000:0[1-9a]:00\.0: (Relaying device request to user|.*blocked until device is released)/;

export default plan({
  title: 'processes and Workers that end in the middle of DMA, devices that are taken away or fall asleep under it',
  runs: [
    machine('ended'),
    machine('taken', { expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }] }),
    machine('unplugged', {
      ...disks(10),
      expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }],
    }),
  ],
  judge: (runs) => ({
    fields: { scenarios: Object.assign({}, ...runs.map(({ fields }) => fields)) as Record<string, unknown> },
  }),
});
