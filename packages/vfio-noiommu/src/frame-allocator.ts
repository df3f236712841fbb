/** Which pages of which huge pages are in use. A pure unit: numbers in, numbers out. */

/** A place: `pages` pages from page `start` on of huge page `index`; or, with `start` 0, whole huge pages from `index` on. */
export interface Place {
  readonly index: number;
  readonly start: number;
  readonly pages: number;
}

/** What a place must satisfy. */
export interface Wish {
  readonly pages: number;
  /** Bytes, a power of two. */
  readonly alignment: bigint;
  /** All addresses are below it. */
  readonly below: bigint;
}

interface HugePage {
  /** Physical address. */
  readonly address: bigint;
  readonly used: Uint8Array;
  free: number;
}

export class FrameAllocator {
  /** Pages in a huge page. */
  readonly perHuge: number;
  /** By index, which is the place in the file; undefined where there is none (any more). */
  private readonly huge: (HugePage | undefined)[] = [];

  constructor(
    readonly pageSize: number,
    readonly hugeSize: number,
  ) {
    this.perHuge = hugeSize / pageSize;
  }

  /** Places in the file that were given out, holes included. */
  get length(): number {
    return this.huge.length;
  }

  /** The most neighbouring pages of one huge page that are free. */
  get longestRun(): number {
    let longest = 0;
    for (const page of this.huge) {
      let run = 0;
      for (const used of page?.used ?? []) {
        run = used === 0 ? run + 1 : 0;
        longest = Math.max(longest, run);
      }
    }
    return longest;
  }

  /** @param address physical, a multiple of the huge page's size */
  add(address: bigint): number {
    return this.huge.push({ address, used: new Uint8Array(this.perHuge), free: this.perHuge }) - 1;
  }

  /** Takes out a huge page of which nothing is in use. @returns whether it did */
  remove(index: number): boolean {
    if (!this.isFree(index)) return false;
    this.huge[index] = undefined;
    return true;
  }

  address(index: number): bigint {
    const page = this.huge[index];
    if (page === undefined) throw new RangeError(`no huge page ${index}`);
    return page.address;
  }

  /** First fit; undefined where nothing fits. More pages than a huge page has are whole ones, neighbours in the file only. */
  take(wish: Wish): Place | undefined {
    const place = wish.pages <= this.perHuge ? this.findInside(wish) : this.findRun(wish);
    if (place === undefined) return undefined;
    this.mark(place, 1);
    return place;
  }

  give(place: Place): void {
    this.mark(place, 0);
  }

  /** Whether a huge page of this address could serve a wish alone. */
  fits(index: number, wish: Wish): boolean {
    return this.startIn(index, { ...wish, pages: Math.min(wish.pages, this.perHuge) }) !== undefined;
  }

  private findInside(wish: Wish): Place | undefined {
    for (let index = 0; index < this.huge.length; index++) {
      const start = this.startIn(index, wish);
      if (start !== undefined) return { index, start, pages: wish.pages };
    }
    return undefined;
  }

  private startIn(index: number, { pages, alignment, below }: Wish): number | undefined {
    const page = this.huge[index];
    if (page === undefined || page.free < pages) return undefined;
    let run = 0;
    for (let at = 0; at < this.perHuge; at++) {
      run = page.used[at] === 0 ? run + 1 : 0;
      if (run < pages) continue;
      const start = at - pages + 1;
      const address = page.address + BigInt(start * this.pageSize);
      if (address + BigInt(pages * this.pageSize) > below) return undefined;
      if (address % alignment === 0n) return start;
    }
    return undefined;
  }

  private findRun({ pages, alignment, below }: Wish): Place | undefined {
    const count = Math.ceil(pages / this.perHuge);
    let run = 0;
    for (let index = 0; index < this.huge.length; index++) {
      const page = this.huge[index];
      const usable = page !== undefined && this.isFree(index) && page.address + BigInt(this.hugeSize) <= below;
      // What is aligned is the start: a page that can only be in the middle begins no run.
      if (!usable) run = 0;
      else if (run > 0 || page.address % alignment === 0n) run++;
      if (run === count) return { index: index - count + 1, start: 0, pages: count * this.perHuge };
    }
    return undefined;
  }

  private isFree(index: number): boolean {
    return this.huge[index]?.free === this.perHuge;
  }

  private mark({ index, start, pages }: Place, value: 0 | 1): void {
    for (let done = 0; done < pages; ) {
      const page = this.huge[index + Math.floor((start + done) / this.perHuge)]!;
      const from = (start + done) % this.perHuge;
      const count = Math.min(this.perHuge - from, pages - done);
      page.used.fill(value, from, from + count);
      page.free += value === 1 ? -count : count;
      done += count;
    }
  }
}
