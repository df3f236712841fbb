/** Asynchronous events: NVMe 1.4, section 5.2. */

import type { Command } from './command.js';
import { held } from './command.js';
import { Status } from './status.js';

/** Requests that may be open at once (AERL + 1). */
export const eventRequestLimit = 4;

/** Kinds of event and the log page that tells more. */
export const EventType = { error: 0, health: 1, notice: 2 } as const;

/** Information of error events: figure 148. */
export const ErrorEvent = { invalidDoorbellRegister: 0, invalidDoorbellValue: 1 } as const;

const eventsKept = 64;

/** Matches events with the requests that wait for them. */
export class Events {
  private readonly requests: { readonly command: Command; readonly done: (status: number) => void }[] = [];
  private waiting: { readonly type: number; readonly info: number; readonly logPage: number }[] = [];
  /** Types already reported: silent until the host has read their log page. */
  private masked = 0;

  /** An Asynchronous Event Request: stays open until something happens. */
  request(command: Command, done: (status: number) => void): number {
    if (this.requests.length >= eventRequestLimit) return Status.eventLimitExceeded;
    this.requests.push({ command, done });
    this.deliver();
    return held;
  }

  /** Something happened. Kept while no request waits. */
  report(type: number, info: number, logPage: number): void {
    if (this.waiting.length >= eventsKept) return;
    this.waiting.push({ type, info, logPage });
    this.deliver();
  }

  /** The host read the log page of this type. */
  acknowledge(type: number): void {
    this.masked &= ~(1 << type);
    this.deliver();
  }

  /** Aborts the open request with this identifier. */
  abort(id: number): boolean {
    const index = this.requests.findIndex((request) => request.command.id === id);
    if (index < 0) return false;
    const [request] = this.requests.splice(index, 1);
    request?.done(Status.abortRequested);
    return true;
  }

  reset(): void {
    this.requests.length = 0;
    this.waiting = [];
    this.masked = 0;
  }

  private deliver(): void {
    for (const event of [...this.waiting]) {
      if (this.requests.length === 0) return;
      if ((this.masked >> event.type) & 1) continue;
      this.masked |= 1 << event.type;
      // One report stands for all of its kind.
      this.waiting = this.waiting.filter((other) => other !== event);
      const { command, done } = this.requests.shift() as (typeof this.requests)[number];
      command.result = event.type | (event.info << 8) | (event.logPage << 16);
      done(Status.success);
    }
  }
}
