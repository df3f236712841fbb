/** Which device addresses are free. A pure unit: it knows no kernel and maps nothing. */

import type { AddressRange } from './dma.js';

/** A hole or a usable range; the end is exclusive here, which makes the arithmetic plain. */
interface Span {
  start: bigint;
  end: bigint;
}

/** Messages written to this window are interrupts on x86 and never reach memory ([T1-14]). Inclusive. */
export const msiWindow: AddressRange = { start: 0xfee0_0000n, end: 0xfeef_ffffn };

/** Device addresses stay below this, so that drivers compute with them as exact numbers. */
const ceiling = 2n ** 53n;

export interface IovaOptions {
  /** Alignment of the start, a power of two; at least a page. */
  readonly alignment?: bigint;
  /** Every address of it must be below this one. */
  readonly below?: bigint;
}

const up = (value: bigint, alignment: bigint): bigint => ((value + alignment - 1n) / alignment) * alignment;
const down = (value: bigint, alignment: bigint): bigint => (value / alignment) * alignment;

/**
 * Hands out ranges of device addresses, page-granular, best fit: the smallest hole that takes it, so that large ones last.
 * Whatever ranges it is given, it keeps out of page 0 (a null pointer in a device must fault), out of the MSI window, and below 2^53.
 */
export class IovaAllocator {
  readonly pageSize: bigint;
  /** Sorted, disjoint, not touching. */
  private usable: Span[] = [];
  /** Sorted, disjoint; inside `usable`. */
  private holes: Span[] = [];
  /** By start: the end. */
  private readonly taken = new Map<bigint, bigint>();

  /** @param ranges usable addresses, ends inclusive, in any order */
  constructor(ranges: readonly AddressRange[], pageSize: number) {
    this.pageSize = BigInt(pageSize);
    this.setRanges(ranges);
  }

  /** Ranges handed out and not given back. */
  get count(): number {
    return this.taken.size;
  }

  /** What {@link allocate} draws from, ends inclusive. */
  get ranges(): AddressRange[] {
    return this.usable.map(({ start, end }) => ({ start, end: end - 1n }));
  }

  /** Replaces the usable ranges. What was handed out stays handed out. */
  setRanges(ranges: readonly AddressRange[]): void {
    this.usable = normalise(ranges, this.pageSize);
    this.holes = this.usable.map((span) => ({ ...span }));
    for (const [start, end] of this.taken) this.holes = this.holes.flatMap((hole) => without(hole, start, end));
  }

  /**
   * @param size bytes, 1 or more; rounded up to whole pages
   * @returns the start, or undefined where nothing fits
   */
  allocate(size: bigint, { alignment = this.pageSize, below }: IovaOptions = {}): bigint | undefined {
    const length = up(size, this.pageSize);
    const step = alignment > this.pageSize ? alignment : this.pageSize;
    let best = -1;
    let bestSize = 0n;
    for (const [index, hole] of this.holes.entries()) {
      const holeSize = hole.end - hole.start;
      const end = below !== undefined && below < hole.end ? below : hole.end;
      if (up(hole.start, step) + length > end) continue;
      if (best >= 0 && holeSize >= bestSize) continue;
      best = index;
      bestSize = holeSize;
    }
    const hole = this.holes[best];
    if (hole === undefined) return undefined;
    const start = up(hole.start, step);
    this.holes.splice(best, 1, ...without(hole, start, start + length));
    this.taken.set(start, start + length);
    return start;
  }

  /** Gives back what started at `start`. False where nothing did. */
  free(start: bigint): boolean {
    const end = this.taken.get(start);
    if (end === undefined) return false;
    this.taken.delete(start);
    // The ranges may have shrunk since: only what is still usable becomes a hole.
    for (const span of this.usable) {
      const from = start > span.start ? start : span.start;
      // biome-ignore lint/complexity/useMathMinMax: Math.min takes no bigint
      const to = end < span.end ? end : span.end;
      if (from < to) this.addHole(from, to);
    }
    return true;
  }

  /** Inserts a hole, joined with the neighbours that it touches. */
  private addHole(start: bigint, end: bigint): void {
    let low = 0;
    let high = this.holes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.holes[middle] as Span).start < start) low = middle + 1;
      else high = middle;
    }
    const before = this.holes[low - 1];
    const after = this.holes[low];
    const joinsBefore = before !== undefined && before.end === start;
    const joinsAfter = after !== undefined && after.start === end;
    const hole = { start: joinsBefore ? before.start : start, end: joinsAfter ? after.end : end };
    this.holes.splice(low - (joinsBefore ? 1 : 0), (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), hole);
  }
}

/** A span less a range: none, one or two spans. */
function without(span: Span, start: bigint, end: bigint): Span[] {
  if (end <= span.start || start >= span.end) return [span];
  const left = { start: span.start, end: start };
  const right = { start: end, end: span.end };
  return [left, right].filter((part) => part.start < part.end);
}

function normalise(ranges: readonly AddressRange[], pageSize: bigint): Span[] {
  const sorted = ranges
    .map(({ start, end }) => ({ start, end: end + 1n < ceiling ? end + 1n : ceiling }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const joined: Span[] = [];
  for (const span of sorted) {
    const last = joined.at(-1);
    if (last === undefined || span.start > last.end) joined.push(span);
    else if (span.end > last.end) last.end = span.end;
  }
  return joined
    .flatMap((span) => without(span, 0n, pageSize))
    .flatMap((span) => without(span, down(msiWindow.start, pageSize), up(msiWindow.end + 1n, pageSize)))
    .map(({ start, end }) => ({ start: up(start, pageSize), end: down(end, pageSize) }))
    .filter(({ start, end }) => start < end);
}
