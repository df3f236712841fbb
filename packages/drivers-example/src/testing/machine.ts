/** A simulated machine with one NVMe controller, and what a test wants to know of it. */

import {
  type NvmeOptions as ModelOptions,
  memoryDisk,
  type NvmeController,
  nvmeController,
  simulation,
} from 'vfio-sim';
import { Nvme } from '../nvme/controller.js';
import type { NvmeOptions } from '../nvme/options.js';

export const ADDRESS = '0000:01:00.0';
/** Each way for completions to arrive. */
export const modes = ['msix', 'msi', 'intx', 'polled'] as const;

export function machine(options: Partial<ModelOptions> = {}) {
  const disks = options.disks ?? [memoryDisk(1 << 22), memoryDisk(1 << 22, { blockSize: 4096 })];
  const backend = simulation({ devices: { [ADDRESS]: nvmeController({ ...options, disks }) } });
  return {
    backend,
    faults: (backend.device(ADDRESS).model as NvmeController).faults,
    open: (more: NvmeOptions = {}) => Nvme.open(ADDRESS, { backend, ...more }),
    /** What the process holds: nothing of it may be left after a close. */
    leaks: () => ({
      openFds: backend.openFds.length,
      lockedBytes: backend.lockedBytes,
      mappings: backend.mappings.length,
    }),
    /** DMA that the IOMMU refused. */
    dmaFaults: () => backend.faults.length,
  };
}
