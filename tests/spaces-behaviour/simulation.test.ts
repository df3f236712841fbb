import { edu, memoryDisk, nvmeController, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { type SpacesBench, spacesBehaviour } from './index.js';

const [nvme, otherNvme, teacher] = ['0000:01:00.0', '0000:02:00.1', '0000:02:00.0'] as const;

/** As in the lab: edu shares its group with the second disk. */
const machine = (iommufd: boolean): Simulation =>
  simulation({
    ...(iommufd ? { kernel: '6.12', iommufd: true } : { kernel: '6.1' }),
    devices: {
      [nvme]: nvmeController({ disks: [memoryDisk(16 << 20)] }),
      [teacher]: edu(),
      [otherNvme]: nvmeController({ disks: [memoryDisk(16 << 20)] }),
    },
    groups: { 7: [teacher, otherNvme] },
    hugePages: 16,
  });

const kernels = [
  { way: 'container', iommufd: false },
  { way: 'container', iommufd: true },
  { way: 'iommufd-container', iommufd: true },
  { way: 'iommufd', iommufd: true },
] as const;

describe.each(kernels)('address spaces by way of $way, with iommufd: $iommufd', ({ way, iommufd }) => {
  for (const { title, run, hugePages = 0 } of spacesBehaviour) {
    // The simulated machine has huge pages of 2 MiB.
    if (hugePages > 2 ** 21) continue;
    it(title, async () => {
      const sim = machine(iommufd);
      const bench: SpacesBench = { backend: sim, way, nvme, otherNvme, edu: teacher, hugePages: [2 ** 21] };
      await run(bench);
      expect([sim.openFds, sim.mappings, sim.lockedBytes, sim.userMappings, sim.faults]).toEqual([[], [], 0, [], []]);
    });
  }
});
