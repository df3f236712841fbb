/** The doorbells of a queue pair: how far the driver got in both rings, told to the controller once per batch. */

import type { RegisterWindow } from 'vfio-core';
import type { QueueParts } from './queue-parts.js';

export class Doorbells {
  private readonly window: RegisterWindow;
  private readonly barrier: () => void;
  private readonly tailOffset: number;
  private readonly headOffset: number;

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
  }

  /**
   * Tells what is new. The completion queue's doorbell goes first: a controller that gets new commands before it hears of free
   * entries can overfill the completion queue.
   */
  ring(tail: number, head: number): void {
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
  }
}
