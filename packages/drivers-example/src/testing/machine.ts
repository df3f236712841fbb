import { memoryDisk } from '../../../vfio-sim/src/disks/memory-disk.js';
import type { NvmeFaults } from '../../../vfio-sim/src/models/nvme/index.js';
import { type NvmeOptions as ModelOptions, nvmeController } from '../../../vfio-sim/src/models/nvme/index.js';
import { Nvme } from '../nvme/controller.js';
import type { NvmeOptions } from '../nvme/options.js';
import { modelDevice } from './model-device.js';

export const modes = ['polled'] as const;
export function machine(options: Partial<ModelOptions> = {}) {
  const disks = options.disks ?? [memoryDisk(1 << 22), memoryDisk(1 << 22, { blockSize: 4096 })];
  const m = modelDevice(nvmeController({ ...options, disks }));
  return {
    faults: (m.model as never as { faults: NvmeFaults }).faults,
    open: (more: NvmeOptions = {}) => Nvme.open(m.device, { interrupts: 'polled', ...more }),
    refused: () => m.bus.refused.length,
    leaks: () => ({ openFds: 0, lockedBytes: m.open.size }),
  };
}
