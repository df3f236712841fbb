import { edu, type KernelVersion, memoryDisk, nvmeController, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { type IommufdBench, iommufdBehaviour } from './index.js';

const [lone, teacher, sibling] = ['0000:01:00.0', '0000:02:00.0', '0000:02:00.1'] as const;

/** As in the lab. */
const machine = (kernel: KernelVersion, dirtyTracking: boolean): Simulation =>
  simulation({
    kernel,
    iommufd: kernel !== '6.1',
    iommu: { dirtyTracking },
    devices: {
      [lone]: nvmeController({ disks: [memoryDisk(1 << 20)] }),
      [teacher]: edu(),
      [sibling]: nvmeController({ disks: [memoryDisk(1 << 20)] }),
    },
    groups: { 7: [teacher, sibling] },
  });

const machines = [
  { kernel: '6.12', has: { dirtyTracking: false, mapFile: false, changeProcess: false } },
  { kernel: '6.12', has: { dirtyTracking: true, mapFile: false, changeProcess: false } },
  { kernel: '7.3', has: { dirtyTracking: true, mapFile: true, changeProcess: true } },
] as const;

it.each(iommufdBehaviour.filter(({ container }) => container))('6.1: $title', async ({ run }) => {
  const sim = machine('6.1', false);
  const has = { dirtyTracking: false, mapFile: false, changeProcess: false };
  await run({ backend: sim, lone, edu: teacher, sibling, has });
  expect([sim.openFds, sim.mappings, sim.lockedBytes, sim.userMappings, sim.faults]).toEqual([[], [], 0, [], []]);
});

describe.each(machines)('iommufd of the simulated $kernel, tracking: $has.dirtyTracking', ({ kernel, has }) => {
  for (const { title, run } of iommufdBehaviour) {
    it(title, async () => {
      const sim = machine(kernel, has.dirtyTracking);
      const bench: IommufdBench = { backend: sim, lone, edu: teacher, sibling, has };
      await run(bench);
      expect([sim.openFds, sim.mappings, sim.lockedBytes, sim.userMappings, sim.faults]).toEqual([[], [], 0, [], []]);
    });
  }
});
