/**
 * Structures of the VFIO user interface, under their C tags.
 * Source: linux/vfio.h. A C program checks sizes and offsets against the headers of real kernels.
 *
 * The sizes are those since capability chains came; kernels of before take the `minimum`, which they fill, and leave the rest 0.
 * `vfio_device_info` and `vfio_iommu_type1_info` got a trailing `pad` later; kernels that have it accept the size without.
 */

import { field, type Struct } from './struct.js';

const header = { argsz: field(0, 'u32'), flags: field(4, 'u32') } as const;
/** A `struct vfio_info_cap_header` in front. */
const capability = { header: { offset: 0, size: 8 } } as const;
/** An array of open length at the end. */
const open = (offset: number) => ({ offset, size: 0 });

export const structs = {
  vfio_info_cap_header: {
    size: 8,
    fields: { id: field(0, 'u16'), version: field(2, 'u16'), next: field(4, 'u32') },
  },

  vfio_group_status: { size: 8, fields: { ...header } },

  vfio_device_info: {
    size: 20,
    minimum: 16,
    fields: { ...header, num_regions: field(8, 'u32'), num_irqs: field(12, 'u32'), cap_offset: field(16, 'u32') },
  },

  vfio_region_info: {
    size: 32,
    fields: {
      ...header,
      index: field(8, 'u32'),
      cap_offset: field(12, 'u32'),
      size: field(16, 'u64'),
      offset: field(24, 'u64'),
    },
  },
  vfio_region_sparse_mmap_area: { size: 16, fields: { offset: field(0, 'u64'), size: field(8, 'u64') } },
  vfio_region_info_cap_sparse_mmap: {
    size: 16,
    fields: { ...capability, nr_areas: field(8, 'u32'), reserved: field(12, 'u32'), areas: open(16) },
  },
  vfio_region_info_cap_type: {
    size: 16,
    fields: { ...capability, type: field(8, 'u32'), subtype: field(12, 'u32') },
  },

  vfio_irq_info: { size: 16, fields: { ...header, index: field(8, 'u32'), count: field(12, 'u32') } },
  vfio_irq_set: {
    size: 20,
    fields: {
      ...header,
      index: field(8, 'u32'),
      start: field(12, 'u32'),
      count: field(16, 'u32'),
      data: open(20),
    },
  },

  vfio_pci_dependent_device: {
    size: 8,
    fields: { group_id: field(0, 'u32'), segment: field(4, 'u16'), bus: field(6, 'u8'), devfn: field(7, 'u8') },
  },
  vfio_pci_hot_reset_info: { size: 12, fields: { ...header, count: field(8, 'u32'), devices: open(12) } },
  vfio_pci_hot_reset: { size: 12, fields: { ...header, count: field(8, 'u32'), group_fds: open(12) } },

  vfio_device_ioeventfd: {
    size: 32,
    minimum: 28,
    fields: { ...header, offset: field(8, 'u64'), data: field(16, 'u64'), fd: field(24, 's32') },
  },
  vfio_device_feature: { size: 8, fields: { ...header, data: open(8) } },

  // Kernels since 6.17 have a pointer to a VF token behind it, at `bindTokenAt`; those since 6.15 a PASID behind the other two.
  vfio_device_bind_iommufd: {
    size: 16,
    fields: { ...header, iommufd: field(8, 's32'), out_devid: field(12, 'u32') },
  },
  vfio_device_attach_iommufd_pt: { size: 12, fields: { ...header, pt_id: field(8, 'u32') } },
  vfio_device_detach_iommufd_pt: { size: 8, fields: { ...header } },

  vfio_iommu_type1_info: {
    size: 24,
    minimum: 16,
    fields: { ...header, iova_pgsizes: field(8, 'u64'), cap_offset: field(16, 'u32') },
  },
  vfio_iova_range: { size: 16, fields: { start: field(0, 'u64'), end: field(8, 'u64') } },
  vfio_iommu_type1_info_cap_iova_range: {
    size: 16,
    fields: { ...capability, nr_iovas: field(8, 'u32'), reserved: field(12, 'u32'), iova_ranges: open(16) },
  },
  vfio_iommu_type1_info_cap_migration: {
    size: 32,
    fields: {
      ...capability,
      flags: field(8, 'u32'),
      pgsize_bitmap: field(16, 'u64'),
      max_dirty_bitmap_size: field(24, 'u64'),
    },
  },
  vfio_iommu_type1_info_dma_avail: { size: 12, fields: { ...capability, avail: field(8, 'u32') } },

  vfio_iommu_type1_dma_map: {
    size: 32,
    fields: { ...header, vaddr: field(8, 'u64'), iova: field(16, 'u64'), size: field(24, 'u64') },
  },
  vfio_iommu_type1_dma_unmap: {
    size: 24,
    fields: { ...header, iova: field(8, 'u64'), size: field(16, 'u64'), data: open(24) },
  },

  vfio_bitmap: { size: 24, fields: { pgsize: field(0, 'u64'), size: field(8, 'u64'), data: field(16, 'u64') } },
  vfio_iommu_type1_dirty_bitmap: { size: 8, fields: { ...header, data: open(8) } },
  vfio_iommu_type1_dirty_bitmap_get: {
    size: 40,
    fields: { iova: field(0, 'u64'), size: field(8, 'u64'), bitmap: { offset: 16, size: 24 } },
  },
} as const satisfies Record<string, Struct>;

/** Where kernels since 6.17 look for the address of a VF token's 16 bytes, behind `vfio_device_bind_iommufd` ([IFD-15]). */
export const bindTokenAt = 16;

/** The C tag of a structure in {@link structs}. */
export type StructName = keyof typeof structs;
