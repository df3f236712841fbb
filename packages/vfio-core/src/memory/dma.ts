/** Memory that devices reach. */

/** What a driver writes into a device, where an IOMMU translates. */
export type Iova = bigint & { readonly __kind?: 'iova' };
/** What a driver writes into a device, where nothing translates (no-IOMMU mode). */
export type PhysicalAddress = bigint & { readonly __kind?: 'physical' };
/** Either. Drivers do not ask which. */
export type DmaAddress = Iova | PhysicalAddress;

/** Which way data may go, seen from the device. */
export type DmaDirection = 'both' | 'device-reads' | 'device-writes';

/** Wishes for an allocation. */
export interface AllocateOptions {
  /** Every address of it must be below this one: for devices that reach fewer than 64 bits (`1n << 32n`). */
  readonly below?: bigint;
  /** Alignment of the start, a power of two; at least (and by default) one page. */
  readonly alignment?: number;
  readonly direction?: DmaDirection;
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
  /**
   * Lets devices reach page-aligned memory that the program already has (a WebAssembly memory that cannot grow). Closing unmaps it and
   * leaves the memory alone. Throws `ERR_VFIO_ARGUMENT` for memory that is not page-aligned or can move, `ERR_VFIO_NOT_SUPPORTED` without an IOMMU.
   */
  map(memory: { readonly buffer: ArrayBufferLike } | ArrayBufferLike, options?: AllocateOptions): DmaBuffer;
  readonly closed: boolean;
}
