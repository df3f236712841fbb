/** A sorted list of pairs of numbers. */

/** Pairs in a block. Large enough that blocks are few, small enough that moving half of one costs little. */
const capacity = 256;

/**
 * Pairs in order of their first numbers, of their second where those are equal. In blocks, so that an insertion moves a few hundred
 * numbers at most: with 100,000 pairs each step costs a fraction of a microsecond; 16 bytes a pair in full blocks, 40 in the emptiest.
 *
 * It has one cursor, which {@link seek} places, {@link next} moves, and every change makes invalid. Nothing is allocated by looking.
 */
export class PairList {
  private readonly blocks: Float64Array[] = [];
  private readonly counts: number[] = [];
  private total = 0;
  private block = 0;
  private index = 0;

  get length(): number {
    return this.total;
  }

  clear(): void {
    this.blocks.length = 0;
    this.counts.length = 0;
    this.total = 0;
    this.block = 0;
    this.index = 0;
  }

  /** Places the cursor on the first pair that is not before this one; past the end where there is none. */
  seek(first: number, second: number): void {
    this.locate(first, second);
    if (this.index === (this.counts[this.block] ?? 0)) {
      this.block++;
      this.index = 0;
    }
  }

  /** Places the cursor on the last pair; past the end where there is none. */
  seekLast(): void {
    this.block = this.total === 0 ? this.blocks.length : this.blocks.length - 1;
    this.index = Math.max((this.counts[this.block] ?? 0) - 1, 0);
  }

  /** Moves the cursor on. */
  next(): void {
    if (++this.index < (this.counts[this.block] ?? 0)) return;
    this.block++;
    this.index = 0;
  }

  /** At the cursor; infinity past the end. */
  get first(): number {
    return this.block < this.blocks.length
      ? ((this.blocks[this.block] as Float64Array)[2 * this.index] as number)
      : Number.POSITIVE_INFINITY;
  }

  /** At the cursor; infinity past the end. */
  get second(): number {
    return this.block < this.blocks.length
      ? ((this.blocks[this.block] as Float64Array)[2 * this.index + 1] as number)
      : Number.POSITIVE_INFINITY;
  }

  /** First number of the pair before the cursor; minus infinity where there is none. */
  get firstBefore(): number {
    return this.before(0);
  }

  /** Second number of the pair before the cursor; minus infinity where there is none. */
  get secondBefore(): number {
    return this.before(1);
  }

  insert(first: number, second: number): void {
    this.total++;
    if (this.blocks.length === 0) {
      this.blocks.push(new Float64Array(2 * capacity));
      this.counts.push(0);
    }
    this.locate(first, second);
    if (this.counts[this.block] === capacity) this.split();
    const pairs = this.blocks[this.block] as Float64Array;
    const count = this.counts[this.block] as number;
    const at = 2 * this.index;
    pairs.copyWithin(at + 2, at, 2 * count);
    pairs[at] = first;
    pairs[at + 1] = second;
    this.counts[this.block] = count + 1;
  }

  /** False where there is no such pair. */
  remove(first: number, second: number): boolean {
    this.locate(first, second);
    const { block, index } = this;
    const count = this.counts[block] ?? 0;
    if (index === count) return false;
    const pairs = this.blocks[block] as Float64Array;
    if (pairs[2 * index] !== first || pairs[2 * index + 1] !== second) return false;
    pairs.copyWithin(2 * index, 2 * index + 2, 2 * count);
    this.counts[block] = count - 1;
    this.total--;
    if (count <= capacity / 2) this.shrink(block);
    return true;
  }

  private before(which: 0 | 1): number {
    const { block, index } = this;
    if (index > 0) return (this.blocks[block] as Float64Array)[2 * (index - 1) + which] as number;
    if (block === 0 || this.total === 0) return Number.NEGATIVE_INFINITY;
    const last = (this.counts[block - 1] as number) - 1;
    return (this.blocks[block - 1] as Float64Array)[2 * last + which] as number;
  }

  /** Block and index where the pair is or belongs; the index may be the one after the block's last. */
  private locate(first: number, second: number): void {
    let low = 0;
    let high = this.blocks.length;
    // The last block that begins with the pair or before it.
    while (low < high) {
      const middle = (low + high) >> 1;
      const pairs = this.blocks[middle] as Float64Array;
      if (isAfter(pairs, 0, first, second)) high = middle;
      else low = middle + 1;
    }
    this.block = low === 0 ? 0 : low - 1;
    const pairs = this.blocks[this.block];
    low = 0;
    high = this.counts[this.block] ?? 0;
    while (pairs !== undefined && low < high) {
      const middle = (low + high) >> 1;
      const key = pairs[2 * middle] as number;
      if (key < first || (key === first && (pairs[2 * middle + 1] as number) < second)) low = middle + 1;
      else high = middle;
    }
    this.index = low;
  }

  /** Makes room beside the full block of the cursor, which stays where its pair belongs. */
  private split(): void {
    const pairs = this.blocks[this.block] as Float64Array;
    // What comes in order leaves full blocks behind.
    const kept = this.index === capacity ? capacity : capacity / 2;
    const upper = new Float64Array(2 * capacity);
    upper.set(pairs.subarray(2 * kept));
    this.blocks.splice(this.block + 1, 0, upper);
    this.counts.splice(this.block, 1, kept, capacity - kept);
    if (this.index < kept) return;
    this.block++;
    this.index -= kept;
  }

  /** Joins a block that has few pairs left with a neighbour that has room. */
  private shrink(block: number): void {
    const count = this.counts[block] as number;
    const other = block > 0 ? block - 1 : 1;
    const otherCount = this.counts[other];
    if (otherCount !== undefined && count + otherCount <= (3 * capacity) / 4) {
      const low = Math.min(block, other);
      const lowCount = this.counts[low] as number;
      const from = this.blocks[low + 1] as Float64Array;
      const fromCount = this.counts[low + 1] as number;
      (this.blocks[low] as Float64Array).set(from.subarray(0, 2 * fromCount), 2 * lowCount);
      this.counts[low] = lowCount + fromCount;
      this.blocks.splice(low + 1, 1);
      this.counts.splice(low + 1, 1);
    } else if (count === 0 && this.blocks.length > 1) {
      // The only block stays: a list of one pair would make and drop it each time.
      this.blocks.splice(block, 1);
      this.counts.splice(block, 1);
    }
  }
}

function isAfter(pairs: Float64Array, index: number, first: number, second: number): boolean {
  const key = pairs[2 * index] as number;
  return key > first || (key === first && (pairs[2 * index + 1] as number) > second);
}
