/** An interrupt that another thread owns. */

import type { SystemCalls } from 'vfio-core';
import { EventCounter } from './event-counter.js';
import { type InterruptTicket, SharedUse } from './ticket.js';

/**
 * What `Interrupt.attach(ticket)` gives: all ways to wait, none to control the device. A count goes to the thread that
 * takes it first, so one thread should wait at a time.
 */
export class AttachedInterrupt extends EventCounter {
  private readonly use: SharedUse;

  constructor(system: SystemCalls, ticket: InterruptTicket) {
    super(system, ticket.fd, ticket.label);
    this.use = new SharedUse(ticket.state);
    this.shared = true;
  }

  /** Ends this thread's waits. The interrupt itself and its descriptor stay with their owner. Idempotent. */
  close(): void {
    this.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  protected override endedElsewhere(): boolean {
    return this.use.closed;
  }

  protected override enter(): void {
    super.enter();
    if (this.use.enter()) return;
    this.end();
    throw this.closedError();
  }

  protected override leave(): void {
    this.use.leave();
  }
}
