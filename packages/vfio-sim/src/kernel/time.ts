/**
 * Virtual time: a clock that moves only when somebody waits for it, and the work that devices have put off.
 *
 * Work runs in steps. A step runs what is due when it begins; what that work adds waits for the next step. So a device never works
 * inside the register access that asked for it, and never deeper than its queue in one go.
 */

/** Work that waits for its time. */
interface Item {
  readonly time: number;
  readonly work: () => void;
  /** What {@link VirtualTime.drop} names. */
  readonly owner: unknown;
  cancelled: boolean;
}

/** Most that one empty poll moves the clock, in ms. */
const POLL_TICK = 1;
/** Register reads in a row after which a loop is taken for one that polls, and time goes on. */
const READS_PER_TICK = 64;

export class VirtualTime {
  private time = 0;
  /** Due now, in order. */
  private ready: Item[] = [];
  /** Due later, in order of time. */
  private readonly timers: Item[] = [];
  private running = false;
  private reads = 0;
  /** Told whenever work was added. */
  onWork: () => void = () => {};

  /** Ms since the machine started. Reading it does not move it. */
  get current(): number {
    return this.time;
  }

  /** When the next put-off work is due; `Infinity` when there is none. */
  get next(): number {
    if (this.ready.some((item) => !item.cancelled)) return this.time;
    while (this.timers[0]?.cancelled) this.timers.shift();
    return this.timers[0]?.time ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Runs `work` once the clock has moved on by `delay` ms.
   * @returns a function that calls it off
   */
  schedule(delay: number, work: () => void, owner?: unknown): () => void {
    const item: Item = { time: this.time + Math.max(0, delay), work, owner, cancelled: false };
    if (!(delay > 0)) this.ready.push(item);
    else this.timers.splice(this.placeFor(item.time), 0, item);
    this.onWork();
    return () => {
      item.cancelled = true;
    };
  }

  /** Forgets all work of `owner`. */
  drop(owner: unknown): void {
    for (const item of this.ready) if (item.owner === owner) item.cancelled = true;
    for (const item of this.timers) if (item.owner === owner) item.cancelled = true;
  }

  /** One step: runs what is due. @returns whether anything ran */
  runDue(): boolean {
    if (this.running) return false;
    this.reads = 0;
    while (this.timers[0] !== undefined && this.timers[0].time <= this.time)
      this.ready.push(this.timers.shift() as Item);
    if (this.ready.length === 0) return false;
    const batch = this.ready;
    this.ready = [];
    let done = 0;
    let ran = false;
    this.running = true;
    try {
      while (done < batch.length) {
        const item = batch[done++] as Item;
        if (item.cancelled) continue;
        ran = true;
        item.work();
      }
    } finally {
      this.running = false;
      // Only after a throw is anything left: the rest keeps its turn.
      if (done < batch.length) this.ready = batch.slice(done).concat(this.ready);
    }
    return ran;
  }

  /** Moves the clock to `time` (never back), then runs what is due there. */
  advance(time: number): void {
    if (this.running) return;
    this.time = Math.max(this.time, time);
    this.runDue();
  }

  /** One look at an idle machine: what is due runs; if nothing is, the clock moves on a little, at most to the next work. */
  poll(): void {
    if (this.running || this.runDue()) return;
    this.advance(Math.min(this.next, this.time + POLL_TICK));
  }

  /** Counts a register read; many in a row without any other wait are a polling loop, which must see time go on. */
  registerRead(): void {
    if (++this.reads >= READS_PER_TICK) this.poll();
  }

  private placeFor(time: number): number {
    let low = 0;
    let high = this.timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.timers[middle] as Item).time <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
