/** An NVMe controller in software. */

import type { DeviceBus } from '../../model/contract.js';
import { NvmeController } from './controller.js';
import { completeOptions, type NvmeOptions } from './options.js';

export type { NvmeController } from './controller.js';
export type { CommandFault, NvmeFaults } from './faults.js';
export type { NvmeOptions } from './options.js';

/**
 * An NVMe 1.4 controller with a namespace for each disk, as a place on the bus takes it:
 * `simulation({ devices: { '0000:01:00.0': nvmeController({ disks: [memoryDisk(1 << 30)] }) } })`.
 *
 * Throws `ERR_VFIO_ARGUMENT` for what no controller could be.
 */
export function nvmeController(options: NvmeOptions): (bus: DeviceBus) => NvmeController {
  const full = completeOptions(options);
  return (bus) => new NvmeController(bus, full);
}
