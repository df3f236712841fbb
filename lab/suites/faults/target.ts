/**
 * The memory that the disk writes into, and how a program that survives sees whether it still does: each block of the disk holds
 * its own number, so that every read changes each page of its place.
 */
import { openSync } from 'node:fs';
import { type DmaTicket, defaultBackend } from 'vfio-core';

/** Reads in flight at once. */
export const slots = 16;
/** Bytes that one of them fills: many, so that the disk is in the middle of one at almost any moment. */
export const slotBytes = 65536;
const pageBytes = 4096;
export const targetBytes = slots * slotBytes;

/** Where a process has its DMA memory: of its ticket what a line of text can hold. */
export type Place = Pick<DmaTicket, 'fd' | 'offset' | 'mapped'>;

/** What stood in the target at one moment. */
export type Snapshot = readonly number[];

/** ms between the change that was seen and the call that ends the writing. A busy host can hold a guest up between the two. */
const atThatMoment = 100;
/** ms in which nothing may change any more. */
const quiet = 20;

/** How the writing ended. */
export interface Stop {
  /** A byte changed at the moment of the end: within {@link atThatMoment} before it, or after that and before the device was stopped. */
  readonly inFlight: boolean;
  /** Of these: the device wrote once more between the call and the stop. */
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

  /** Looks without a pause until a word changes. @returns whether one did, within `milliseconds` */
  changesFrom(before: Snapshot, milliseconds = 2000, meanwhile = () => {}): boolean {
    for (const end = performance.now() + milliseconds; performance.now() < end; ) {
      meanwhile();
      if (this.differsFrom(before)) return true;
    }
    return false;
  }

  /**
   * Waits for a change, does at once what ends the writing, and says how that went.
   * @param end resolves when the device was stopped
   * @param meanwhile keeps the device busy, where this thread is who does that
   */
  async stoppedBy(end: () => Promise<unknown>, meanwhile?: () => void): Promise<Stop> {
    const started = this.snapshot();
    if (!this.changesFrom(started, 2000, meanwhile))
      return { inFlight: false, changedMeanwhile: false, changedAfter: false };
    const seen = performance.now();
    const ending = end();
    const late = performance.now() - seen;
    const before = this.snapshot();
    await ending;
    const after = this.snapshot();
    const changedMeanwhile = after.some((word, i) => word !== before[i]);
    await new Promise((done) => setTimeout(done, quiet));
    return {
      inFlight: changedMeanwhile || late < atThatMoment,
      changedMeanwhile,
      changedAfter: this.differsFrom(after),
    };
  }

  /** As {@link changesFrom}, and lets this thread's other work go on meanwhile. */
  async changesMeanwhile(before: Snapshot, milliseconds = 10_000): Promise<boolean> {
    for (const end = performance.now() + milliseconds; performance.now() < end; ) {
      if (this.differsFrom(before)) return true;
      await new Promise((done) => setImmediate(done));
    }
    return false;
  }

  close(): void {
    this.release();
  }
}
