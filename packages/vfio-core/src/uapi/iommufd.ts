/**
 * The user interface of iommufd, under its C names. Every structure starts with its `size`, which {@link encode} fills in; kernels
 * take a longer one than they know if the rest is 0, and a shorter one down to its `minimum` ([IFD-17]).
 *
 * Source: linux/iommufd.h. A C program checks sizes, offsets and numbers against the headers of real kernels; what came after 6.12
 * (IOAS_MAP_FILE, IOAS_CHANGE_PROCESS) is in none that it has.
 */

import { constants } from './constants.js';
import { field, type Struct } from './struct.js';

/** `_IO(';', n)`, the numbers of iommufd begin at 0x80. */
const io = (n: number): number => (constants.VFIO_TYPE << 8) | n;

/** ioctl numbers of `/dev/iommu` by name. */
export const IommufdIoctl = {
  IOMMU_DESTROY: io(0x80),
  IOMMU_IOAS_ALLOC: io(0x81),
  IOMMU_IOAS_ALLOW_IOVAS: io(0x82),
  IOMMU_IOAS_COPY: io(0x83),
  IOMMU_IOAS_IOVA_RANGES: io(0x84),
  IOMMU_IOAS_MAP: io(0x85),
  IOMMU_IOAS_UNMAP: io(0x86),
  IOMMU_OPTION: io(0x87),
  IOMMU_VFIO_IOAS: io(0x88),
  IOMMU_HWPT_ALLOC: io(0x89),
  IOMMU_GET_HW_INFO: io(0x8a),
  IOMMU_HWPT_SET_DIRTY_TRACKING: io(0x8b),
  IOMMU_HWPT_GET_DIRTY_BITMAP: io(0x8c),
  /** Since 6.13. */
  IOMMU_IOAS_MAP_FILE: io(0x8f),
  /** Since 6.14. */
  IOMMU_IOAS_CHANGE_PROCESS: io(0x92),
} as const;

/** The name of an ioctl of `/dev/iommu`. */
export type IommufdIoctlName = keyof typeof IommufdIoctl;

/** All numbers of iommufd, ioctls included. */
export const iommufdConstants = {
  ...IommufdIoctl,

  IOMMU_IOAS_MAP_FIXED_IOVA: 1 << 0,
  IOMMU_IOAS_MAP_WRITEABLE: 1 << 1,
  IOMMU_IOAS_MAP_READABLE: 1 << 2,

  IOMMU_OPTION_RLIMIT_MODE: 0,
  IOMMU_OPTION_HUGE_PAGES: 1,
  IOMMU_OPTION_OP_SET: 0,
  IOMMU_OPTION_OP_GET: 1,

  IOMMU_VFIO_IOAS_GET: 0,
  IOMMU_VFIO_IOAS_SET: 1,
  IOMMU_VFIO_IOAS_CLEAR: 2,

  IOMMU_HWPT_ALLOC_NEST_PARENT: 1 << 0,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: 1 << 1,
  IOMMU_HWPT_DATA_NONE: 0,

  IOMMU_HW_INFO_TYPE_NONE: 0,
  IOMMU_HW_INFO_TYPE_INTEL_VTD: 1,
  IOMMU_HW_CAP_DIRTY_TRACKING: 1 << 0,

  IOMMU_HWPT_DIRTY_TRACKING_ENABLE: 1,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: 1,
} as const;

const size = field(0, 'u32');

export const iommufdStructs = {
  iommu_destroy: { size: 8, fields: { size, id: field(4, 'u32') } },

  iommu_ioas_alloc: { size: 12, fields: { size, flags: field(4, 'u32'), out_ioas_id: field(8, 'u32') } },
  iommu_iova_range: { size: 16, fields: { start: field(0, 'u64'), last: field(8, 'u64') } },
  iommu_ioas_iova_ranges: {
    size: 32,
    fields: {
      size,
      ioas_id: field(4, 'u32'),
      num_iovas: field(8, 'u32'),
      allowed_iovas: field(16, 'u64'),
      out_iova_alignment: field(24, 'u64'),
    },
  },
  iommu_ioas_allow_iovas: {
    size: 24,
    fields: { size, ioas_id: field(4, 'u32'), num_iovas: field(8, 'u32'), allowed_iovas: field(16, 'u64') },
  },
  iommu_ioas_map: {
    size: 40,
    fields: {
      size,
      flags: field(4, 'u32'),
      ioas_id: field(8, 'u32'),
      user_va: field(16, 'u64'),
      length: field(24, 'u64'),
      iova: field(32, 'u64'),
    },
  },
  iommu_ioas_map_file: {
    size: 40,
    fields: {
      size,
      flags: field(4, 'u32'),
      ioas_id: field(8, 'u32'),
      fd: field(12, 's32'),
      start: field(16, 'u64'),
      length: field(24, 'u64'),
      iova: field(32, 'u64'),
    },
  },
  iommu_ioas_copy: {
    size: 40,
    fields: {
      size,
      flags: field(4, 'u32'),
      dst_ioas_id: field(8, 'u32'),
      src_ioas_id: field(12, 'u32'),
      length: field(16, 'u64'),
      dst_iova: field(24, 'u64'),
      src_iova: field(32, 'u64'),
    },
  },
  iommu_ioas_unmap: {
    size: 24,
    fields: { size, ioas_id: field(4, 'u32'), iova: field(8, 'u64'), length: field(16, 'u64') },
  },
  iommu_ioas_change_process: { size: 8, fields: { size } },

  iommu_option: {
    size: 24,
    fields: {
      size,
      option_id: field(4, 'u32'),
      op: field(8, 'u16'),
      object_id: field(12, 'u32'),
      val64: field(16, 'u64'),
    },
  },
  iommu_vfio_ioas: { size: 12, fields: { size, ioas_id: field(4, 'u32'), op: field(8, 'u16') } },

  iommu_hwpt_alloc: {
    size: 48,
    minimum: 24,
    fields: {
      size,
      flags: field(4, 'u32'),
      dev_id: field(8, 'u32'),
      pt_id: field(12, 'u32'),
      out_hwpt_id: field(16, 'u32'),
      data_type: field(24, 'u32'),
      data_len: field(28, 'u32'),
      data_uptr: field(32, 'u64'),
      fault_id: field(40, 'u32'),
    },
  },
  iommu_hw_info: {
    size: 40,
    minimum: 32,
    fields: {
      size,
      flags: field(4, 'u32'),
      dev_id: field(8, 'u32'),
      data_len: field(12, 'u32'),
      data_uptr: field(16, 'u64'),
      out_data_type: field(24, 'u32'),
      out_max_pasid_log2: field(28, 'u8'),
      out_capabilities: field(32, 'u64'),
    },
  },
  iommu_hwpt_set_dirty_tracking: { size: 16, fields: { size, flags: field(4, 'u32'), hwpt_id: field(8, 'u32') } },
  iommu_hwpt_get_dirty_bitmap: {
    size: 48,
    fields: {
      size,
      hwpt_id: field(4, 'u32'),
      flags: field(8, 'u32'),
      iova: field(16, 'u64'),
      length: field(24, 'u64'),
      page_size: field(32, 'u64'),
      data: field(40, 'u64'),
    },
  },
} as const satisfies Record<string, Struct>;

/** The C tag of a structure in {@link iommufdStructs}. */
export type IommufdStructName = keyof typeof iommufdStructs;
