import { PciDevice } from 'vfio-pci';
import { edu, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { eduBehaviour } from './index.js';

const address = '0000:01:00.0';

describe('the model of edu', () => {
  for (const { title, run } of eduBehaviour) {
    it(title, async () => {
      const backend = simulation({ devices: { [address]: edu() } });
      await run({
        open: () => PciDevice.open(address, { backend }),
        refused: async () => backend.faults.map((fault) => ({ address: fault.address, write: fault.write })),
      });
      expect(backend.openFds).toEqual([]);
      expect(backend.mappings).toEqual([]);
      expect(backend.lockedBytes).toBe(0);
      backend[Symbol.dispose]();
    });
  }
});
