/** The cases once more on the model, reached as a driver reaches it: through VFIO, with an IOMMU and without one. */

import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';
import { memoryDisk, nvmeController, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { nvmeBehaviour, possible, runBehaviour } from './index.js';
import { NvmeOnDevice } from './on-device.js';

const address = '0000:01:00.0';

const machine = (noiommu: boolean): Simulation => {
  const disks = [memoryDisk(16 << 20, { blockSize: 512 }), memoryDisk(16 << 20, { blockSize: 4096 })];
  return simulation({ devices: { [address]: nvmeController({ disks }) }, noiommu });
};

const places = [
  {
    name: 'with an IOMMU',
    noiommu: false,
    open: (backend: Simulation) => PciDevice.open(address, { backend }),
  },
  {
    name: 'without an IOMMU',
    noiommu: true,
    open: (backend: Simulation) => openUnsafe(address, { acknowledge: acknowledgement, backend }),
  },
];

for (const { name, noiommu, open } of places) {
  describe(`the NVMe controller model over VFIO ${name}`, () => {
    it('is asked about every behaviour: none is left out here', async () => {
      const raw = await NvmeOnDevice.open(await open(machine(noiommu)), { kind: 'model' });
      expect(nvmeBehaviour.filter((behaviour) => !possible(behaviour, raw))).toEqual([]);
      raw.close();
    });

    for (const behaviour of nvmeBehaviour) {
      it(behaviour.title, async () => {
        const backend = machine(noiommu);
        const raw = await NvmeOnDevice.open(await open(backend), { kind: 'model' });
        await runBehaviour(behaviour, raw);
        expect(raw.memoryHeld).toBe(0);
        raw.close();
        expect(backend.openFds).toEqual([]);
        expect(backend.mappings).toEqual([]);
        expect(backend.lockedBytes).toBe(0);
        expect(backend.faults.length > 0).toBe(behaviour.needs === 'refusal');
        backend[Symbol.dispose]();
      });
    }
  });
}
