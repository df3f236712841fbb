/** Which device addresses are free. A pure unit: it knows no kernel and maps nothing. */

import { VfioError } from '../errors/error.js';
import type { AddressRange } from './dma.js';
import { FreeSpace, type Wish } from './free-space.js';
import { type Span, shortLivedSpans, usableSpans } from './usable-ranges.js';

export { msiWindow } from './usable-ranges.js';

export interface IovaOptions {
  /** Alignment of the start, a power of two; at least a page. */
  readonly alignment?: bigint;
  /** Every address of it must be below this one. */
  readonly below?: bigint;
  /** From the window for what does not stay; see {@link IovaAllocator.windows}. */
  readonly shortLived?: boolean;
}

/** Why addresses cannot be taken: not all of them are usable, or somebody has some. */
export type IovaObstacle = 'outside' | 'in use';

const toEnd = 2 ** 53;
/** First of the two areas of {@link FreeSpace} for what stays, and for what does not. */
const staying = 0;
const passing = 2;

/**
 * Hands out ranges of device addresses, page-granular, best fit: the smallest hole that takes it, of equal ones the lowest, so that
 * large ones last. Where alignment rules out the 32 smallest, the first that is large enough for any alignment.
 * Whatever ranges it is given, it keeps out of page 0 (a null pointer in a device must fault), out of the MSI window, and below 2^53.
 *
 * A step costs the logarithm of what is live: about a microsecond with 65,535 mappings. Only a `below` other than 4 GiB that
 * lies among the ranges may have to look at many holes.
 */
export class IovaAllocator {
  readonly pageSize: bigint;
  private readonly page: number;
  private readonly space: FreeSpace;
  /** Sorted, disjoint, not touching. */
  private usable: readonly Span[] = [];
  private short: readonly Span[] = [];
  private shortWanted = false;

  /**
   * @param ranges usable addresses, ends inclusive, in any order
   * @param pageSize bytes; a power of two
   */
  constructor(ranges: readonly AddressRange[], pageSize: number) {
    this.pageSize = BigInt(pageSize);
    this.page = pageSize;
    this.space = new FreeSpace(pageSize);
    this.setRanges(ranges);
  }

  /** Ranges handed out and not given back. */
  get count(): number {
    return this.space.taken.length;
  }

  /** What {@link allocate} draws from, ends inclusive. */
  get ranges(): AddressRange[] {
    return this.usable.map((span) => this.bytes(span));
  }

  /**
   * The window for what does not stay, ends inclusive: the top eighth of the largest range, at most 64 GiB, and the same of the largest
   * below the MSI window, for devices that reach 32 bits. It is set aside by the first request for it, and empty before; what was taken there earlier stays. Each kind of request
   * goes to the other's addresses only where its own have no room, or lie beyond `below`: neither is refused while addresses are free.
   */
  get windows(): AddressRange[] {
    return this.short.map((span) => this.bytes(span));
  }

  /** Bytes that are usable and free. */
  get freeBytes(): bigint {
    return BigInt(this.space.pages) * this.pageSize;
  }

  /** Bytes of the largest piece that {@link allocate} would give. */
  get largestFree(): bigint {
    return BigInt(this.space.largest) * this.pageSize;
  }

  /** Free pieces: how cut up the free addresses are. */
  get holes(): number {
    return this.space.holes;
  }

  /** What is handed out and not, or no longer, wholly inside the usable ranges; ends inclusive. */
  get stranded(): AddressRange[] {
    const { taken } = this.space;
    const found: AddressRange[] = [];
    let index = 0;
    for (taken.seek(0, 0); taken.first < toEnd; taken.next()) {
      const { first: start, second: end } = taken;
      while (index < this.usable.length && (this.usable[index] as Span).end <= start) index++;
      const span = this.usable[index];
      if (span === undefined || start < span.start || end > span.end) found.push(this.bytes({ start, end }));
    }
    return found;
  }

  /**
   * Replaces the usable ranges. What was handed out stays handed out.
   * @returns {@link stranded}: a device that joined cannot reach it
   */
  setRanges(ranges: readonly AddressRange[]): AddressRange[] {
    const usable = usableSpans(ranges, this.page);
    const same =
      usable.length === this.usable.length &&
      usable.every(({ start, end }, index) => start === this.usable[index]?.start && end === this.usable[index]?.end);
    if (!same) {
      this.usable = usable;
      this.divide();
    }
    return this.stranded;
  }

  /**
   * @param size bytes, 1 or more; rounded up to whole pages
   * @returns the start, or undefined where nothing fits
   *
   * Throws `ERR_VFIO_ARGUMENT` for an alignment that is not a power of two.
   */
  allocate(size: bigint, { alignment, below, shortLived = false }: IovaOptions = {}): bigint | undefined {
    if (alignment !== undefined && (alignment < 1n || (alignment & (alignment - 1n)) !== 0n)) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `an alignment of ${alignment} is not a power of two.`);
    }
    const { page, space } = this;
    const wish: Wish = {
      length: Math.ceil(Number(size) / page),
      alignment: alignment === undefined ? 1 : Math.max(Number(alignment) / page, 1),
      limit: below === undefined ? toEnd / page : Math.floor(Number(below) / page),
    };
    if (shortLived && !this.shortWanted) {
      this.shortWanted = true;
      this.divide();
    }
    let start = space.best(shortLived ? passing : staying, wish);
    if (start < 0) start = space.best(shortLived ? staying : passing, wish);
    if (start < 0) start = space.bestAcross(wish);
    if (start < 0) return undefined;
    space.occupy(start, start + wish.length);
    return BigInt(start * page);
  }

  /**
   * Takes exactly these addresses. False where {@link obstacle} names one.
   * @param start a multiple of the page size; false for others
   * @param size bytes, 1 or more; rounded up to whole pages
   */
  take(start: bigint, size: bigint): boolean {
    if (this.obstacle(start, size) !== undefined) return false;
    const first = Number(start) / this.page;
    this.space.occupy(first, first + Math.ceil(Number(size) / this.page));
    return true;
  }

  /** Why {@link take} would not do; undefined where it would. `outside` also for a start inside a page. */
  obstacle(start: bigint, size: bigint): IovaObstacle | undefined {
    const first = Number(start) / this.page;
    const end = first + Math.ceil(Number(size) / this.page);
    if (start % this.pageSize !== 0n || !this.space.isUsable(first, end)) return 'outside';
    return this.space.isFree(first, end) ? undefined : 'in use';
  }

  /** What was handed out and holds this address, end inclusive; undefined for a free one. */
  holder(address: bigint): AddressRange | undefined {
    const { taken } = this.space;
    const page = Math.floor(Number(address) / this.page);
    taken.seek(page + 1, Number.NEGATIVE_INFINITY);
    if (taken.secondBefore <= page) return undefined;
    return this.bytes({ start: taken.firstBefore, end: taken.secondBefore });
  }

  /** Gives back what started at `start`. False where nothing did. */
  free(start: bigint): boolean {
    return this.space.release(Number(start) / this.page);
  }

  private divide(): void {
    this.short = this.shortWanted ? shortLivedSpans(this.usable, this.page) : [];
    this.space.reset(this.usable, this.short);
  }

  private bytes({ start, end }: Span): AddressRange {
    return { start: BigInt(start * this.page), end: BigInt(end * this.page) - 1n };
  }
}
