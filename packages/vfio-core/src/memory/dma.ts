/** Memory that devices reach. */

import type { Device } from '../device/device.js';
import type { Fd } from '../seam/system-calls.js';

/** What a driver writes into a device, where an IOMMU translates. */
export type Iova = bigint & { readonly __kind?: 'iova' };
/** What a driver writes into a device, where nothing translates (no-IOMMU mode). */
export type PhysicalAddress = bigint & { readonly __kind?: 'physical' };
/** Either. Drivers do not ask which. */
export type DmaAddress = Iova | PhysicalAddress;

/** Which way data may go, seen from the device. */
export type DmaDirection = 'both' | 'device-reads' | 'device-writes';

/** Wishes for where memory lies in device addresses, and which way data may go. */
export interface MapOptions {
  /** Every address of it must be below this one: for devices that reach fewer than 64 bits (`1n << 32n`). */
  readonly below?: bigint;
  /**
   * Alignment of the start, a power of two; at least one page. By default one page, or the largest page of the IOMMU that the memory
   * fills, where there is room for that.
   */
  readonly alignment?: number;
  /** Exactly this start, a multiple of the page size. `ERR_VFIO_NO_IOVA` where it is not free. */
  readonly at?: bigint;
  /**
   * It will not stay long: its addresses come from a window of their own, so that coming and going does not cut up the rest. False by
   * default.
   */
  readonly shortLived?: boolean;
  /** `both` by default. */
  readonly direction?: DmaDirection;
}

/** Wishes for an allocation. */
export interface AllocateOptions extends MapOptions {
  /**
   * Bytes of the pages that it is made of: 2 MiB (`2 ** 21`) or 1 GiB (`2 ** 30`) for huge pages that the administrator set aside. By
   * default ordinary ones. `ERR_VFIO_NO_HUGEPAGES` where there are none (left).
   */
  readonly hugePages?: number;
  /** The device must see it in one piece. True by default; without an IOMMU one piece is at most a huge page, so large buffers say false. */
  readonly contiguous?: boolean;
}

/** A piece of memory with its device address: zeroed, page-granular, shares no page with another. */
export interface DmaBuffer {
  /** The bytes; plain memory in every backend. Length 0 after close. Devices write them behind the program's back. */
  readonly bytes: Uint8Array;
  /** Bytes asked for (`bytes.length`); the memory behind it is rounded up to whole pages. */
  readonly length: number;
  /** Device address of byte 0. Throws `ERR_VFIO_CLOSED` once closed, as {@link low} does: it may be another buffer's by then. */
  readonly address: DmaAddress;
  /** Whether `address + n` is byte n throughout (always with an IOMMU). */
  readonly contiguous: boolean;
  /** In a view of another thread's buffer ({@link attachDma}): whether the view or the buffer was closed. */
  readonly closed: boolean;
  /** Low 32 bits of the device address of byte `offset`, unsigned. Allocates nothing. */
  low(offset: number): number;
  /** High 32 bits of the device address of byte `offset`. */
  high(offset: number): number;
  /** A ticket from which another thread of this process makes a view of the same memory: `attachDma(ticket)`. Structured-cloneable. */
  share(): DmaTicket;
  /** Unmaps from the device's reach, then frees. Idempotent. After it the bytes are detached. */
  close(): void;
  [Symbol.dispose](): void;
}

/** See {@link DmaBuffer.share}. Plain data. */
export interface DmaTicket {
  readonly fd: number;
  readonly offset: number;
  /** Bytes mapped (whole pages). */
  readonly mapped: number;
  /** Where byte 0 of the buffer lies in what is mapped; 0 if it is not said. */
  readonly start?: number;
  readonly length: number;
  readonly address: bigint;
  /** For memory that is not contiguous: the address of each page, in order, and the page size. */
  readonly pages?: { readonly size: number; readonly addresses: readonly bigint[] };
  /** Where the buffer's owner and its views tell each other of their end. Filled in by {@link DmaBuffer.share}. */
  readonly life?: SharedArrayBuffer;
}

/** Inclusive range of device addresses. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** A part of a memfd or of a file on hugetlbfs. The space maps it for itself: the program may close the descriptor meanwhile. It has no ticket. */
export interface FileRange {
  readonly fd: Fd;
  /** Bytes; a multiple of the page size of the file. 0 by default. */
  readonly offset?: number;
  /** Bytes; a multiple of the page size of the file. */
  readonly length: number;
}

/**
 * A part of another device's region (peer-to-peer): what the devices of the space write there are that device's registers. Whether a
 * write arrives depends on the bridges between the two as well. It is unmapped before that device closes.
 */
export interface DeviceRange {
  readonly device: Device;
  readonly region: number;
  /** Bytes; a multiple of the page size. 0 by default. */
  readonly offset?: number;
  /** Bytes; a multiple of the page size. By default what follows `offset`. */
  readonly length?: number;
}

/**
 * Memory that exists already: a WebAssembly memory that cannot grow, or its buffer, or page-aligned views of it; a part of a memory file;
 * another device's registers.
 */
export type MapSource = { readonly buffer: ArrayBufferLike } | ArrayBufferLike | FileRange | DeviceRange;

/** How an address space reaches the kernel, and why so. */
export interface Way {
  /**
   * `container`: /dev/vfio/vfio with groups. `iommufd`: /dev/iommu with the device's own file. `iommufd-container`: /dev/iommu in a
   * container's place. `none`: no IOMMU.
   */
  readonly name: 'container' | 'iommufd' | 'iommufd-container' | 'none';
  /** A sentence's rest: "it was asked for", "the kernel offers it for 0000:01:00.0", ... */
  readonly reason: string;
}

/** What an address space can still take. Undefined: the kernel does not say, or not before the first device. */
export interface Headroom {
  /** Bytes that count against the limit on locked memory (RLIMIT_MEMLOCK). */
  readonly memlock: {
    /** Infinity: no limit holds (CAP_IPC_LOCK, or none is set). */
    readonly limit: number | undefined;
    /** What counts by now: of the process, or of this space alone, as `counts` says. */
    readonly used: number | undefined;
    readonly left: number | undefined;
    /** `process`: all that the process locks. `own`: the limit is the user's, and of that only this space's share can be read. */
    readonly counts: 'process' | 'own';
  };
  /** Mappings that can still be made. */
  readonly mappings: number | undefined;
  /** Bytes of the largest free piece of device addresses. 0 before the first device. */
  readonly largestFree: bigint;
}

/** What is at a device address. */
export interface Place {
  readonly buffer: DmaBuffer;
  /** Bytes from the buffer's start. */
  readonly offset: number;
}

/** Where DMA memory comes from: an address space and an allocator on it. Belongs to itself, not to a device. */
export interface DmaSpace {
  /** `iova`: an IOMMU translates. `physical`: nothing does. */
  readonly kind: 'iova' | 'physical';
  /** Bytes; the granularity of allocations. */
  readonly pageSize: number;
  /** Ranges that devices can use. */
  readonly ranges: readonly AddressRange[];
  /**
   * Throws `ERR_VFIO_MEMLOCK` (needed, limit), `ERR_VFIO_NO_IOVA`, `ERR_VFIO_NO_MEMORY`, `ERR_VFIO_ARGUMENT`.
   * @param bytes 1 or more
   */
  allocate(bytes: number, options?: AllocateOptions): DmaBuffer;
  /** As {@link allocate}, off the main thread: for tens of MiB and more, where the kernel takes long to take and clear the pages. */
  allocateAsync(bytes: number, options?: AllocateOptions): Promise<DmaBuffer>;
  /**
   * Lets devices reach memory that exists already. Closing unmaps it and leaves the memory alone.
   * Throws `ERR_VFIO_ARGUMENT` for memory that is not page-aligned or can move, `ERR_VFIO_MAPPING` with the kernel's reason,
   * `ERR_VFIO_NOT_SUPPORTED` without an IOMMU.
   */
  map(source: MapSource, options?: MapOptions): DmaBuffer;
  /** What lies at a device address; undefined for nothing of this space. */
  lookup(address: DmaAddress): Place | undefined;
  /**
   * The device address of a byte of mapped memory; undefined for memory that is in no buffer.
   * @param bytes a view of a buffer's bytes, or of memory that was mapped
   */
  addressOf(bytes: ArrayBufferView, offset?: number): DmaAddress | undefined;
  /** Closes all buffers, in one call of the kernel where it has one. */
  unmapAll(): void;
  headroom(): Headroom;
  readonly way: Way;
  readonly closed: boolean;
}
