/** An open device and the order of its closing. */

import { VfioError } from '../errors/error.js';
import type { DmaSpace } from '../memory/dma.js';
import { type ClosePhase, closePhases, type Device, type DeviceChannel } from './device.js';

/** A channel that can be taken down phase by phase, as `KernelChannel` can. */
export interface ClosableChannel extends DeviceChannel {
  interruptsOff(): void;
  busMasterOff(): void;
  closeWindows(): void;
  /** Calls under way that still use the descriptor. */
  readonly pending?: Promise<unknown> | undefined;
  close(): void;
}

export interface OpenDeviceParts {
  readonly channel: ClosableChannel;
  readonly address: string;
  readonly dma: DmaSpace;
  /** Runs once the device is closed: leaves the address space, then group and container. */
  readonly after: () => void;
}

/**
 * {@link Device} over a channel. Closes in the order of {@link closePhases}: interrupts off, bus mastering off, windows unmapped,
 * memory out of the IOMMU, device closed, what drivers free after that; then `after`: the rest of the memory, group and container.
 * The backend's list has the same order, for process exit and a Worker's end, where none of this code runs any more.
 */
export class OpenDevice implements Device {
  readonly channel: DeviceChannel;
  readonly address: string;
  readonly dma: DmaSpace;
  private readonly parts: OpenDeviceParts;
  private readonly steps: Record<ClosePhase, (() => void)[]> = {
    interrupts: [],
    'bus master': [],
    windows: [],
    device: [],
    memory: [],
  };
  private readonly errors: unknown[] = [];
  private ending: Promise<void> | undefined;
  private shut = false;

  constructor(parts: OpenDeviceParts) {
    this.parts = parts;
    this.channel = parts.channel;
    this.address = parts.address;
    this.dma = parts.dma;
  }

  get closed(): boolean {
    return this.shut;
  }

  /** Throws `ERR_VFIO_CLOSED` once the device is closed: nobody would run the step. */
  onClose(phase: ClosePhase, step: () => void): () => void {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', `${this.address} was closed.`);
    const steps = this.steps[phase];
    // An object of its own, so that the same function may be registered twice.
    const entry = () => step();
    steps.push(entry);
    return () => {
      const at = steps.indexOf(entry);
      if (at >= 0) steps.splice(at, 1);
    };
  }

  /**
   * Idempotent. The first error of a step is thrown after all of them ran.
   * While a reset is under way the kernel still uses the descriptor: then what follows the windows waits for its end.
   */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    const { channel } = this.parts;
    const { errors } = this;
    this.play('interrupts', errors, () => channel.interruptsOff());
    this.play('bus master', errors, () => channel.busMasterOff());
    this.play('windows', errors, () => channel.closeWindows());
    const rest = () => {
      this.play('device', errors, () => channel.close());
      this.play('memory', errors, () => this.parts.after());
    };
    const { pending } = channel;
    if (pending === undefined) rest();
    else this.ending = pending.then(rest);
    if (errors.length > 0) throw errors[0];
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Waits for a reset that is under way, too; throws what {@link close} would have thrown after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.channel.pending;
    this.close();
    if (this.ending === undefined) return;
    await this.ending;
    if (this.errors.length > 0) throw this.errors[0];
  }

  private play(phase: ClosePhase, errors: unknown[], own: () => void): void {
    for (const step of [...this.steps[phase].splice(0).reverse(), own]) {
      try {
        step();
      } catch (thrown) {
        errors.push(thrown);
      }
    }
  }
}
