/** An address space of an iommufd: which device addresses lead to which memory. Source: linux/iommufd.h. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import type { AddressRange } from '../memory/dma.js';
import type { Mapper, MapperInfo, MapRequest } from '../memory/mapper.js';
import type { ExitStep, Fd, SystemCalls } from '../seam/system-calls.js';
import { IommufdIoctl, iommufdConstants, iommufdStructs } from '../uapi/iommufd.js';
import { decodeIovaRanges, encodeIovaRanges } from '../uapi/iova-ranges.js';
import { decode, encode, StructBytes } from '../uapi/struct.js';
import type { Iommufd, IommufdCall } from './iommufd.js';
import { IommufdObject } from './object.js';

/** Ranges that are asked for at first; common machines have two or three. */
const someRanges = 16;
/** A kernel that has more than this is not believed. */
const mostRanges = 1 << 16;
const everything = { iova: 0n, length: 2n ** 64n - 1n } as const;

/** What devices may do. */
export interface IoasAccess {
  readonly read: boolean;
  readonly write: boolean;
}

/** What {@link Ioas.mapFile} maps. */
export interface MapFileRequest extends IoasAccess {
  /** A memfd, or a file on hugetlbfs. */
  readonly fd: Fd;
  /** Bytes in the file. */
  readonly offset: number;
  readonly size: number;
  /** The kernel chooses without. */
  readonly iova?: bigint | undefined;
}

/** What {@link Ioas.copy} clones. */
export interface CopyRequest extends IoasAccess {
  readonly from: Ioas;
  /** There. */
  readonly source: bigint;
  readonly size: bigint | number;
  /** Here; the kernel chooses without. */
  readonly iova?: bigint | undefined;
}

/** Maps and unmaps in an address space of an iommufd. No policy: that is `IommufdSpace`. */
export class Ioas extends IommufdObject implements Mapper {
  private readonly mapCall = new StructBytes(iommufdStructs.iommu_ioas_map, { ioas_id: this.id });
  private readonly unmapCall = new StructBytes(iommufdStructs.iommu_ioas_unmap, { ioas_id: this.id });

  /** A new one. Several may be in one iommufd ([IFD-22]). */
  static allocate(iommufd: Iommufd): Ioas {
    const bytes = encode(iommufdStructs.iommu_ioas_alloc);
    iommufd.call('IOMMU_IOAS_ALLOC', bytes);
    return new Ioas(iommufd, decode(iommufdStructs.iommu_ioas_alloc, bytes).out_ioas_id);
  }

  get system(): SystemCalls {
    return this.iommufd.system;
  }

  /**
   * Usable ranges, and what addresses are multiples of ([IFD-23]). Of the IOMMU's page sizes the kernel tells the smallest only: any
   * above it may be one. The number of mappings has no limit.
   */
  info(): MapperInfo {
    const { ranges, alignment } = this.ranges();
    return { pageSizes: BigInt.asUintN(64, -alignment), ranges, available: undefined };
  }

  /** What `IOAS_IOVA_RANGES` says; before a device is attached, that everything goes. */
  ranges(): { ranges: AddressRange[]; alignment: bigint } {
    const request = 'IOMMU_IOAS_IOVA_RANGES';
    let room = someRanges;
    // Once more where there are more than expected, and once more if a device joined in between.
    for (let round = 0; round < 3; round++) {
      const { bytes, array, places } = encodeIovaRanges(this.id, room);
      const answer = this.iommufd.answer(request, bytes, places);
      const { num_iovas } = decode(iommufdStructs.iommu_ioas_iova_ranges, bytes);
      if (answer !== -Errno.EMSGSIZE) {
        this.iommufd.check(answer, request, { details: { ioas: this.id } });
        return decodeIovaRanges(bytes, array);
      }
      if (num_iovas <= room || num_iovas > mostRanges) break;
      room = num_iovas;
    }
    throw new VfioError('ERR_VFIO_MALFORMED', `the kernel has not enough room in ${room} ranges of device addresses.`, {
      syscall: 'ioctl',
      request,
      path: this.iommufd.path,
    });
  }

  /**
   * Makes sure that these ranges stay usable: a device that cannot reach all of them cannot be attached from now on. Replaces the list
   * of before ([IFD-29]). Throws `ERR_VFIO_ARGUMENT`, `ERR_VFIO_BUSY` where an attached device cannot reach them already.
   */
  allow(ranges: readonly AddressRange[]): void {
    const { bytes, places } = encodeIovaRanges(this.id, ranges.length, ranges);
    this.iommufd.call('IOMMU_IOAS_ALLOW_IOVAS', bytes, {
      places,
      codes: { EADDRINUSE: 'ERR_VFIO_BUSY' },
      means: {
        EINVAL: 'a range ends where it starts or before, or two overlap',
        EADDRINUSE: 'a device that is attached cannot reach all of them',
      },
      details: { ioas: this.id, ranges },
    });
  }

  /** Whether neighbouring pages are mapped as larger ones. True by default; to be switched off before anything is mapped. */
  get largePages(): boolean {
    return this.iommufd.option(iommufdConstants.IOMMU_OPTION_HUGE_PAGES, this.id) === 1n;
  }

  setLargePages(on: boolean): void {
    this.iommufd.setOption(iommufdConstants.IOMMU_OPTION_HUGE_PAGES, this.id, on ? 1n : 0n);
  }

  /** Throws `ERR_VFIO_MAPPING`, `ERR_VFIO_NO_MEMORY` ([IFD-24] to [IFD-27]). */
  map(request: MapRequest): void {
    this.iommufd.call('IOMMU_IOAS_MAP', this.mapCall.set(mapValues(request)), () => mapFacts(request));
  }

  async mapAsync(request: MapRequest): Promise<void> {
    const bytes = encode(iommufdStructs.iommu_ioas_map, { ioas_id: this.id, ...mapValues(request) });
    await this.iommufd.callAsync('IOMMU_IOAS_MAP', bytes, mapFacts(request));
  }

  /** As {@link map}, where the kernel chooses. @returns the device address */
  mapAnywhere(request: Omit<MapRequest, 'iova'>): bigint {
    this.iommufd.call('IOMMU_IOAS_MAP', this.mapCall.set(mapValues(request)), () => mapFacts(request));
    return this.mapCall.get('iova');
  }

  /**
   * Maps a part of a file instead of an address, so that it can go over to another process ({@link Iommufd.changeProcess}).
   * Since 6.13; `ERR_VFIO_NOT_SUPPORTED` before ([IFD-36]).
   * @returns the device address
   */
  mapFile({ fd, offset, size, iova, ...access }: MapFileRequest): bigint {
    const struct = iommufdStructs.iommu_ioas_map_file;
    const bytes = encode(struct, {
      flags: mapFlags(access, iova !== undefined),
      ioas_id: this.id,
      fd,
      start: BigInt(offset),
      length: BigInt(size),
      iova: iova ?? 0n,
    });
    const facts = mapFacts({ iova, size });
    this.iommufd.call('IOMMU_IOAS_MAP_FILE', bytes, {
      ...facts,
      codes: { ...facts.codes, EBADF: 'ERR_VFIO_ARGUMENT' },
      details: { iova, size, fd, offset },
    });
    return decode(struct, bytes).iova;
  }

  /**
   * Maps what is mapped in another address space of the same iommufd, here too; its pages are not pinned, and not charged, again
   * ([IFD-29]). The two mappings end independently of each other.
   * @returns the device address here
   */
  copy({ from, source, size, iova, ...access }: CopyRequest): bigint {
    const struct = iommufdStructs.iommu_ioas_copy;
    const bytes = encode(struct, {
      flags: mapFlags(access, iova !== undefined),
      dst_ioas_id: this.id,
      src_ioas_id: from.id,
      length: BigInt(size),
      dst_iova: iova ?? 0n,
      src_iova: source,
    });
    const facts = mapFacts({ iova, size });
    this.iommufd.call('IOMMU_IOAS_COPY', bytes, {
      ...facts,
      means: {
        ...facts.means,
        ENOENT: 'the source is not mapped throughout, or an address space is gone',
        EPERM: 'the source is mapped for reading only',
      },
      details: { iova, size, source, from: from.id },
    });
    return decode(struct, bytes).dst_iova;
  }

  /**
   * Unmaps all mappings that lie in a range ([IFD-28]). Throws `ERR_VFIO_MAPPING` where there is none, or where one reaches over an end
   * (those before it may be gone then).
   * @returns bytes unmapped
   */
  unmap({ iova, size }: { readonly iova: bigint; readonly size: bigint | number }): bigint {
    return this.unmapBytes({ iova, length: BigInt(size) });
  }

  /** Also where nothing is mapped. */
  unmapAll(): bigint {
    return this.unmapBytes(everything);
  }

  unmapAllStep(): ExitStep {
    const bytes = encode(iommufdStructs.iommu_ioas_unmap, { ioas_id: this.id, ...everything });
    return { call: 'ioctl', fd: this.iommufd.fd, request: IommufdIoctl.IOMMU_IOAS_UNMAP, bytes };
  }

  private unmapBytes(range: { readonly iova: bigint; readonly length: bigint }): bigint {
    this.iommufd.call('IOMMU_IOAS_UNMAP', this.unmapCall.set(range), () => ({
      codes: { ENOENT: 'ERR_VFIO_MAPPING', EINVAL: 'ERR_VFIO_MAPPING' },
      means: { ENOENT: 'nothing is mapped there, or a mapping reaches over an end of the range' },
      details: { ioas: this.id, ...range },
    }));
    return this.unmapCall.get('length');
  }
}

function mapValues({ iova, address, size, ...access }: Omit<MapRequest, 'iova'> & { iova?: bigint }) {
  const flags = mapFlags(access, iova !== undefined);
  return { flags, user_va: address, length: BigInt(size), iova: iova ?? 0n };
}

function mapFlags({ read, write }: IoasAccess, fixed: boolean): number {
  return (
    (fixed ? iommufdConstants.IOMMU_IOAS_MAP_FIXED_IOVA : 0) |
    (write ? iommufdConstants.IOMMU_IOAS_MAP_WRITEABLE : 0) |
    (read ? iommufdConstants.IOMMU_IOAS_MAP_READABLE : 0)
  );
}

function mapFacts({ iova, size }: { readonly iova?: bigint | undefined; readonly size: bigint | number }): IommufdCall {
  const where = iova === undefined ? '' : ` at device address 0x${iova.toString(16)}`;
  return {
    what: `mapping ${size} bytes${where}`,
    codes: {
      ENOMEM: 'ERR_VFIO_NO_MEMORY',
      EINVAL: 'ERR_VFIO_MAPPING',
      EOVERFLOW: 'ERR_VFIO_MAPPING',
      EEXIST: 'ERR_VFIO_MAPPING',
      EFAULT: 'ERR_VFIO_MAPPING',
      EPERM: 'ERR_VFIO_MAPPING',
      ENOSPC: 'ERR_VFIO_NO_IOVA',
    },
    means: {
      EINVAL:
        'the devices cannot reach all of it, or it is not aligned to their page size, or nothing may be done with it',
      EEXIST: 'something is mapped there',
      EFAULT: 'the memory is not there, may not be written, or is of no kind that can be pinned',
      EPERM: 'the memory may not be written',
      ENOSPC: 'no device addresses are free for it',
    },
    details: { iova, size },
  };
}
