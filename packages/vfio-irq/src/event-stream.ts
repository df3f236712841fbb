/** Counts as an async iterable: what `for await` walks over. */

import type { EventCounter, Listener } from './event-counter.js';

interface Waiting {
  readonly resolve: (result: IteratorResult<number, undefined>) => void;
  readonly reject: (reason: unknown) => void;
}

const done: IteratorResult<number, undefined> = { done: true, value: undefined };

/** Listens from the first `next()` to `return()`, the abort of its signal, or the close of its counter. */
export class EventStream implements AsyncIterableIterator<number> {
  private readonly counter: EventCounter;
  private readonly signal: AbortSignal | undefined;
  private readonly listener: Listener;
  private readonly abort = (): void => this.finish();
  private waiting: Waiting[] = [];
  private sum = 0;
  private started = false;
  private finished = false;

  constructor(counter: EventCounter, signal: AbortSignal | undefined) {
    this.counter = counter;
    this.signal = signal;
    this.listener = { active: false, count: (count) => this.arrived(count), end: () => this.finish() };
  }

  next(): Promise<IteratorResult<number, undefined>> {
    return new Promise((resolve, reject) => {
      if (!this.finished && !this.started) {
        this.signal?.throwIfAborted();
        this.counter.add(this.listener);
        this.started = true;
        this.signal?.addEventListener('abort', this.abort);
      }
      if (this.sum > 0) {
        const value = this.sum;
        this.sum = 0;
        return resolve({ done: false, value });
      }
      if (this.finished) return this.settle({ resolve, reject });
      this.waiting.push({ resolve, reject });
      this.counter.ref();
    });
  }

  return(): Promise<IteratorResult<number, undefined>> {
    this.sum = 0;
    this.finish();
    return Promise.resolve(done);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private arrived(count: number): void {
    this.sum += count;
    const first = this.waiting.shift();
    if (first === undefined) return;
    this.counter.unref();
    const value = this.sum;
    this.sum = 0;
    first.resolve({ done: false, value });
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.counter.remove(this.listener);
    this.signal?.removeEventListener('abort', this.abort);
    const { waiting } = this;
    this.waiting = [];
    for (const one of waiting) {
      this.counter.unref();
      this.settle(one);
    }
  }

  private settle(waiting: Waiting): void {
    if (this.signal?.aborted) waiting.reject(this.signal.reason);
    else waiting.resolve(done);
  }
}
