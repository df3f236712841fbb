/**
 * An eventfd seen from a program: counts that arrive, listeners that want them.
 *
 * The eventfd's own counter is the only store. While somebody listens, the event loop takes counts out and hands each to
 * everybody who listens; while nobody does they stay in the eventfd, summed by the kernel, until somebody comes. So
 * nothing is lost, and a thread that only shares the descriptor sees what nobody here has taken.
 */

import { check, type EventWatch, type Fd, type SystemCalls, VfioError } from 'vfio-core';
import { EventStream } from './event-stream.js';

/** Options of everything that waits. */
export interface WaitOptions {
  /** Ends the wait: it rejects with `signal.reason`, and what arrives later is kept for the next one. */
  readonly signal?: AbortSignal;
}

/** Somebody who wants counts. Made once per wait or subscription; a delivery allocates nothing. */
export interface Listener {
  /** False once it was taken out; a delivery that is under way then skips it. */
  active: boolean;
  readonly count: (count: number) => void;
  /** The counter was closed. */
  readonly end: () => void;
}

const EAGAIN = -11;
const EINTR = -4;

/** Counts of one eventfd. {@link Interrupt} adds what only the device's owner can do. */
export class EventCounter implements AsyncIterable<number> {
  /** The eventfd. It belongs to this object: poll it or hand it on, but do not close it. */
  readonly fd: Fd;
  /** Whose counts these are, for messages: `MSI-X vector 3 of 0000:01:00.0`. */
  readonly label: string;
  protected readonly system: SystemCalls;
  /** True where another thread may wait on the same eventfd: then a watch goes as soon as nobody listens here. */
  protected shared = false;
  private listeners: readonly Listener[] = [];
  private watch: EventWatch | undefined;
  private holds = 0;
  private ended = false;

  constructor(system: SystemCalls, fd: Fd, label: string) {
    this.system = system;
    this.fd = fd;
    this.label = label;
  }

  get closed(): boolean {
    return this.ended;
  }

  /**
   * Takes what has arrived, without waiting.
   * @returns the number of events since the last one who took, 0 for none
   * @throws `ERR_VFIO_CLOSED`
   */
  take(): number {
    this.enter();
    try {
      return this.read();
    } finally {
      this.leave();
    }
  }

  /**
   * Blocks this thread until something arrives. For Workers: in the main thread it stops the event loop too. The count
   * goes to the caller alone, past other listeners.
   * @param timeout ms, 0 or more; `Infinity` waits for ever
   * @returns the number of events; 0 when the time is up
   * @throws `ERR_VFIO_CLOSED`, also when the owner closes the interrupt during the wait; `ERR_VFIO_ARGUMENT`
   */
  wait(timeout: number): number {
    if (!(timeout >= 0)) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `A wait takes a time of 0 ms or more, not ${timeout}.`);
    }
    this.enter();
    try {
      const start = this.system.now();
      for (;;) {
        const count = this.read();
        if (count > 0) return count;
        const left = timeout === Number.POSITIVE_INFINITY ? -1 : Math.ceil(timeout - (this.system.now() - start));
        const ready = this.system.poll(this.fd, left < 0 && timeout !== Number.POSITIVE_INFINITY ? 0 : left);
        this.assertOpen();
        if (ready === 0) return this.read();
        if (ready !== EINTR) check(ready, { syscall: 'poll', details: { fd: this.fd } });
      }
    } finally {
      this.leave();
    }
  }

  /**
   * The next count: one that has already arrived, or the first to come. The pending promise keeps the process alive.
   * @returns the number of events, 1 or more: interrupts that come close together arrive as one count
   * @throws `ERR_VFIO_CLOSED` (rejects) when the interrupt is or gets closed; `signal.reason` when aborted
   */
  once(options: WaitOptions = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      signal?.throwIfAborted();
      this.assertOpen();
      if (this.listeners.length === 0) {
        // With other listeners about, what is in the eventfd is theirs too and comes by the watch.
        const count = this.take();
        if (count > 0) return resolve(count);
      }
      const finish = (): void => {
        this.remove(listener);
        this.unref();
        signal?.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        finish();
        reject(signal?.reason);
      };
      const listener: Listener = {
        active: false,
        count: (count) => {
          finish();
          resolve(count);
        },
        end: () => {
          finish();
          reject(this.closedError());
        },
      };
      this.add(listener);
      this.ref();
      signal?.addEventListener('abort', abort);
    });
  }

  /**
   * All counts from now on, starting with what has already arrived: `for await (const count of irq.events({ signal }))`.
   * Counts that come while the loop's body runs are summed and not lost. A loop that waits keeps the process alive.
   * It ends without an error when the interrupt is closed, and throws `signal.reason` when aborted.
   */
  events(options: WaitOptions = {}): AsyncIterableIterator<number> {
    return new EventStream(this, options.signal);
  }

  /** The same as {@link events} without options. */
  [Symbol.asyncIterator](): AsyncIterableIterator<number> {
    return this.events();
  }

  /**
   * Calls `handler` in the event loop with each count, starting with what has already arrived. Nothing is allocated per
   * event. A subscription alone does not keep the process alive; {@link ref} does.
   * @returns a function that ends the subscription
   * @throws `ERR_VFIO_CLOSED`
   */
  onInterrupt(handler: (count: number) => void): () => void {
    const listener: Listener = { active: false, count: handler, end: () => this.remove(listener) };
    this.add(listener);
    return () => this.remove(listener);
  }

  /**
   * Keeps the process alive while somebody listens, until as many calls of {@link unref}. `once` and `for await` do it by
   * themselves; code that waits through {@link onInterrupt} does it while it has something to wait for.
   */
  ref(): void {
    this.holds++;
    if (this.holds === 1) this.watch?.ref();
  }

  /** Undoes one {@link ref}. */
  unref(): void {
    if (this.holds === 0) return;
    this.holds--;
    if (this.holds === 0) this.watch?.unref();
  }

  /** @internal Starts handing counts to `listener`. */
  add(listener: Listener): void {
    this.assertOpen();
    // The list is replaced and never changed, so that a delivery walks over the one that it started with.
    this.listeners = [...this.listeners, listener];
    listener.active = true;
    if (this.watch !== undefined) return;
    this.enter();
    const watch = this.system.watch(this.fd, (count) => this.deliver(count));
    if (typeof watch === 'number') {
      this.leave();
      this.remove(listener);
      check(watch, { syscall: 'watch', details: { fd: this.fd } });
      return;
    }
    this.watch = watch;
    if (this.holds > 0) watch.ref();
  }

  /** @internal */
  remove(listener: Listener): void {
    if (!listener.active) return;
    listener.active = false;
    this.listeners = this.listeners.filter((other) => other !== listener);
    if (this.shared && this.listeners.length === 0) this.stopWatch();
  }

  /** @internal The error of a wait that its interrupt's closing ended. */
  closedError(): VfioError {
    return new VfioError('ERR_VFIO_CLOSED', `${this.label} is closed.`);
  }

  /** Whether somebody else ended this eventfd; an attached counter looks at its owner here. */
  protected endedElsewhere(): boolean {
    return false;
  }

  /** Before the descriptor is used. An attached counter tells its owner, who does not close the descriptor meanwhile. */
  protected enter(): void {
    this.assertOpen();
  }

  /** After the descriptor was used; once for each {@link enter} that did not throw. */
  protected leave(): void {}

  /** Ends all waits and the watch. Does not close the eventfd. Idempotent. */
  protected end(): void {
    if (this.ended) return;
    this.ended = true;
    this.stopWatch();
    for (const listener of this.listeners) if (listener.active) listener.end();
    this.listeners = [];
  }

  protected assertOpen(): void {
    if (!this.ended && this.endedElsewhere()) this.end();
    if (this.ended) throw this.closedError();
  }

  private deliver(count: number): void {
    if (this.endedElsewhere()) {
      // The count was the owner's call to wake up: other threads need it too.
      this.system.eventfdWrite(this.fd, count);
      this.end();
      return;
    }
    const { listeners } = this;
    if (listeners.length === 0) {
      // A watch is kept between two waits, since starting one costs; the first count that nobody wants ends it and goes back.
      this.stopWatch();
      this.system.eventfdWrite(this.fd, count);
      return;
    }
    let failed = false;
    let failure: unknown;
    for (const listener of listeners) {
      if (!listener.active) continue;
      try {
        listener.count(count);
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
      }
    }
    if (failed) throw failure;
  }

  private read(): number {
    const count = this.system.eventfdRead(this.fd);
    return count === EAGAIN ? 0 : check(count, { syscall: 'read', details: { fd: this.fd } });
  }

  private stopWatch(): void {
    if (this.watch === undefined) return;
    this.watch.close();
    this.watch = undefined;
    this.leave();
  }
}
