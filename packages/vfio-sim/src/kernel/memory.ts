/** Memory of the process and of the machine: mappings, memfds, hugetlbfs, and the physical pages behind them. */

import type { MemoryMapping } from 'vfio-core';
import { AddressSpace, PAGE, type Segment } from './address-space.js';
import { ByteStore } from './byte-store.js';
import { EBADF, EINVAL, ENOMEM } from './errno.js';
import { OpenFile } from './fds.js';

export const HUGE_PAGE = 2 << 20;
export const GIANT_PAGE = 1 << 30;

/** Where invented physical pages begin; those of 2 MiB low, so that devices of few address bits reach some. */
const FIRST_HUGE_FRAME = 64n << 20n;
const FIRST_FRAME = 8n << 30n;
const FIRST_GIANT_FRAME = 1n << 40n;

/** Huge pages of one size. */
export class HugePages {
  /** Those that exist, in use. */
  inUse = 0;
  private readonly again: bigint[] = [];

  /**
   * @param size bytes of a page
   * @param total how many the machine has set aside
   */
  constructor(
    readonly size: number,
    public total: number,
    private next: bigint,
  ) {}

  get free(): number {
    return this.total - this.inUse;
  }

  /** Every second page only: neighbours in a file are never neighbours in memory, as on a machine that has run for a while. */
  take(): bigint {
    this.inUse++;
    const again = this.again.shift();
    if (again !== undefined) return again;
    const frame = this.next;
    this.next += BigInt(2 * this.size);
    return frame;
  }

  giveBack(frame: bigint): void {
    this.inUse--;
    this.again.push(frame);
  }
}

/** What is written to `nr_hugepages`: 0 or a negative errno. Pages in use stay. */
export function setAside(pages: HugePages, written: string): number {
  const total = Number(written);
  if (!Number.isInteger(total) || total < 0) return -EINVAL;
  pages.total = total;
  return 0;
}

/** A file whose bytes can be mapped: a memfd or a file on hugetlbfs. */
export class MemoryFile extends OpenFile {
  constructor(
    readonly path: string,
    readonly store: ByteStore,
    /** Bytes of its pages. */
    readonly pageSize: number,
    private readonly memory: Memory,
    private readonly onReleased: () => void = () => {},
  ) {
    super();
  }

  override pread(into: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(into.length, this.store.length - offset));
    this.store.read(offset, into.subarray(0, length));
    return length;
  }

  override pwrite(from: Uint8Array, offset: number): number {
    if (this.pageSize !== PAGE) return -EINVAL;
    if (offset + from.length > this.store.length) this.store.length = offset + from.length;
    this.store.write(offset, from);
    return from.length;
  }

  override truncate(bytes: number): number {
    if (bytes < 0 || (this.pageSize !== PAGE && bytes % this.pageSize !== 0)) return -EINVAL;
    if (bytes < this.store.length) this.memory.drop(this.store, bytes, this.store.length - bytes);
    this.store.truncate(bytes);
    return 0;
  }

  punch(offset: number, length: number): number {
    if (offset < 0 || length <= 0) return -EINVAL;
    const start = Math.ceil(offset / this.pageSize) * this.pageSize;
    const end = Math.floor((offset + length) / this.pageSize) * this.pageSize;
    this.store.punch(offset, length);
    if (end > start) this.memory.drop(this.store, start, end - start);
    return 0;
  }

  protected override released(): void {
    this.onReleased();
  }
}

/** Pages of one store that exist, each with its physical address. */
interface Resident {
  readonly pageSize: number;
  readonly frames: Map<number, bigint>;
}

export class Memory {
  readonly space = new AddressSpace();
  private readonly resident = new Map<ByteStore, Resident>();
  private readonly frames = new Map<bigint, { store: ByteStore; page: number; pageSize: number }>();
  private nextFrame = FIRST_FRAME;
  private readonly mapped = new Set<MemoryMapping>();

  /** Pages of 2 MiB. */
  readonly huge: HugePages;
  /** Pages of 1 GiB. */
  readonly giant: HugePages;

  /**
   * @param huge how many pages of 2 MiB the machine has set aside
   * @param giant how many of 1 GiB
   */
  constructor(huge: number, giant: number) {
    this.huge = new HugePages(HUGE_PAGE, huge, FIRST_HUGE_FRAME);
    this.giant = new HugePages(GIANT_PAGE, giant, FIRST_GIANT_FRAME);
  }

  /** The huge pages of a size; undefined for ordinary pages. */
  hugePagesOf(size: number): HugePages | undefined {
    return [this.huge, this.giant].find((pages) => pages.size === size);
  }

  /** Everything that the program has mapped, memory only. */
  get mappings(): readonly MemoryMapping[] {
    return [...this.mapped];
  }

  anonymous(length: number): MemoryMapping | number {
    if (length <= 0 || length % PAGE !== 0) return -EINVAL;
    return this.map(new ByteStore(length), 0, length, PAGE, () => {});
  }

  file(file: OpenFile | undefined, offset: number, length: number): MemoryMapping | number {
    if (!(file instanceof MemoryFile)) return file === undefined ? -EBADF : -EINVAL;
    if (length <= 0 || offset % file.pageSize !== 0 || length % file.pageSize !== 0) return -EINVAL;
    if (offset + length > file.store.length) {
      // Linux lets a mapping run past the end and raises SIGBUS on touch; a file on hugetlbfs grows instead.
      if (file.pageSize === PAGE) return -EINVAL;
      file.store.length = offset + length;
    }
    const huge = this.hugePagesOf(file.pageSize);
    if (huge !== undefined && !this.reserve(huge, file.store, offset, length)) return -ENOMEM;
    file.hold();
    const mapping = this.map(file.store, offset, length, file.pageSize, () => file.release());
    if (typeof mapping === 'number') file.release();
    return mapping;
  }

  /** Pages of a store go: their frames are free again. */
  drop(store: ByteStore, offset = 0, length = store.length): void {
    const resident = this.resident.get(store);
    if (resident === undefined) return;
    const { pageSize, frames } = resident;
    for (const [page, frame] of [...frames]) {
      if (page * pageSize < offset || (page + 1) * pageSize > offset + length) continue;
      frames.delete(page);
      this.frames.delete(frame);
      this.hugePagesOf(pageSize)?.giveBack(frame);
    }
    if (frames.size === 0) this.resident.delete(store);
  }

  /** Physical address of a byte of a store's page, which is made to exist. */
  physical(store: ByteStore, offset: number, pageSize: number): bigint {
    const page = Math.floor(offset / pageSize);
    return this.frame(store, page, pageSize) + BigInt(offset - page * pageSize);
  }

  /** Physical address of the process's page at `address`; undefined where nothing is mapped. */
  physicalOf(address: bigint): bigint | undefined {
    const [segment] = this.space.segments(address, 1n) ?? [];
    return segment && this.physicalBehind(segment);
  }

  /** Physical address of a segment's beginning; undefined where it is not memory. */
  physicalBehind({ store, offset }: Segment): bigint | undefined {
    if (!(store instanceof ByteStore)) return undefined;
    return this.physical(store, offset, this.resident.get(store)?.pageSize ?? PAGE);
  }

  /** What memory of the process has a physical address. */
  atPhysical(address: bigint): Segment | undefined {
    for (const pageSize of [GIANT_PAGE, HUGE_PAGE, PAGE]) {
      const inside = Number(address % BigInt(pageSize));
      const found = this.frames.get(address - BigInt(inside));
      if (found !== undefined && found.pageSize === pageSize) {
        return { store: found.store, offset: found.page * pageSize + inside, length: pageSize - inside };
      }
    }
    return undefined;
  }

  private map(
    store: ByteStore,
    offset: number,
    length: number,
    pageSize: number,
    after: () => void,
  ): MemoryMapping | number {
    const view = store.map(offset, length);
    if (typeof view === 'number') return view;
    const address = this.space.add(store, offset, length, pageSize);
    let open = true;
    const mapping: MemoryMapping = {
      bytes: view.bytes,
      address,
      length,
      unmap: () => {
        if (!open) return;
        open = false;
        this.space.remove(address);
        this.mapped.delete(mapping);
        view.end();
        after();
      },
    };
    this.mapped.add(mapping);
    return mapping;
  }

  /** Makes all huge pages of a range exist, or none. */
  private reserve({ size, free }: HugePages, store: ByteStore, offset: number, length: number): boolean {
    const pages = Array.from({ length: length / size }, (_, index) => offset / size + index);
    const missing = pages.filter((page) => !this.resident.get(store)?.frames.has(page));
    if (missing.length > free) return false;
    for (const page of missing) this.frame(store, page, size);
    return true;
  }

  private frame(store: ByteStore, page: number, pageSize: number): bigint {
    let resident = this.resident.get(store);
    if (resident === undefined) {
      resident = { pageSize, frames: new Map() };
      this.resident.set(store, resident);
    }
    let frame = resident.frames.get(page);
    if (frame === undefined) {
      frame = this.hugePagesOf(pageSize)?.take() ?? this.takeSmall();
      resident.frames.set(page, frame);
      this.frames.set(frame, { store, page, pageSize });
    }
    return frame;
  }

  /** Every second page only, as with huge ones. */
  private takeSmall(): bigint {
    const frame = this.nextFrame;
    this.nextFrame += BigInt(2 * PAGE);
    return frame;
  }
}
