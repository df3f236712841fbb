/** How one thread lets another wait for an interrupt: what is posted, and the few words that both sides share. */

import { VfioError } from 'vfio-core';

/** Made by `Interrupt.share()`, posted to a Worker, taken by `Interrupt.attach(ticket)`. Structured-cloneable. */
export interface InterruptTicket {
  /** The eventfd. Descriptors belong to the process, so all its threads can use the number. */
  readonly fd: number;
  /** Whose counts these are, for messages. */
  readonly label: string;
  /** Two 32-bit words: whether the owner has closed, and how many calls of other threads use the descriptor now. */
  readonly state: SharedArrayBuffer;
}

const CLOSED = 0;
const INSIDE = 1;
/** How long the owner's close waits for other threads, in real ms: they only have to return from poll. */
const PATIENCE = 250;

/** The words of {@link InterruptTicket.state}. A descriptor number is given anew soon after it is closed, so closing has to wait for users. */
export class SharedUse {
  readonly buffer: SharedArrayBuffer;
  private readonly words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer);
  }

  /** @throws `ERR_VFIO_NOT_SUPPORTED` where threads cannot share memory */
  static create(): SharedUse {
    if (typeof SharedArrayBuffer === 'undefined') {
      throw new VfioError(
        'ERR_VFIO_NOT_SUPPORTED',
        'Threads cannot share memory here: there is no SharedArrayBuffer.',
        {
          remedy: 'In a browser, serve the page cross-origin isolated.',
        },
      );
    }
    return new SharedUse(new SharedArrayBuffer(8));
  }

  get closed(): boolean {
    return Atomics.load(this.words, CLOSED) === 1;
  }

  /** @returns false when the owner has closed; the descriptor may then be used no more */
  enter(): boolean {
    // First say that we are in, then look: the owner does it the other way round, so one of the two sees the other.
    Atomics.add(this.words, INSIDE, 1);
    if (!this.closed) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.sub(this.words, INSIDE, 1);
    Atomics.notify(this.words, INSIDE);
  }

  /** The owner's first step of closing. */
  close(): void {
    Atomics.store(this.words, CLOSED, 1);
  }

  /**
   * The owner's second step, after it woke the others.
   * @returns whether everybody is out; if not, the descriptor has to stay open for good
   */
  everybodyLeft(): boolean {
    for (;;) {
      const inside = Atomics.load(this.words, INSIDE);
      if (inside === 0) return true;
      try {
        if (Atomics.wait(this.words, INSIDE, inside, PATIENCE) === 'timed-out') return false;
      } catch {
        // The main thread of a browser may not wait.
        return false;
      }
    }
  }
}
