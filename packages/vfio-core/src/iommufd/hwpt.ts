/** A page table of the hardware (HWPT) in an iommufd, which knows what devices wrote. Source: linux/iommufd.h. */

import { checkDirtyRange, DirtyPages, type DirtyRange } from '../memory/dirty-pages.js';
import { iommufdConstants, iommufdStructs } from '../uapi/iommufd.js';
import { decode, encode } from '../uapi/struct.js';
import type { Ioas } from './ioas.js';
import type { Iommufd } from './iommufd.js';
import { IommufdObject } from './object.js';

/** What stands before {@link Hwpt.allocate}. */
export interface HwptRequest {
  /** The number that binding gave: for the IOMMU behind this device. */
  readonly device: number;
  /** Whose mappings it has. */
  readonly ioas: Ioas;
  /** It can tell what devices wrote. False by default. */
  readonly dirtyTracking?: boolean;
  /** The tables of a guest may stand on it. False by default. */
  readonly nestParent?: boolean;
}

/**
 * A page table that devices are attached to by `DeviceFile.attach`. For an address space alone none is needed: the kernel makes one
 * when a device is attached to it.
 */
export class Hwpt extends IommufdObject {
  readonly tracksDirty: boolean;

  private constructor(iommufd: Iommufd, id: number, tracksDirty: boolean) {
    super(iommufd, id);
    this.tracksDirty = tracksDirty;
  }

  /** Throws `ERR_VFIO_NOT_SUPPORTED` where kernel (before 6.7) or IOMMU cannot track writes ([IFD-37]). */
  static allocate({ device, ioas, dirtyTracking = false, nestParent = false }: HwptRequest): Hwpt {
    const { iommufd } = ioas;
    const struct = iommufdStructs.iommu_hwpt_alloc;
    const flags =
      (dirtyTracking ? iommufdConstants.IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0) |
      (nestParent ? iommufdConstants.IOMMU_HWPT_ALLOC_NEST_PARENT : 0);
    const bytes = encode(struct, { flags, dev_id: device, pt_id: ioas.id });
    iommufd.call('IOMMU_HWPT_ALLOC', bytes, {
      what: dirtyTracking ? 'making a page table that tells what devices write' : 'making a page table',
      means: {
        EOPNOTSUPP: 'the IOMMU behind the device has none of this kind, or the kernel none',
        ENOTTY: 'the kernel is too old for it (before 6.6)',
      },
      ...(dirtyTracking ? { remedy: 'It takes Linux 6.7 or later and an IOMMU that can: iommuHardware() tells.' } : {}),
      details: { device, ioas: ioas.id, dirtyTracking, nestParent },
    });
    return new Hwpt(iommufd, decode(struct, bytes).out_hwpt_id, dirtyTracking);
  }

  /** Begins or ends to keep track of writes; what was written before counts as clean. */
  setDirtyTracking(on: boolean): void {
    const flags = on ? iommufdConstants.IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0;
    const bytes = encode(iommufdStructs.iommu_hwpt_set_dirty_tracking, { flags, hwpt_id: this.id });
    this.iommufd.call('IOMMU_HWPT_SET_DIRTY_TRACKING', bytes, { details: { hwpt: this.id } });
  }

  /**
   * Pages of a range that devices wrote to since they were asked for before ([IFD-38]).
   * @param clear false leaves them written, for the next that asks
   */
  readDirty(range: DirtyRange, clear = true): DirtyPages {
    const struct = iommufdStructs.iommu_hwpt_get_dirty_bitmap;
    const bitmap = new Uint8Array(checkDirtyRange(range));
    const { iova, size, pageSize } = range;
    const bytes = encode(struct, {
      hwpt_id: this.id,
      flags: clear ? 0 : iommufdConstants.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
      iova,
      length: size,
      page_size: BigInt(pageSize),
    });
    this.iommufd.call('IOMMU_HWPT_GET_DIRTY_BITMAP', bytes, {
      places: { pointers: [{ at: struct.fields.data.offset, bytes: bitmap }] },
      means: {
        EINVAL: 'the range does not consist of pages of the IOMMU, or tracking is off',
        EOPNOTSUPP: 'the page table was not made to track writes',
      },
      details: { hwpt: this.id, iova, size, pageSize },
    });
    return new DirtyPages(range, bitmap);
  }
}

/** What GET_HW_INFO says of the IOMMU behind a device. */
export interface IommuHardware {
  /** 0 nothing more is told, 1 Intel VT-d, others by the kernel's header. */
  readonly type: number;
  /** Bits of the kernel; bit 0 is `tracksDirty`. */
  readonly capabilities: bigint;
  /** It can tell what devices wrote. */
  readonly tracksDirty: boolean;
}

/**
 * Throws `ERR_VFIO_NOT_SUPPORTED` where the kernel is older than 6.6 or the device is behind no IOMMU.
 * @param device the number that binding gave
 */
export function iommuHardware(iommufd: Iommufd, device: number): IommuHardware {
  const struct = iommufdStructs.iommu_hw_info;
  const bytes = encode(struct, { dev_id: device });
  iommufd.call('IOMMU_GET_HW_INFO', bytes, { details: { device } });
  const { out_data_type, out_capabilities } = decode(struct, bytes);
  const dirty = BigInt(iommufdConstants.IOMMU_HW_CAP_DIRTY_TRACKING);
  return { type: out_data_type, capabilities: out_capabilities, tracksDirty: (out_capabilities & dirty) !== 0n };
}
