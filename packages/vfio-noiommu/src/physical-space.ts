/** Memory for a device that nothing translates for: huge pages, at their physical addresses. */

import {
  type AddressRange,
  type AllocateOptions,
  addressIn,
  type Place as BufferPlace,
  type DmaAddress,
  type DmaBuffer,
  type DmaSpace,
  type DmaTicket,
  exitPhase,
  type Headroom,
  type MemoryMapping,
  PagedBuffer,
  type SystemCalls,
  VfioError,
  type Way,
} from 'vfio-core';
import { FrameAllocator, type Place, type Wish } from './frame-allocator.js';
import { HugeFile } from './huge-file.js';
import { freeHugePages, hugeMount } from './hugetlbfs.js';
import { physicalAddress } from './pagemap.js';

/** Physical addresses of x86-64 and arm64 have at most 52 bits. */
const everything: AddressRange = { start: 0n, end: (1n << 52n) - 1n };
/** How many huge pages are tried out, beyond those needed, for one that lies where a buffer must. */
const SEARCH = 64;

/**
 * {@link DmaSpace} over one file on hugetlbfs, made by the first allocation. Buffers are whole pages (4 KiB) inside huge
 * pages and share none with each other; one piece is at most a huge page, so larger buffers say `{ contiguous: false }`
 * and get whole huge pages: then ask `low(offset)` and `high(offset)` for each page of the device, not `address`.
 *
 * Freed pages stay in the file and are handed out again, to this device alone, until the device is closed; but not while another
 * thread has a view of them open.
 */
export class PhysicalSpace implements DmaSpace {
  readonly kind = 'physical';
  readonly pageSize: number;
  readonly ranges: readonly AddressRange[] = [everything];
  readonly way: Way = { name: 'none', reason: 'no IOMMU isolates the device, and that was acknowledged' };
  private readonly system: SystemCalls;
  private readonly address: string;
  private file: HugeFile | undefined;
  private frames: FrameAllocator | undefined;
  private readonly buffers = new Set<PagedBuffer>();
  /** Closed buffers that another thread still looked at, and their places. */
  private readonly viewed = new Map<PagedBuffer, Place>();
  private shut = false;

  /** @param address of the device, for the file's name */
  constructor(system: SystemCalls, address: string) {
    this.system = system;
    this.pageSize = system.pageSize;
    this.address = address;
  }

  get closed(): boolean {
    return this.shut;
  }

  /** Where the memory's file is, once there is one. */
  get path(): string | undefined {
    return this.file?.path;
  }

  /**
   * Throws `ERR_VFIO_NO_HUGEPAGES`, `ERR_VFIO_MASKED_FRAMES`, `ERR_VFIO_NO_IOVA` where no huge page lies as asked or one piece
   * would be longer than a huge page, `ERR_VFIO_ARGUMENT`, `ERR_VFIO_CLOSED`; `ERR_VFIO_MAPPING` when the kernel moved a page.
   */
  allocate(bytes: number, options: AllocateOptions = {}): DmaBuffer {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', `The memory of ${this.address} is closed.`);
    const wish = this.wish(bytes, options);
    const { file, frames } = this.storage();
    const pieces = Math.ceil(wish.pages / frames.perHuge);
    if (pieces > 1 && options.contiguous !== false) {
      throw new VfioError(
        'ERR_VFIO_NO_IOVA',
        `${bytes} bytes in one piece were asked for; without an IOMMU a piece has at most ${frames.hugeSize}.`,
        {
          remedy: 'Pass { contiguous: false } and ask low(offset) and high(offset) for each page, or allocate less.',
          details: { bytes, limit: frames.hugeSize },
        },
      );
    }
    for (const [buffer, place] of this.viewed) {
      if (buffer.viewed) continue;
      this.viewed.delete(buffer);
      frames.give(place);
    }
    const place = frames.take(wish) ?? this.grow(file, frames, wish, pieces);
    let mapping: MemoryMapping | undefined;
    try {
      mapping = file.map(place.index, pieces);
      const start = place.start * this.pageSize;
      mapping.bytes.fill(0, start, start + place.pages * this.pageSize);
      const pages = Array.from({ length: pieces }, (_, at) => frames.address(place.index + at));
      this.checkFrames(mapping, pages, frames.hugeSize);
      return this.buffer(file, frames, place, mapping, start, bytes, pages);
    } catch (error) {
      mapping?.unmap();
      frames.give(place);
      throw error;
    }
  }

  /** Always throws `ERR_VFIO_NOT_SUPPORTED`: memory that the program has may move, and lies in pieces. */
  map(): DmaBuffer {
    throw new VfioError(
      'ERR_VFIO_NOT_SUPPORTED',
      'Without an IOMMU a device cannot reach memory that the program already has.',
      {
        remedy: 'Allocate a buffer from device.dma and copy.',
      },
    );
  }

  async allocateAsync(bytes: number, options: AllocateOptions = {}): Promise<DmaBuffer> {
    return this.allocate(bytes, options);
  }

  lookup(address: DmaAddress): BufferPlace | undefined {
    const within = Number(address % BigInt(this.pageSize));
    const page = address - BigInt(within);
    for (const buffer of this.buffers) {
      for (let at = 0; at + within < buffer.length; at += this.pageSize) {
        if (((BigInt(buffer.high(at)) << 32n) | BigInt(buffer.low(at))) === page)
          return { buffer, offset: at + within };
      }
    }
    return undefined;
  }

  addressOf(bytes: ArrayBufferView, offset = 0): DmaAddress | undefined {
    return addressIn(this.buffers, bytes, offset);
  }

  /** Closes all buffers. Nothing keeps the device from their pages: stop it first. */
  unmapAll(): void {
    for (const buffer of [...this.buffers]) buffer.close();
  }

  /** Nothing is counted against a limit here. A piece is at most a huge page. Throws `ERR_VFIO_NO_HUGEPAGES` where none is mounted. */
  headroom(): Headroom {
    const unlimited = Number.POSITIVE_INFINITY;
    const mount = this.file?.mount ?? hugeMount(this.system);
    const own = (this.frames?.longestRun ?? 0) * this.pageSize;
    return {
      memlock: { limit: unlimited, used: 0, left: unlimited, counts: 'own' },
      mappings: undefined,
      largestFree: BigInt(freeHugePages(this.system, mount) ? mount.pageSize : own),
    };
  }

  /** Once the device is closed: detaches all buffers, removes the file and with it the memory. Idempotent. */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    for (const buffer of [...this.buffers]) buffer.close();
    this.file?.remove();
    this.file = undefined;
  }

  private wish(bytes: number, options: AllocateOptions): Wish {
    const refuse = (what: string): VfioError =>
      new VfioError('ERR_VFIO_ARGUMENT', what, { details: { bytes, ...options } });
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw refuse(`A buffer has a whole number of bytes from 1 up, not ${bytes}.`);
    const alignment = options.alignment ?? this.pageSize;
    // Powers of two above 2^31 are no business of the bit operators.
    if (!Number.isSafeInteger(alignment) || alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
      throw refuse(`An alignment is a power of two, not ${alignment}.`);
    }
    return {
      pages: Math.ceil(bytes / this.pageSize),
      alignment: BigInt(Math.max(alignment, this.pageSize)),
      below: options.below ?? everything.end + 1n,
    };
  }

  private storage(): { file: HugeFile; frames: FrameAllocator } {
    this.file ??= HugeFile.create(this.system, hugeMount(this.system), this.address);
    this.frames ??= new FrameAllocator(this.pageSize, this.file.mount.pageSize);
    return { file: this.file, frames: this.frames };
  }

  /** Takes huge pages from the machine until the wish fits; those that turn out to lie badly go back at the end. */
  private grow(file: HugeFile, frames: FrameAllocator, wish: Wish, pieces: number): Place {
    const fresh: number[] = [];
    try {
      while (fresh.length < pieces - 1 + SEARCH) {
        fresh.push(this.addHugePage(file, frames));
        const place = frames.take(wish);
        if (place !== undefined) return place;
      }
      throw this.nowhere(wish, fresh.length);
    } catch (error) {
      // All the huge pages that there are lie elsewhere: more of them may help, or may not.
      if (fresh.length >= pieces && !fresh.some((index) => frames.fits(index, wish))) {
        throw this.nowhere(wish, fresh.length, error);
      }
      throw error;
    } finally {
      for (const index of fresh) if (frames.remove(index)) file.punch(index);
    }
  }

  private addHugePage(file: HugeFile, frames: FrameAllocator): number {
    const mapping = file.map(frames.length, 1);
    try {
      // The page comes into being by being touched.
      mapping.bytes[0] = 0;
      return frames.add(physicalAddress(this.system, mapping.address));
    } finally {
      mapping.unmap();
    }
  }

  /** The kernel may move a huge page when memory is unplugged or a large piece of it is wanted. That cannot be prevented here, only seen. */
  private checkFrames(mapping: MemoryMapping, pages: readonly bigint[], hugeSize: number): void {
    pages.forEach((page, at) => {
      const now = physicalAddress(this.system, mapping.address + BigInt(at * hugeSize));
      if (now === page) return;
      throw new VfioError(
        'ERR_VFIO_MAPPING',
        `The kernel moved a huge page of ${this.address}: it was at 0x${page.toString(16)} and is at 0x${now.toString(16)}.`,
        {
          remedy:
            'Close the device at once: it may write where that memory was. Keep memory from being unplugged or compacted meanwhile.',
          details: { before: page, now },
        },
      );
    });
  }

  private buffer(
    file: HugeFile,
    frames: FrameAllocator,
    place: Place,
    mapping: MemoryMapping,
    start: number,
    length: number,
    pages: readonly bigint[],
  ): PagedBuffer {
    const { system, buffers, viewed } = this;
    const { hugeSize } = frames;
    const { address } = mapping;
    const exit = system.onExit(exitPhase['memory unmapped'], { call: 'munmap', address, length: mapping.length });
    const ticket: DmaTicket = {
      fd: file.fd,
      offset: place.index * hugeSize,
      mapped: mapping.length,
      start,
      length,
      address: pages[0]! + BigInt(start),
      pages: { size: hugeSize, addresses: pages },
    };
    const release = (): void => {
      mapping.unmap();
      system.cancelExit(exit);
      buffers.delete(buffer);
      if (buffer.viewed) viewed.set(buffer, place);
      else frames.give(place);
    };
    // The huge page is mapped anew for each buffer, so that its bytes can be detached alone.
    const bytes = mapping.bytes.subarray(start, start + length);
    const buffer = new PagedBuffer({ bytes, start, pages, pageSize: hugeSize, ticket, release });
    buffers.add(buffer);
    return buffer;
  }

  private nowhere({ pages, alignment, below }: Wish, tried: number, cause?: unknown): VfioError {
    const bytes = pages * this.pageSize;
    return new VfioError(
      'ERR_VFIO_NO_IOVA',
      `None of ${tried} huge pages lies so that ${bytes} bytes aligned to ${alignment} are below 0x${below.toString(16)}.`,
      {
        remedy:
          'Reserve huge pages early (hugepages=64 on the kernel command line), where low memory is still free, or relax the limits.',
        details: { bytes, alignment, below, tried },
        ...(cause === undefined ? {} : { cause }),
      },
    );
  }
}
