/**
 * The awaiting side of a queue: jobs in, promises out. Completions are taken when an interrupt says so, or by a polling loop
 * that gives way to the event loop. This costs about 100 ns and some garbage per command; the path without is in queue.ts.
 */

import type { SystemCalls } from 'vfio-core';
import { EventLoopTurns } from './event-loop-turns.js';
import type { QueuePair } from './queue.js';

/** Work of one or more commands. */
export interface Job {
  /** Commands are left to issue. */
  readonly more: boolean;
  /** Puts the next command into `slot`. */
  issue(queue: QueuePair, slot: number): void;
  /** The error for a command of this job that ended with `status`. */
  error(status: number): Error;
}

export interface AwaitedOptions {
  readonly system: SystemCalls;
  /** Completions are polled for; else {@link AwaitedQueue.wake} is called at each interrupt. */
  readonly polled: boolean;
  /** ms, as the queue has it. */
  readonly timeout: number;
  /**
   * Told once of what ends the queue: a time-out, a fatal or missing controller. It stops the controller, and calls
   * {@link AwaitedQueue.fail} when that cannot touch the buffers any more. Until then no promise is rejected.
   */
  readonly onFailure: (error: Error) => void;
}

/** Polls in one go, one look at clock and controller included, before the event loop gets its turn. */
const POLLS_PER_TURN = 64;
/** Turns without a completion before the polling loop starts to sleep between them. */
const BUSY_TURNS = 1000;
/** ms of its longest sleep. */
const LONGEST_REST = 10;

interface Pending {
  readonly job: Job;
  inFlight: number;
  result: number;
  failure: { readonly reason: unknown } | undefined;
  /** Undoes what {@link AwaitedQueue.run} did for a signal. */
  unfollow: (() => void) | undefined;
  readonly resolve: (result: number) => void;
  readonly reject: (reason: unknown) => void;
}

/** A queue pair whose commands are awaited. It alone uses the queue. */
export class AwaitedQueue {
  private readonly waiting: Pending[] = [];
  private readonly bySlot: (Pending | undefined)[];
  private readonly freeSlots: number[];
  private driving = false;
  private readonly turns = new EventLoopTurns();
  private failed: Error | undefined;
  private readonly handler = (slot: number, status: number) => this.complete(slot, status);

  constructor(
    readonly queue: QueuePair,
    private readonly options: AwaitedOptions,
  ) {
    // At most depth - 1 commands fit, so one slot is never used.
    this.bySlot = new Array(queue.depth).fill(undefined);
    this.freeSlots = Array.from({ length: queue.depth - 1 }, (_, index) => queue.depth - 2 - index);
  }

  /** Something is in flight or waits for a slot. */
  get busy(): boolean {
    return this.waiting.length > 0 || this.freeSlots.length < this.queue.depth - 1;
  }

  /**
   * Runs a job. Resolves to dword 0 of its last completion.
   *
   * The promise settles only when the controller is done with every command of the job, aborted or not: from then on the
   * buffer is the caller's again.
   * @param signal commands not yet sent are not sent; rejects with `signal.reason`
   */
  run(job: Job, signal?: AbortSignal): Promise<number> {
    if (this.failed !== undefined) return Promise.reject(this.failed);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        job,
        inFlight: 0,
        result: 0,
        failure: undefined,
        unfollow: undefined,
        resolve,
        reject,
      };
      if (signal !== undefined) this.follow(pending, signal);
      this.waiting.push(pending);
      this.pump();
      void this.drive();
    });
  }

  /** Takes completions: at an interrupt, and once in a while in case one was lost. */
  wake(): void {
    if (this.queue.closed) return;
    try {
      while (this.queue.poll(this.handler) > 0) this.pump();
    } catch (error) {
      this.options.onFailure(error as Error);
    }
  }

  /** Rejects everything. The controller must not reach the buffers any more. */
  fail(error: Error): void {
    this.failed ??= error;
    this.turns.close();
    const hit = new Set([...this.waiting, ...this.bySlot.filter((pending) => pending !== undefined)]);
    this.waiting.length = 0;
    this.bySlot.fill(undefined);
    for (const pending of hit) {
      pending.unfollow?.();
      pending.reject(pending.failure === undefined ? error : pending.failure.reason);
    }
  }

  /** Resolves when nothing is in flight any more, or the queue failed. */
  async drained(): Promise<void> {
    while (this.busy && this.failed === undefined) await this.options.system.sleep(1);
  }

  private follow(pending: Pending, signal: AbortSignal): void {
    const abort = () => {
      pending.failure ??= { reason: signal.reason };
      if (pending.inFlight === 0) this.settle(pending);
    };
    signal.addEventListener('abort', abort, { once: true });
    pending.unfollow = () => signal.removeEventListener('abort', abort);
  }

  /** Sends what there are slots for, in order. */
  private pump(): void {
    const { queue, waiting, freeSlots } = this;
    if (queue.closed) return;
    while (waiting.length > 0 && freeSlots.length > 0) {
      const pending = waiting[0]!;
      const slot = freeSlots[freeSlots.length - 1]!;
      try {
        pending.job.issue(queue, slot);
        freeSlots.pop();
        this.bySlot[slot] = pending;
        pending.inFlight++;
      } catch (error) {
        pending.failure ??= { reason: error };
      }
      if (pending.failure !== undefined || !pending.job.more) waiting.shift();
      if (pending.failure !== undefined && pending.inFlight === 0) this.settle(pending);
    }
    queue.ring();
  }

  private complete(slot: number, status: number): void {
    const pending = this.bySlot[slot]!;
    this.bySlot[slot] = undefined;
    this.freeSlots.push(slot);
    pending.inFlight--;
    pending.result = this.queue.result;
    if (status !== 0) pending.failure ??= { reason: pending.job.error(status) };
    if (pending.inFlight === 0 && (pending.failure !== undefined || !pending.job.more)) this.settle(pending);
  }

  private settle(pending: Pending): void {
    const at = this.waiting.indexOf(pending);
    if (at >= 0) this.waiting.splice(at, 1);
    pending.unfollow?.();
    if (pending.failure === undefined) pending.resolve(pending.result);
    else pending.reject(pending.failure.reason);
  }

  /** While anything is in flight: polls, or looks at clock and controller in long intervals. Keeps the process alive meanwhile. */
  private async drive(): Promise<void> {
    if (this.driving) return;
    this.driving = true;
    const { system, polled, timeout, onFailure } = this.options;
    const interval = Math.max(1, Math.min(100, timeout / 8));
    try {
      for (let idle = 0; this.busy && !this.queue.closed; idle++) {
        if (polled) {
          if (this.spin()) idle = 0;
          await (idle < BUSY_TURNS ? this.turns.next() : system.sleep(Math.min(LONGEST_REST, idle - BUSY_TURNS + 1)));
        } else {
          await system.sleep(interval);
          this.wake();
          if (!this.queue.closed) this.queue.look();
        }
      }
    } catch (error) {
      onFailure(error as Error);
    } finally {
      this.turns.rest();
      this.driving = false;
    }
  }

  /** Polls until something came, at most {@link POLLS_PER_TURN} times. */
  private spin(): boolean {
    for (let i = 0; i < POLLS_PER_TURN; i++) {
      if (this.queue.poll(this.handler) > 0) {
        this.pump();
        return true;
      }
    }
    return false;
  }
}
