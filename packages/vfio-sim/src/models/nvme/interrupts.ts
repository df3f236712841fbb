/** Interrupts of completion queues: NVMe 1.4, section 7.5. */

import type { DeviceBus } from '../../model/contract.js';

/** Whoever may have something to announce on a vector. */
export interface InterruptSource {
  readonly vector: number;
  readonly interruptsEnabled: boolean;
  /** Nothing is waiting for the host. */
  readonly empty: boolean;
}

/**
 * Turns the state of completion queues into interrupts. MSI-X and MSI announce new entries; the pin is a level, held as long as a queue
 * with interrupts enabled has entries that the host has not acknowledged by its head doorbell. INTMS and INTMC mask the pin and MSI.
 */
export class Interrupts {
  /** One bit a vector, as INTMS and INTMC read. */
  mask = 0;
  private asserted = false;

  constructor(
    private readonly bus: DeviceBus,
    private readonly sources: () => Iterable<InterruptSource>,
  ) {}

  /** New entries are in a queue. */
  announce(source: InterruptSource): void {
    if (!source.interruptsEnabled) return;
    const mode = this.bus.interruptMode;
    if (mode === 'msix') this.bus.interrupt(source.vector);
    else if (mode === 'msi') {
      if (!this.masked(source.vector)) this.bus.interrupt(source.vector);
    } else this.updatePin();
  }

  /** The host acknowledged entries, or a queue came or went: the pin may have to be let go of. */
  acknowledge(): void {
    this.updatePin();
  }

  setMask(bits: number): void {
    this.mask = (this.mask | bits) >>> 0;
    this.updatePin();
  }

  clearMask(bits: number): void {
    const opened = (this.mask & bits) >>> 0;
    this.mask = (this.mask & ~bits) >>> 0;
    if (this.bus.interruptMode === 'msi') {
      // A message held back by the mask is sent now.
      const vectors = new Set<number>();
      for (const source of this.sources()) {
        if (source.interruptsEnabled && !source.empty && source.vector < 32 && (opened >>> source.vector) & 1) {
          vectors.add(source.vector);
        }
      }
      for (const vector of vectors) this.bus.interrupt(vector);
    }
    this.updatePin();
  }

  reset(): void {
    this.mask = 0;
    this.updatePin();
  }

  private masked(vector: number): boolean {
    return vector < 32 && ((this.mask >>> vector) & 1) === 1;
  }

  private updatePin(): void {
    const mode = this.bus.interruptMode;
    let level = false;
    if (mode === 'intx' || mode === 'none') {
      for (const source of this.sources()) {
        level ||= source.interruptsEnabled && !source.empty && !this.masked(source.vector);
      }
    }
    // Asserting an asserted pin changes nothing, but tells a machine that has only now switched the pin on.
    if (level) this.bus.interrupt(0);
    else if (this.asserted) this.bus.lowerInterrupt();
    this.asserted = level;
  }
}
