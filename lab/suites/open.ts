import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';
import { mode } from './guest.js';

/** Opens a bound function in the way of this boot: with its IOMMU, or without one, on purpose. */
export const openForMode = async (address: string): Promise<PciDevice> =>
  mode === 'noiommu'
    ? PciDevice.from(await openUnsafe(address, { acknowledge: acknowledgement }))
    : PciDevice.open(address);
