/** The model without an IOMMU: device addresses are physical addresses, section 3 of the behaviours. */

import type { Segment } from './address-space.js';
import type { DmaFault } from './log.js';
import type { Machine } from './machine.js';
import type { DmaDomain } from './pci/function.js';

/** No-IOMMU mode is built in and switched on ([NOI-1]). */
export const noiommuMode = ({ build, parameters }: Machine): boolean =>
  build.VFIO_NOIOMMU && parameters.vfio.enable_unsafe_noiommu_mode;

export class NoIommu implements DmaDomain {
  constructor(private readonly machine: Machine) {}

  /** CHECK_EXTENSION: 1 for extension 8 while the parameter is Y ([NOI-14], [NOI-15], [NOI-18]). */
  static extension(machine: Machine, number: number): number {
    return number === 8 && noiommuMode(machine) ? 1 : 0;
  }

  /** Memory of this process only: whatever else a real device would overwrite is a fault here. */
  resolve(address: bigint): Segment | DmaFault['reason'] {
    return this.machine.memory.atPhysical(address) ?? 'no memory';
  }
}
