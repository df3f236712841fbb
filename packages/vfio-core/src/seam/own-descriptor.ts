/** A descriptor that this process has to close, once, and not under a call. */

import { VfioError } from '../errors/error.js';
import type { Fd, SystemCalls } from './system-calls.js';

/**
 * Closes a descriptor once: by {@link close}, or by the backend's list at process exit and at a Worker's end. While calls on another
 * thread use it, closing waits for their end: its number must not become somebody else's under them.
 */
export class OwnDescriptor {
  readonly system: SystemCalls;
  readonly fd: Fd;
  /** What is closed, for the error after it: `the iommufd`. */
  private readonly name: string;
  private readonly exit: number;
  private inFlight = 0;
  private shut = false;
  private ours = true;

  /** @param phase when it is closed at process exit, of {@link exitPhase} */
  constructor(system: SystemCalls, fd: Fd, phase: number, name: string) {
    this.system = system;
    this.fd = fd;
    this.name = name;
    this.exit = system.onExit(phase, { call: 'close', fd });
  }

  get closed(): boolean {
    return this.shut;
  }

  /** Throws `ERR_VFIO_CLOSED`. */
  check(request?: string): void {
    if (!this.shut) return;
    throw new VfioError('ERR_VFIO_CLOSED', `${this.name} was closed.`, request === undefined ? {} : { request });
  }

  /** Keeps it open for a call on another thread. */
  async during<T>(call: Promise<T>): Promise<T> {
    this.inFlight++;
    try {
      return await call;
    } finally {
      if (--this.inFlight === 0 && this.shut) this.end();
    }
  }

  /** From now on the caller closes it. */
  release(): Fd {
    this.check();
    if (this.ours) this.system.cancelExit(this.exit);
    this.ours = false;
    return this.fd;
  }

  /** Idempotent. */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    if (this.inFlight === 0) this.end();
  }

  private end(): void {
    if (!this.ours) return;
    this.ours = false;
    this.system.cancelExit(this.exit);
    this.system.close(this.fd);
  }
}
