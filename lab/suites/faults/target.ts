/**
 * The memory that the disk writes into, and how a program that survives sees whether it still does: each block of the disk holds
 * its own number, so that every read changes each page of its place.
 */
import { openSync } from 'node:fs';
import { type DmaTicket, defaultBackend } from 'vfio-core';
import { slotBytes, targetBytes } from './load.js';

const pageBytes = 4096;
const pagesOfARead = slotBytes / pageBytes;

/** Where a process has its DMA memory: of its ticket what a line of text can hold. */
export type Place = Pick<DmaTicket, 'fd' | 'offset' | 'mapped'>;

/** What stood in the target at one moment. */
export type Snapshot = readonly number[];

/** ms in which nothing may change any more. */
const quiet = 20;

export const differ = (before: Snapshot, after: Snapshot): boolean => after.some((word, i) => word !== before[i]);

/** How the writing ended. */
export interface Stop {
  /** A byte changed at that moment: between the instant before the call that ends the writing and the one at which it has ended. */
  readonly inFlight: boolean;
  /** So it did also after that call had returned. */
  readonly changedMeanwhile: boolean;
  /** It wrote after the stop. */
  readonly changedAfter: boolean;
}

export class Target {
  private readonly words: Uint32Array;
  private readonly release: () => void;

  private constructor(bytes: Uint8Array, release: () => void = () => {}) {
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, targetBytes / 4);
    this.release = release;
  }

  /** A WebAssembly memory, which outlives whatever drives the device. */
  static make(): { readonly target: Target; readonly memory: WebAssembly.Memory } {
    const pages = targetBytes / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    return { target: new Target(new Uint8Array(memory.buffer)), memory };
  }

  /** The DMA memory of another process, which stays here when that one is gone. */
  static of(pid: number, ticket: Place): Target {
    const system = defaultBackend();
    const fd = openSync(`/proc/${pid}/fd/${ticket.fd}`, 'r+');
    const mapping = system.memory({ kind: 'file', fd, offset: ticket.offset, length: ticket.mapped });
    system.close(fd);
    if (typeof mapping === 'number') throw new Error(`the memory of process ${pid} does not map: ${mapping}`);
    return new Target(mapping.bytes, () => mapping.unmap());
  }

  snapshot(): Snapshot {
    const { words } = this;
    const seen: number[] = [];
    for (let at = 0; at < words.length; at += pageBytes / 4) seen.push(words[at] as number);
    return seen;
  }

  differsFrom(before: Snapshot): boolean {
    const { words } = this;
    for (let i = 0; i < before.length; i++) if (words[(i * pageBytes) / 4] !== before[i]) return true;
    return false;
  }

  /**
   * Looks without a pause until reads arrive one after the other: then many more are on their way. (All at once is how they arrive
   * at the beginning, and after the driver had no turn; behind those there may be none.)
   * @returns what stood there at that instant; undefined where nothing was written
   */
  private steady(meanwhile: () => void): Snapshot | undefined {
    let seen: Snapshot = this.snapshot();
    let written = false;
    let inRow = 0;
    let last = 0;
    for (const end = performance.now() + 5000; performance.now() < end; ) {
      meanwhile();
      const now = performance.now();
      const next = this.snapshot();
      const pages = next.filter((word, i) => word !== seen[i]).length;
      if (pages === 0) continue;
      written = true;
      inRow = pages <= 2 * pagesOfARead && now - last < 5 ? inRow + 1 : 0;
      seen = next;
      last = now;
      if (inRow === 5) break;
    }
    return written ? seen : undefined;
  }

  /**
   * Waits until the disk writes steadily, does at once what ends the writing, and says how that went.
   * @param end makes the call, and resolves when the device was stopped
   * @param meanwhile keeps the device busy, where this thread is who does that
   */
  async stoppedBy(end: () => Promise<unknown>, meanwhile = () => {}): Promise<Stop> {
    const before = this.steady(meanwhile);
    if (before === undefined) return { inFlight: false, changedMeanwhile: false, changedAfter: false };
    const ending = end();
    const called = this.snapshot();
    await ending;
    const after = this.snapshot();
    await new Promise((done) => setTimeout(done, quiet));
    return {
      inFlight: differ(before, after),
      changedMeanwhile: differ(called, after),
      changedAfter: this.differsFrom(after),
    };
  }

  /** Makes a call that stops no DMA, and waits for what is in flight to arrive. */
  async goesOn(call: () => void): Promise<void> {
    call();
    await undefined;
    await this.changesMeanwhile(this.snapshot(), 1000);
  }

  /** Waits until a word changes, and lets this thread's other work go on. @returns whether one did, within `milliseconds` */
  async changesMeanwhile(before: Snapshot, milliseconds = 10_000): Promise<boolean> {
    for (const end = performance.now() + milliseconds; performance.now() < end; ) {
      if (this.differsFrom(before)) return true;
      await new Promise((done) => setImmediate(done));
    }
    return false;
  }

  /**
   * To be waited for before a device is reset or closed in the same breath as its queue was rung, with the other reads left in flight:
   * QEMU itself falls over a controller that is reset before it has looked at new commands. It has once further reads have arrived.
   */
  async arrivals(): Promise<void> {
    for (let i = 0; i < 2; i++) await this.changesMeanwhile(this.snapshot(), 100);
  }

  close(): void {
    this.release();
  }
}
