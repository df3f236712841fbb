/** Which interrupts the controller uses, and what happens at each. */

import { type Device, isVfioError } from 'vfio-core';
import { type Interrupt, type InterruptKind, type InterruptSet, interrupts } from 'vfio-irq';

/** `auto` takes the best that there is: MSI-X, MSI, INTx, else polling. */
export type InterruptChoice = 'auto' | 'msix' | 'msi' | 'intx' | 'polled';
export type InterruptMode = Exclude<InterruptChoice, 'auto'>;

/** MSI-X vectors asked for at most: admin queue, promise queue, and queues of the caller with an interrupt of their own. */
const MOST_VECTORS = 8;
/** The admin queue's vector is always 0 (section 3.1.9 of NVM Express Base 1.4). */
const ADMIN_VECTOR = 0;

export class ControllerInterrupts {
  /** Interrupts taken since the controller was opened. */
  count = 0;
  private readonly free: number[] = [];

  private constructor(
    readonly mode: InterruptMode,
    private readonly set: InterruptSet | undefined,
  ) {
    // Vectors from 2 on are for queues that want one of their own; with few, promises share the admin queue's.
    for (let vector = (set?.length ?? 0) - 1; vector > this.sharedVector; vector--) this.free.push(vector);
  }

  /** Vector of the promise queue. */
  get sharedVector(): number {
    return (this.set?.length ?? 0) > 1 ? ADMIN_VECTOR + 1 : ADMIN_VECTOR;
  }

  /** Switches interrupts on. A choice other than `auto` throws what stands in its way. */
  static async enable(device: Device, choice: InterruptChoice): Promise<ControllerInterrupts> {
    if (choice === 'polled') return new ControllerInterrupts('polled', undefined);
    const available = interrupts(device);
    const vectors = (kind: InterruptKind) =>
      kind === 'msix' ? Math.max(1, Math.min(MOST_VECTORS, available.info(kind).count)) : 1;
    if (choice !== 'auto') return new ControllerInterrupts(choice, await available.enable(choice, vectors(choice)));
    for (const kind of ['msix', 'msi', 'intx'] as const) {
      if (available.info(kind).count === 0) continue;
      try {
        return new ControllerInterrupts(kind, await available.enable(kind, vectors(kind)));
      } catch (error) {
        // The machine may have fewer than the device: the next kind, then.
        const next = isVfioError(error) && (error.code === 'ERR_VFIO_IRQ' || error.code === 'ERR_VFIO_NOT_SUPPORTED');
        if (!next) throw error;
      }
    }
    return new ControllerInterrupts('polled', undefined);
  }

  /**
   * Calls `wake` at each interrupt of the admin and the promise queue.
   * @param failed told of what goes wrong in it
   */
  listen(wake: () => void, failed: (error: Error) => void): void {
    if (this.set === undefined) return;
    for (const vector of new Set([ADMIN_VECTOR, this.sharedVector])) {
      const interrupt = this.set[vector]!;
      interrupt.onInterrupt((count) => {
        this.count += count;
        wake();
        if (this.mode !== 'intx' || interrupt.closed) return;
        try {
          // The kernel masked the line. The controller lowered it when the head doorbells were rung in wake().
          interrupt.unmask();
        } catch (error) {
          failed(error as Error);
        }
      });
    }
  }

  /** A vector for one queue alone; undefined where none is left (MSI and INTx have one for all). */
  take(): { vector: number; interrupt: Interrupt } | undefined {
    const vector = this.free.pop();
    return vector === undefined ? undefined : { vector, interrupt: this.set![vector]! };
  }

  give(vector: number): void {
    // Last in line: a Worker that still waits for it could take what is raised for its next queue.
    this.free.unshift(vector);
  }

  /** Off. The device's close does it, too. */
  close(): void {
    this.set?.close();
  }
}
