/** Replies of the GET_INFO calls, decoded. Every function throws `ERR_VFIO_MALFORMED` for bytes that do not hold together. */

import type { DeviceInfo, IrqInfo, RegionInfo } from '../device/device.js';
import { VfioError } from '../errors/error.js';
import type { AddressRange } from '../memory/dma.js';
import { capabilityArray, infoCapabilities } from './capabilities.js';
import { constants } from './constants.js';
import { decode } from './struct.js';
import { structs } from './structs.js';

const has = (flags: number, bit: number): boolean => (flags & bit) !== 0;

/** Bytes and offsets of regions are numbers here; a kernel that says more than 2^53 is not believed. */
function whole(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new VfioError('ERR_VFIO_MALFORMED', `${what} is 0x${value.toString(16)}, beyond 2^53.`);
  }
  return Number(value);
}

/** `VFIO_DEVICE_GET_INFO`. */
export function decodeDeviceInfo(reply: Uint8Array): DeviceInfo {
  const info = decode(structs.vfio_device_info, reply);
  return {
    flags: info.flags,
    resettable: has(info.flags, constants.VFIO_DEVICE_FLAGS_RESET),
    pci: has(info.flags, constants.VFIO_DEVICE_FLAGS_PCI),
    regionCount: info.num_regions,
    irqCount: info.num_irqs,
  };
}

/** A region, and what only its capabilities say. */
export interface DecodedRegion extends RegionInfo {
  /** The kernel lets the pages of the MSI-X table be mapped too. */
  readonly msixMappable: boolean;
  /** Ids of all capabilities. */
  readonly capabilities: readonly number[];
}

/** `VFIO_DEVICE_GET_REGION_INFO`, capabilities included where the reply has room for them. */
export function decodeRegionInfo(reply: Uint8Array): DecodedRegion {
  const struct = structs.vfio_region_info;
  const info = decode(struct, reply);
  const size = whole(info.size, 'a region size');
  const fileOffset = whole(info.offset, 'a region offset');
  // Offsets into the file are sums of both.
  whole(info.offset + info.size, 'the end of a region in its file');
  const mappable = has(info.flags, constants.VFIO_REGION_INFO_FLAG_MMAP);
  const chain = has(info.flags, constants.VFIO_REGION_INFO_FLAG_CAPS)
    ? infoCapabilities(reply, info.cap_offset, struct.size)
    : [];
  const sparse = chain.find(({ id }) => id === constants.VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  const areas = !mappable ? [] : sparse === undefined ? [{ offset: 0, size }] : sparseAreas(reply, sparse.offset, size);
  return {
    index: info.index,
    size,
    readable: has(info.flags, constants.VFIO_REGION_INFO_FLAG_READ),
    writable: has(info.flags, constants.VFIO_REGION_INFO_FLAG_WRITE),
    mappable,
    mappableAreas: areas,
    fileOffset,
    msixMappable: chain.some(({ id }) => id === constants.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE),
    capabilities: chain.map(({ id }) => id),
  };
}

function sparseAreas(reply: Uint8Array, at: number, regionSize: number): { offset: number; size: number }[] {
  const struct = structs.vfio_region_info_cap_sparse_mmap;
  const { nr_areas } = decode(struct, reply, at);
  const places = capabilityArray(reply, at + struct.size, nr_areas, structs.vfio_region_sparse_mmap_area.size);
  const areas = places.map((place) => {
    const area = decode(structs.vfio_region_sparse_mmap_area, reply, place);
    return { offset: whole(area.offset, 'an area offset'), size: whole(area.size, 'an area size') };
  });
  const bad = areas.find(({ offset, size }) => offset + size > regionSize);
  if (bad !== undefined) {
    throw new VfioError('ERR_VFIO_MALFORMED', 'a mappable area does not lie inside its region.', {
      details: { area: bad, regionSize },
    });
  }
  // An area of no bytes says that nothing is there.
  return areas.filter(({ size }) => size > 0);
}

/** `VFIO_DEVICE_GET_IRQ_INFO`. */
export function decodeIrqInfo(reply: Uint8Array): IrqInfo {
  const info = decode(structs.vfio_irq_info, reply);
  return {
    index: info.index,
    count: info.count,
    eventfd: has(info.flags, constants.VFIO_IRQ_INFO_EVENTFD),
    maskable: has(info.flags, constants.VFIO_IRQ_INFO_MASKABLE),
    automasked: has(info.flags, constants.VFIO_IRQ_INFO_AUTOMASKED),
    noResize: has(info.flags, constants.VFIO_IRQ_INFO_NORESIZE),
  };
}

/** What a type1 IOMMU says of itself. */
export interface Type1Info {
  /** Bitmap of page sizes in bytes; only the lowest bit matters for alignment ([T1-11]). 0 where the kernel does not say. */
  readonly pageSizes: bigint;
  /** Usable device addresses, ends inclusive; undefined where the kernel does not say (before 5.4). */
  readonly ranges: readonly AddressRange[] | undefined;
  /** Mappings that may still be made; undefined where the kernel does not say (before 5.10). */
  readonly available: number | undefined;
}

/** `VFIO_IOMMU_GET_INFO`, capabilities included where the reply has room for them. */
export function decodeType1Info(reply: Uint8Array): Type1Info {
  const struct = structs.vfio_iommu_type1_info;
  const info = decode(struct, reply);
  const chain = has(info.flags, constants.VFIO_IOMMU_INFO_CAPS)
    ? infoCapabilities(reply, info.cap_offset, struct.size)
    : [];
  const find = (id: number) => chain.find((capability) => capability.id === id);
  const ranges = find(constants.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
  const available = find(constants.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
  return {
    pageSizes: has(info.flags, constants.VFIO_IOMMU_INFO_PGSIZES) ? info.iova_pgsizes : 0n,
    ranges: ranges === undefined ? undefined : iovaRanges(reply, ranges.offset),
    available:
      available === undefined
        ? undefined
        : decode(structs.vfio_iommu_type1_info_dma_avail, reply, available.offset).avail,
  };
}

function iovaRanges(reply: Uint8Array, at: number): AddressRange[] {
  const struct = structs.vfio_iommu_type1_info_cap_iova_range;
  const { nr_iovas } = decode(struct, reply, at);
  const places = capabilityArray(reply, at + struct.size, nr_iovas, structs.vfio_iova_range.size);
  const ranges = places.map((place) => decode(structs.vfio_iova_range, reply, place));
  const bad = ranges.find(({ start, end }) => end < start);
  if (bad !== undefined) {
    throw new VfioError('ERR_VFIO_MALFORMED', 'a range of device addresses ends before it starts.', {
      details: { range: bad },
    });
  }
  return ranges;
}
