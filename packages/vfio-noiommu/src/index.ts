/** The unsafe mode of VFIO: devices without an IOMMU, on purpose. */

export { acknowledgement } from './acknowledgement.js';
export { leftoverFiles, type OpenUnsafeOptions, openUnsafe } from './open-unsafe.js';
export { PhysicalSpace } from './physical-space.js';
