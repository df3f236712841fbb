/** The doorbells of a queue pair: how far the driver got in both rings, told to the controller once per batch. */

import type { RegisterWindow } from 'vfio-core';
import type { QueueParts } from './queue-parts.js';
import { RingTurn } from './share.js';

export class Doorbells {
  private readonly window: RegisterWindow;
  private readonly barrier: () => void;
  private readonly tailOffset: number;
  private readonly headOffset: number;
  /** Where the queue is another thread's. */
  private readonly turn: RingTurn | undefined;

  /** @param tail, head what the controller knows */
  constructor(
    parts: QueueParts,
    private tail: number,
    private head: number,
  ) {
    this.window = parts.window;
    this.barrier = parts.system.storeBarrier;
    this.tailOffset = parts.tailDoorbell;
    this.headOffset = parts.headDoorbell;
    this.turn = parts.shared && new RingTurn(parts.shared);
  }

  /**
   * Tells what is new. The completion queue's doorbell goes first: a controller that gets new commands before it hears of free
   * entries can overfill the completion queue.
   * @returns false where the owner of the queue asked for it: nothing was rung
   */
  ring(tail: number, head: number): boolean {
    if (tail === this.tail && head === this.head) return true;
    if (this.turn !== undefined && !this.turn.enter()) return false;
    if (head !== this.head) {
      this.head = head;
      this.window.write32(this.headOffset, head);
    }
    if (tail !== this.tail) {
      this.tail = tail;
      // The commands must be in memory before the controller is told of them.
      this.barrier();
      this.window.write32(this.tailOffset, tail);
    }
    this.turn?.leave();
    return true;
  }

  /** As {@link ring}, whatever was told already: for registers that may have lost it. */
  ringAgain(tail: number, head: number): boolean {
    this.tail = -1;
    this.head = -1;
    return this.ring(tail, head);
  }
}
