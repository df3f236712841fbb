/** What is free and what is taken in a space of pages: the bookkeeping below {@link IovaAllocator}. */

import { PairList } from './pair-list.js';
import { cut, type Piece, type Span } from './usable-ranges.js';

/** Holes that are tried in order of size before one is taken that is large enough for any alignment. */
const tries = 32;

/** What a run of pages must be like. */
export interface Wish {
  /** 1 or more. */
  readonly length: number;
  /** Pages; a power of two. */
  readonly alignment: number;
  /** Its end is not beyond this page. */
  readonly limit: number;
}

/** Holes of one kind, by size, and the pages among which they lie. */
interface Area {
  readonly holes: PairList;
  start: number;
  end: number;
}

const areaCount = 4;

const up = (page: number, alignment: number): number => Math.ceil(page / alignment) * alignment;

/** Start of the first place in a hole that does, or -1. */
function fit(start: number, end: number, { length, alignment, limit }: Wish): number {
  const at = up(start, alignment);
  return at + length <= Math.min(end, limit) ? at : -1;
}

/**
 * Pages taken, by address; holes between them, by size. A hole ends at the borders of its {@link Piece}, so that holes of one area
 * are never chosen for another by mistake; what crosses a border is put together where it is asked for.
 */
export class FreeSpace {
  /** Taken: start and end. */
  readonly taken = new PairList();
  private usable: readonly Span[] = [];
  private pieces: readonly Piece[] = [];
  private readonly areas: readonly Area[] = Array.from({ length: areaCount }, () => ({
    holes: new PairList(),
    start: Number.POSITIVE_INFINITY,
    end: 0,
  }));
  /** Where pieces of one usable span touch. */
  private borders: readonly number[] = [];
  private free = 0;

  constructor(private readonly page: number) {}

  /** Free pages. */
  get pages(): number {
    return this.free;
  }

  /** Runs of free pages; one that crosses a border counts on both sides. */
  get holes(): number {
    return this.areas.reduce((sum, { holes }) => sum + holes.length, 0);
  }

  /** Pages of the largest run, across borders too. */
  get largest(): number {
    let most = 0;
    for (const { holes } of this.areas) {
      if (holes.length === 0) continue;
      holes.seekLast();
      most = Math.max(most, holes.first);
    }
    for (const border of this.borders) {
      const hole = this.across(border);
      if (hole !== undefined) most = Math.max(most, hole.end - hole.start);
    }
    return most;
  }

  /** Replaces what can be used; what is taken stays so. */
  reset(usable: readonly Span[], windows: readonly Span[]): void {
    this.usable = usable;
    this.pieces = cut(usable, windows, this.page);
    this.borders = this.pieces
      .map(({ start }) => start)
      .filter((start) => usable.some((span) => span.start < start && start < span.end));
    this.free = 0;
    for (const [index, area] of this.areas.entries()) {
      const own = this.pieces.filter((piece) => piece.area === index);
      area.holes.clear();
      area.start = own[0]?.start ?? Number.POSITIVE_INFINITY;
      area.end = own.at(-1)?.end ?? 0;
    }
    const { taken } = this;
    for (const { start, end, area } of this.pieces) {
      taken.seek(start, Number.NEGATIVE_INFINITY);
      let from = Math.max(start, taken.secondBefore);
      while (from < end) {
        const to = Math.min(taken.first, end);
        this.add(area, from, to);
        if (to === end) break;
        from = taken.second;
        taken.next();
      }
    }
  }

  /**
   * The smallest hole that does, of equal ones the lowest; its start, or -1. Where the limit lies among the higher ones, the lower are
   * asked first.
   * @param first area of what is below the MSI window; the one after it is what is above
   */
  best(first: number, wish: Wish): number {
    const found = this.bestOfTwo(first, wish, tries);
    return found >= 0 || wish.alignment === 1 ? found : this.bestOfTwo(first, wish, Number.POSITIVE_INFINITY);
  }

  /** As {@link best} among the holes that cross a border. */
  bestAcross(wish: Wish): number {
    let best = -1;
    let bestSize = Number.POSITIVE_INFINITY;
    for (const border of this.borders) {
      const hole = this.across(border);
      if (hole === undefined || hole.end - hole.start >= bestSize) continue;
      const at = fit(hole.start, hole.end, wish);
      if (at < 0) continue;
      best = at;
      bestSize = hole.end - hole.start;
    }
    return best;
  }

  /** Whether all these pages can be used, whoever has them. */
  isUsable(start: number, end: number): boolean {
    return this.usable.some((span) => start >= span.start && end <= span.end);
  }

  /** Whether nobody has any of these pages. */
  isFree(start: number, end: number): boolean {
    this.taken.seek(start, Number.NEGATIVE_INFINITY);
    return this.taken.secondBefore <= start && this.taken.first >= end;
  }

  /** Takes pages that are usable and free. */
  occupy(start: number, end: number): void {
    const { taken } = this;
    taken.seek(start, Number.NEGATIVE_INFINITY);
    const before = taken.secondBefore;
    const after = taken.first;
    taken.insert(start, end);
    for (let index = this.pieceAt(start); index < this.pieces.length; index++) {
      const piece = this.pieces[index] as Piece;
      if (piece.start >= end) break;
      const from = Math.max(piece.start, before);
      const to = Math.min(piece.end, after);
      this.drop(piece.area, from, to);
      this.add(piece.area, from, Math.min(start, to));
      this.add(piece.area, end, to);
    }
  }

  /** Gives back what was taken from `start` on. False where nothing was. */
  release(start: number): boolean {
    const { taken } = this;
    taken.seek(start, Number.NEGATIVE_INFINITY);
    if (taken.first !== start) return false;
    const end = taken.second;
    const before = taken.secondBefore;
    taken.next();
    const after = taken.first;
    taken.remove(start, end);
    // The ranges may have shrunk since: only what is still usable becomes a hole.
    for (let index = this.pieceAt(start); index < this.pieces.length; index++) {
      const piece = this.pieces[index] as Piece;
      if (piece.start >= end) break;
      const from = Math.max(piece.start, before);
      const to = Math.min(piece.end, after);
      this.drop(piece.area, from, Math.min(start, to));
      this.drop(piece.area, end, to);
      this.add(piece.area, from, to);
    }
    return true;
  }

  /** Size of the hole that {@link bestIn} chose. */
  private size = 0;

  private bestOfTwo(first: number, wish: Wish, most: number): number {
    const low = this.bestIn(first, wish, most);
    const lowSize = this.size;
    if (low >= 0 && wish.limit < (this.areas[first + 1] as Area).end) return low;
    const high = this.bestIn(first + 1, wish, most);
    return low >= 0 && (high < 0 || lowSize <= this.size) ? low : high;
  }

  /** @param most holes to try in order of size */
  private bestIn(index: number, wish: Wish, most: number): number {
    const { holes, start, end } = this.areas[index] as Area;
    const { length, alignment, limit } = wish;
    if (start + length > limit || holes.length === 0) return -1;
    holes.seek(length, Number.NEGATIVE_INFINITY);
    for (let tried = 0; holes.first < Number.POSITIVE_INFINITY; holes.next()) {
      this.size = holes.first;
      const at = fit(holes.second, holes.second + holes.first, wish);
      if (at >= 0) return at;
      if (++tried < most || limit < end) continue;
      // Many that are large enough, and none lies right: one that is larger by the alignment does, wherever it begins.
      holes.seek(length + alignment - 1, Number.NEGATIVE_INFINITY);
      this.size = holes.first;
      return this.size < Number.POSITIVE_INFINITY ? fit(holes.second, holes.second + holes.first, wish) : -1;
    }
    return -1;
  }

  /** The hole that a border cuts in two. */
  private across(border: number): Span | undefined {
    const span = this.usable.find(({ start, end }) => start < border && border < end) as Span;
    this.taken.seek(border, Number.NEGATIVE_INFINITY);
    const start = Math.max(span.start, this.taken.secondBefore);
    const end = Math.min(span.end, this.taken.first);
    return start < border && border < end ? { start, end } : undefined;
  }

  /** Index of the first piece that ends behind a page. */
  private pieceAt(page: number): number {
    let low = 0;
    let high = this.pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.pieces[middle] as Piece).end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private add(area: number, from: number, to: number): void {
    if (from >= to) return;
    (this.areas[area] as Area).holes.insert(to - from, from);
    this.free += to - from;
  }

  private drop(area: number, from: number, to: number): void {
    if (from >= to) return;
    (this.areas[area] as Area).holes.remove(to - from, from);
    this.free -= to - from;
  }
}
