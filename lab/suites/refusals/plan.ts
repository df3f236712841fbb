import { mebibytes, noiommuMessages, nvme, plan, type Run } from '../../src/suite.js';

/** Slot 1: edu. Slot 2: edu and a disk in one group. Slot 3: a disk. Slot 4: edu, which is pulled out. */
const machine = (name: string, mode: Run['mode'], more: Partial<Run> = {}): Run => ({
  name,
  mode,
  memoryMiB: 1536,
  slots: [
    ['edu'],
    ['edu,addr=0.0,multifunction=on', nvme('neighbour', 'addr=0.1')],
    [nvme('disk')],
    ['edu,id=leaving'],
  ],
  disks: ['neighbour', 'disk'].map((disk) => ({ name: disk, bytes: mebibytes(16) })),
  carryModules: ['nvme'],
  ...more,
});

export default plan({
  title: 'what the SDK says when something is wrong, and that nothing stays open, on the real kernel',
  runs: [
    machine('iommu', 'iommu', {
      expected: [
        {
          pattern: /vfio-pci 0000:04:00\.0: Relaying device request to user/,
          reason: 'a device is pulled out while a program has it [LIFE-9]',
        },
        { pattern: /vfio-pci 0000:04:00\.0: .*blocked until device is released/, reason: 'the same, later' },
      ],
    }),
    machine('unloaded', 'iommu', { vfio: false }),
    machine('noiommu', 'noiommu', { hugePages: 32, expected: noiommuMessages }),
  ],
});
