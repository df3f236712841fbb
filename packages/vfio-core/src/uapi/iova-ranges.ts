/** Lists of device addresses of iommufd: `IOAS_IOVA_RANGES` and `IOAS_ALLOW_IOVAS`. Source: linux/iommufd.h. */

import { VfioError } from '../errors/error.js';
import type { AddressRange } from '../memory/dma.js';
import type { IoctlPlaces } from '../seam/system-calls.js';
import { iommufdStructs } from './iommufd.js';
import { decode, encode } from './struct.js';

const element = iommufdStructs.iommu_iova_range;
const { allowed_iovas } = iommufdStructs.iommu_ioas_iova_ranges.fields;

/** Both calls begin alike; what one has behind the pointer is zeros to the other. */
export interface IovaRangesCall {
  readonly bytes: Uint8Array;
  /** The list. */
  readonly array: Uint8Array;
  readonly places: IoctlPlaces;
}

/** @param room elements of the list */
export function encodeIovaRanges(ioas: number, room: number, ranges: readonly AddressRange[] = []): IovaRangesCall {
  const array = new Uint8Array(element.size * room);
  for (const [index, { start, end }] of ranges.entries()) {
    array.set(encode(element, { start, last: end }), element.size * index);
  }
  const bytes = encode(iommufdStructs.iommu_ioas_iova_ranges, { ioas_id: ioas, num_iovas: room });
  return { bytes, array, places: room === 0 ? {} : { pointers: [{ at: allowed_iovas.offset, bytes: array }] } };
}

/**
 * What `IOAS_IOVA_RANGES` answered, ends inclusive.
 * Throws `ERR_VFIO_MALFORMED` for more ranges than there was room for, for one that ends before it starts, and for an alignment that
 * is no power of two.
 */
export function decodeIovaRanges(reply: Uint8Array, array: Uint8Array): { ranges: AddressRange[]; alignment: bigint } {
  const { num_iovas, out_iova_alignment: alignment } = decode(iommufdStructs.iommu_ioas_iova_ranges, reply);
  const malformed = (what: string, details: Record<string, unknown>): VfioError =>
    new VfioError('ERR_VFIO_MALFORMED', what, { request: 'IOMMU_IOAS_IOVA_RANGES', details });
  const room = Math.floor(array.length / element.size);
  if (num_iovas > room) {
    throw malformed(`a reply claims ${num_iovas} ranges, and there was room for ${room}.`, { num_iovas, room });
  }
  if (alignment === 0n || (alignment & (alignment - 1n)) !== 0n) {
    throw malformed(`an alignment of ${alignment} is no power of two.`, { alignment });
  }
  const ranges = Array.from({ length: num_iovas }, (_, index) => {
    const { start, last } = decode(element, array, element.size * index);
    if (last < start) throw malformed('a range of device addresses ends before it starts.', { start, last });
    return { start, end: last };
  });
  return { ranges, alignment };
}
