/** Eventfds: a counter with listeners. */

import { EAGAIN } from './errno.js';
import { OpenFile } from './fds.js';

/** Largest counter that a JavaScript number holds exactly; the kernel's is 2^64 - 2. */
const MAXIMUM = Number.MAX_SAFE_INTEGER;

/** Somebody inside the kernel who acts when the eventfd is signalled (a virqfd). */
export interface EventListener {
  signalled(): void;
  /** The last descriptor was closed. */
  hungUp(): void;
}

export class EventFd extends OpenFile {
  readonly path = 'anon_inode:[eventfd]';
  private readonly listeners = new Set<EventListener>();

  /** @param changed told when the counter rises, so that watchers in the event loop look */
  constructor(
    private counter: number,
    private readonly changed: () => void,
  ) {
    super();
  }

  get count(): number {
    return this.counter;
  }

  /** Adds to the counter from inside the kernel; a full counter stays full ([EVT-1]). */
  signal(count = 1): void {
    this.counter = Math.min(MAXIMUM, this.counter + count);
    for (const listener of [...this.listeners]) listener.signalled();
    this.changed();
  }

  /** eventfd_write: the counter must not overflow. */
  add(count: number): number {
    if (count > MAXIMUM - this.counter) return -EAGAIN;
    this.signal(count);
    return 0;
  }

  /** Takes the counter, or -EAGAIN. */
  take(): number {
    if (this.counter === 0) return -EAGAIN;
    const taken = this.counter;
    this.counter = 0;
    return taken;
  }

  listen(listener: EventListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  protected override released(): void {
    for (const listener of [...this.listeners]) listener.hungUp();
  }
}
