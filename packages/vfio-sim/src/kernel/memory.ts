/** Memory of the process and of the machine: mappings, memfds, hugetlbfs, and the physical pages behind them. */

import type { MemoryMapping } from 'vfio-core';
import { AddressSpace, PAGE, type Segment } from './address-space.js';
import { ByteStore } from './byte-store.js';
import { EBADF, EINVAL, ENOMEM } from './errno.js';
import { OpenFile } from './fds.js';

export const HUGE_PAGE = 2 << 20;

/** Where invented physical pages begin; huge ones low, so that devices of few address bits reach some. */
const FIRST_HUGE_FRAME = 64n << 20n;
const FIRST_FRAME = 8n << 30n;

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
  private readonly freeHuge: bigint[] = [];
  private nextHuge = FIRST_HUGE_FRAME;
  private nextFrame = FIRST_FRAME;
  private hugeInUse = 0;
  private readonly mapped = new Set<MemoryMapping>();

  /** @param hugePages how many pages of 2 MiB the machine has set aside */
  constructor(public hugePages: number) {}

  get hugePagesFree(): number {
    return this.hugePages - this.hugeInUse;
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
    if (file.pageSize === HUGE_PAGE && !this.reserve(file.store, offset, length)) return -ENOMEM;
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
      if (pageSize === HUGE_PAGE) {
        this.hugeInUse--;
        this.freeHuge.push(frame);
      }
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
    for (const pageSize of [HUGE_PAGE, PAGE]) {
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
  private reserve(store: ByteStore, offset: number, length: number): boolean {
    const pages = Array.from({ length: length / HUGE_PAGE }, (_, index) => offset / HUGE_PAGE + index);
    const missing = pages.filter((page) => !this.resident.get(store)?.frames.has(page));
    if (missing.length > this.hugePagesFree) return false;
    for (const page of missing) this.frame(store, page, HUGE_PAGE);
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
      frame = pageSize === HUGE_PAGE ? this.takeHuge() : this.takeSmall();
      resident.frames.set(page, frame);
      this.frames.set(frame, { store, page, pageSize });
    }
    return frame;
  }

  /** Every second page only: neighbours in a file are never neighbours in memory, as on a machine that has run for a while. */
  private takeHuge(): bigint {
    this.hugeInUse++;
    const again = this.freeHuge.shift();
    if (again !== undefined) return again;
    const frame = this.nextHuge;
    this.nextHuge += BigInt(2 * HUGE_PAGE);
    return frame;
  }

  private takeSmall(): bigint {
    const frame = this.nextFrame;
    this.nextFrame += BigInt(2 * PAGE);
    return frame;
  }
}
