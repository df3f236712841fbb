/** The vectors of the interrupt mode that is on. */

import type { Interrupt } from './interrupt.js';
import type { InterruptKind } from './modes.js';

/** An array of vectors that is switched off as a whole: `irqs[0]`, `irqs.length`, `for (const irq of irqs)`. */
export interface InterruptSet extends Iterable<Interrupt> {
  /** There is always a first one. */
  readonly 0: Interrupt;
  readonly [vector: number]: Interrupt;
  readonly length: number;
  readonly kind: InterruptKind;
  readonly closed: boolean;
  /** The same as `irqs[vector]`, with an error instead of `undefined`. Throws `ERR_VFIO_ARGUMENT`. */
  vector(vector: number): Interrupt;
  /** Switches the mode off and closes the eventfds. Pending waits reject with `ERR_VFIO_CLOSED`. Idempotent; the device's close does it too. */
  close(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}
