/** What an IOAS maps where: areas of device addresses, ranges that are reserved or kept free, and the hardware behind them. */

import { PAGE, type Segment } from '../address-space.js';
import { EADDRINUSE, EEXIST, EINVAL, ENOENT, ENOSPC, EOVERFLOW, EPERM } from '../errno.js';
import { bottomOf, smallestHardwarePage, topOf } from '../iommu-reach.js';
import type { Machine } from '../machine.js';
import { MappingTable } from '../mapping-table.js';
import { type Accounting, Pages, processPages } from './pages.js';
import { holes, overlap, roomIn, type Span, TOP } from './spans.js';

/** A part of some pages: `length` bytes from byte `start` on. */
export interface Slice {
  readonly pages: Pages;
  readonly start: bigint;
  readonly length: bigint;
}

/** One mapping. */
export interface Area extends Slice {
  readonly iova: bigint;
  /** First address behind it. */
  readonly end: bigint;
  readonly read: boolean;
  readonly write: boolean;
  /** What is pinned for it, from the beginning of its first page on; absent while no hardware translates it. */
  pinned: readonly Segment[] | undefined;
}

/** What devices may do there. */
export interface Access {
  readonly read: boolean;
  readonly write: boolean;
}

const HUGE = 0x20_0000n;

export class IoPagetable {
  readonly areas = new MappingTable<Area>();
  /** Ranges that the list of ALLOW_IOVAS keeps free of reserved ones. */
  private allowed: readonly Span[] = [];
  private reserved: (Span & { readonly owner: object })[] = [];
  private readonly domains = new Set<object>();
  /** Nothing is mapped in large pages, so that areas can be cut ([IFD-33]). */
  private small = false;

  constructor(private readonly machine: Machine) {}

  /** What addresses and lengths are multiples of ([IFD-23]). */
  get alignment(): bigint {
    const base = this.small ? BigInt(PAGE) : 1n;
    const hardware = this.domains.size > 0 ? smallestHardwarePage(this.machine) : 1n;
    return hardware > base ? hardware : base;
  }

  get hasDomains(): boolean {
    return this.domains.size > 0;
  }

  get largePages(): boolean {
    return !this.small;
  }

  get usable(): Span[] {
    return holes(this.reserved, { start: 0n, last: TOP });
  }

  /** Maps memory of the process; without `iova` at an address of the kernel's choice. The address, or a negative errno. */
  mapUser(
    address: bigint,
    length: bigint,
    iova: bigint | undefined,
    access: Access,
    accounting: Accounting,
  ): bigint | number {
    if (length === 0n || length > TOP - BigInt(PAGE)) return -EINVAL;
    if (address + length > TOP) return -EOVERFLOW;
    const pages = new Pages(this.machine, processPages(this.machine, address), access.write, accounting);
    return this.map([{ pages, start: address % BigInt(PAGE), length }], iova, access);
  }

  /** Maps slices one behind the other: the address, or a negative errno, and then nothing is mapped. */
  map(slices: readonly Slice[], wanted: bigint | undefined, access: Access): bigint | number {
    const length = slices.reduce((sum, slice) => sum + slice.length, 0n);
    const { alignment } = this;
    if (length === 0n || length % alignment !== 0n) return -EINVAL;
    const iova = wanted === undefined ? this.choose(slices[0] as Slice, length) : this.check(wanted, length);
    if (typeof iova === 'number') return iova;
    if (access.write && slices.some(({ pages }) => !pages.writable)) return -EPERM;
    if (slices.some(({ start }) => (start % BigInt(PAGE)) % alignment !== 0n)) return -EINVAL;
    const made: Area[] = [];
    let at = iova;
    for (const slice of slices) {
      const area: Area = { ...slice, ...access, iova: at, end: at + slice.length, pinned: undefined };
      const status = this.domains.size > 0 ? fill(area) : 0;
      if (status < 0) {
        for (const one of made) this.remove(one);
        return status;
      }
      this.areas.add(area);
      made.push(area);
      at = area.end;
    }
    return iova;
  }

  /** Unmaps the areas of a range: how many bytes those were, and 0 or a negative errno ([IFD-28]). */
  unmap({ start, last }: Span): { status: number; bytes: bigint } {
    let bytes = 0n;
    for (const area of this.areas.overlapping(start, last + 1n)) {
      if (area.iova < start || area.end - 1n > last) return { status: -ENOENT, bytes };
      this.remove(area);
      bytes += area.end - area.iova;
    }
    return { status: 0, bytes };
  }

  /** Cuts areas behind this address: 0 or a negative errno. */
  cut(behind: bigint): number {
    const area = this.areas.at(behind);
    if (area === undefined || area.iova === behind || area.end - 1n === behind) return 0;
    const first = behind + 1n - area.iova;
    const { alignment } = this;
    if ((behind + 1n) % alignment !== 0n || (area.start + first) % alignment !== 0n) return -EINVAL;
    if (area.pinned !== undefined && !this.small) return -EINVAL;
    const parts: Area[] = [
      { ...area, length: first, end: behind + 1n },
      { ...area, start: area.start + first, length: area.length - first, iova: behind + 1n },
    ];
    const pinned = area.pinned !== undefined;
    this.areas.remove(area);
    for (const part of parts) {
      part.pinned = undefined;
      // They are pinned already, so that this cannot fail and charges nobody.
      if (pinned) fill(part);
      this.areas.add(part);
    }
    if (pinned) area.pages.unpin(area.start, area.length);
    return 0;
  }

  /** What stands behind a range without gaps, or a negative errno ([IFD-29]). */
  slices(iova: bigint, length: bigint): Slice[] | number {
    if (length === 0n) return -EINVAL;
    if (iova + length - 1n > TOP) return -EOVERFLOW;
    const found: Slice[] = [];
    let at = iova;
    const end = iova + length;
    for (const area of this.areas.overlapping(iova, end)) {
      if (area.iova > at) return -ENOENT;
      let stop = area.end;
      if (stop > end) stop = end;
      found.push({ pages: area.pages, start: area.start + (at - area.iova), length: stop - at });
      at = stop;
    }
    return at === end ? found : -ENOENT;
  }

  allow(spans: readonly Span[]): number {
    if (this.reserved.some((one) => spans.some((span) => overlap(one, span)))) return -EADDRINUSE;
    this.allowed = spans;
    return 0;
  }

  /** Takes a range out of use for `owner`: 0 or a negative errno. */
  reserve(span: Span, owner: object): number {
    if (this.areas.overlapping(span.start, span.last + 1n).length > 0) return -EADDRINUSE;
    if (this.allowed.some((one) => overlap(one, span))) return -EADDRINUSE;
    this.reserved.push({ ...span, owner });
    return 0;
  }

  unreserve(owner: object): void {
    this.reserved = this.reserved.filter((one) => one.owner !== owner);
  }

  /**
   * Hardware begins to translate by this table: everything is pinned. 0 or a negative errno ([IFD-26]).
   * @param unlimited it has no highest address
   */
  addDomain(domain: object, unlimited = false): number {
    const { machine } = this;
    const page = smallestHardwarePage(machine);
    if (page > BigInt(PAGE)) return -EINVAL;
    for (const area of this.areas) {
      if ([area.iova, area.length, area.start].some((value) => value % page !== 0n)) return -EADDRINUSE;
    }
    const [bottom, top] = [bottomOf(machine), topOf(machine)];
    for (const [start, last] of unlimited ? [] : [[0n, bottom - 1n] as const, [top, TOP] as const]) {
      const status = start > last ? 0 : this.reserve({ start, last }, domain);
      if (status === 0) continue;
      this.unreserve(domain);
      return status;
    }
    const first = this.domains.size === 0;
    this.domains.add(domain);
    if (!first) return 0;
    for (const area of this.areas) {
      const filled = fill(area);
      if (filled === 0) continue;
      this.removeDomain(domain);
      return filled;
    }
    return 0;
  }

  removeDomain(domain: object): void {
    this.domains.delete(domain);
    this.unreserve(domain);
    if (this.domains.size === 0) for (const area of this.areas) empty(area);
  }

  /** 0, or a negative errno where hardware may have large pages already. */
  setLargePages(wanted: boolean): number {
    if (wanted === this.largePages) return 0;
    if (!wanted) {
      const all = [...this.areas];
      if (this.domains.size > 0 && all.length > 0) return -EINVAL;
      const page = BigInt(PAGE);
      if (all.some(({ iova, length, start }) => [iova, length, start].some((value) => value % page !== 0n)))
        return -EADDRINUSE;
    }
    this.small = !wanted;
    return 0;
  }

  private remove(area: Area): void {
    this.areas.remove(area);
    empty(area);
  }

  private check(iova: bigint, length: bigint): bigint | number {
    const last = iova + length - 1n;
    if (iova % this.alignment !== 0n) return -EINVAL;
    if (last > TOP) return -EOVERFLOW;
    if (this.reserved.some((one) => overlap(one, { start: iova, last }))) return -EINVAL;
    return this.areas.overlapping(iova, last + 1n).length > 0 ? -EEXIST : iova;
  }

  /** An address of the kernel's choice, never 0: aligned as the memory is, for large pages ([IFD-25]). */
  private choose({ pages, start }: Slice, length: bigint): bigint | number {
    if (length >= TOP / 2n) return -EOVERFLOW;
    const address = pages.addressOf(start);
    let alignment = 1n << BigInt((length - 1n).toString(2).length);
    if (length === 1n) alignment = 1n;
    if (address !== 0n && (address & -address) < alignment) alignment = address & -address;
    if (alignment > HUGE) alignment = HUGE;
    if (alignment < this.alignment) return -EINVAL;
    const all: Span = { start: BigInt(PAGE), last: TOP - BigInt(PAGE) };
    const used: Span[] = [...this.reserved];
    for (const { iova, end } of this.areas) used.push({ start: iova, last: end - 1n });
    const ordered = [...this.allowed].sort((a, b) => (a.start < b.start ? -1 : 1));
    for (const span of ordered.length > 0 ? ordered : [all]) {
      const within = { start: span.start > all.start ? span.start : all.start, last: span.last };
      const found = roomIn(holes(used, within), length, alignment, address % BigInt(PAGE));
      if (found !== undefined) return found;
    }
    return -ENOSPC;
  }
}

function fill(area: Area): number {
  const pinned = area.pages.pin(area.start, area.length);
  if (typeof pinned === 'number') return pinned;
  area.pinned = pinned;
  return 0;
}

function empty(area: Area): void {
  if (area.pinned === undefined) return;
  area.pinned = undefined;
  area.pages.unpin(area.start, area.length);
}
