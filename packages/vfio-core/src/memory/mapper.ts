/** What an address space needs of the kernel: an IOMMU that maps. `Type1` and `Ioas` are such. */

import type { ExitStep, SystemCalls } from '../seam/system-calls.js';
import type { AddressRange } from './dma.js';

/** One mapping. All three of `iova`, `address` and `size` are multiples of the smallest page size ([T1-19]). */
export interface MapRequest {
  readonly iova: bigint;
  /** User address of the memory. */
  readonly address: bigint;
  readonly size: number;
  /** The device may read. */
  readonly read: boolean;
  /** The device may write. */
  readonly write: boolean;
}

/** What the IOMMU says of itself. It may change with each device that is attached. */
export interface MapperInfo {
  /** Bitmap of page sizes in bytes; 0 where the kernel does not say. */
  readonly pageSizes: bigint;
  /** Usable device addresses, ends inclusive; undefined where the kernel does not say. */
  readonly ranges: readonly AddressRange[] | undefined;
  /** Mappings that may still be made; undefined where there is no limit, or the kernel does not say. */
  readonly available: number | undefined;
}

/** Maps and unmaps. No policy: that is {@link IovaSpace}. */
export interface Mapper {
  readonly system: SystemCalls;
  info(): MapperInfo;
  /** Throws `ERR_VFIO_MAPPING`, `ERR_VFIO_NO_MEMORY`, with the kernel's errno. */
  map(request: MapRequest): void;
  /** As {@link map}, off the main thread: the kernel takes and clears every page, which takes long for large ones. */
  mapAsync(request: MapRequest): Promise<void>;
  /** @returns bytes unmapped */
  unmap(range: { readonly iova: bigint; readonly size: bigint | number }): bigint;
  /** @returns bytes unmapped */
  unmapAll(): bigint;
  /** {@link unmapAll} for the list that is played where no JavaScript runs any more. */
  unmapAllStep(): ExitStep;
}
