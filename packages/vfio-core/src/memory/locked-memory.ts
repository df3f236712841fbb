/** The part of the limit on locked memory that an address space uses, so that a refusal can come before the kernel's. */

import type { SystemCalls } from '../seam/system-calls.js';
import type { Headroom } from './dma.js';
import { lockedTooMuch, type MemlockState, memlock } from './memlock.js';

/**
 * Counts what this space locks. The files of /proc that tell the rest are read at the start and again before a refusal, not for each
 * mapping: they cost more than the mapping.
 */
export class LockedMemory {
  private readonly system: SystemCalls;
  private readonly counts: Headroom['memlock']['counts'];
  private own = 0;
  private state: MemlockState | undefined;
  /** What others of the process had locked when `state` was read. */
  private others = 0;

  /** @param counts what the kernel compares with the limit: all of the process, or of its user, which nobody can read */
  constructor(system: SystemCalls, counts: Headroom['memlock']['counts']) {
    this.system = system;
    this.counts = counts;
  }

  /** Throws `ERR_VFIO_MEMLOCK` where `bytes` more would exceed the limit. */
  check(bytes: number): void {
    if (this.fits(bytes, this.state ?? this.read())) return;
    const state = this.read();
    if (!this.fits(bytes, state)) throw lockedTooMuch(bytes, state.limit as number, this.others + this.own);
  }

  /** Negative for what is locked no more. */
  add(bytes: number): void {
    this.own += bytes;
  }

  headroom(): Headroom['memlock'] {
    const { limit, used, lifted } = this.read();
    const { counts } = this;
    const counted = counts === 'process' ? used : this.own;
    if (lifted) return { limit: Number.POSITIVE_INFINITY, used: counted, left: Number.POSITIVE_INFINITY, counts };
    const left = limit === undefined || counted === undefined ? undefined : Math.max(0, limit - counted);
    return { limit, used: counted, left, counts };
  }

  private fits(bytes: number, { limit, lifted }: MemlockState): boolean {
    return lifted || limit === undefined || this.others + this.own + bytes <= limit;
  }

  private read(): MemlockState {
    this.state = memlock(this.system);
    this.others = this.counts === 'process' ? Math.max(0, (this.state.used ?? 0) - this.own) : 0;
    return this.state;
  }
}
