// A plain allocator of device addresses to compare with: a sorted list of holes in bigints, walked whole for each allocation.
interface Hole {
  start: bigint;
  end: bigint;
}

const page = 4096n;
const up = (value: bigint, step: bigint): bigint => ((value + step - 1n) / step) * step;

/** Best fit: the smallest hole that takes it, of equal ones the lowest. Ends are exclusive. */
export class LinearAllocator {
  private readonly list: Hole[];
  private readonly taken = new Map<bigint, bigint>();

  constructor(holes: readonly Hole[]) {
    this.list = holes.map((hole) => ({ ...hole }));
  }

  get holes(): number {
    return this.list.length;
  }

  allocate(size: bigint, { alignment = page, below }: { alignment?: bigint; below?: bigint } = {}): bigint | undefined {
    const length = up(size, page);
    let best = -1;
    let bestSize = 0n;
    for (const [index, hole] of this.list.entries()) {
      const end = below !== undefined && below < hole.end ? below : hole.end;
      if (up(hole.start, alignment) + length > end) continue;
      if (best >= 0 && hole.end - hole.start >= bestSize) continue;
      best = index;
      bestSize = hole.end - hole.start;
    }
    const hole = this.list[best];
    if (hole === undefined) return undefined;
    const start = up(hole.start, alignment);
    const parts = [
      { start: hole.start, end: start },
      { start: start + length, end: hole.end },
    ].filter((part) => part.start < part.end);
    this.list.splice(best, 1, ...parts);
    this.taken.set(start, start + length);
    return start;
  }

  free(start: bigint): boolean {
    const end = this.taken.get(start);
    if (end === undefined) return false;
    this.taken.delete(start);
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.list[middle] as Hole).start < start) low = middle + 1;
      else high = middle;
    }
    const before = this.list[low - 1];
    const after = this.list[low];
    const joinsBefore = before?.end === start;
    const joinsAfter = after?.start === end;
    const hole = { start: joinsBefore ? before.start : start, end: joinsAfter ? after.end : end };
    this.list.splice(low - (joinsBefore ? 1 : 0), (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), hole);
    return true;
  }
}
