/** The interrupts of one device: which there are, and which mode is on. */

import { type Device, type IrqInfo, isDeviceGone, VfioError } from 'vfio-core';
import { Interrupt } from './interrupt.js';
import type { InterruptSet } from './interrupt-set.js';
import {
  bindVector,
  busMastering,
  describe,
  type EventKind,
  eventKinds,
  type InterruptKind,
  switchOff,
  switchOn,
  tooFew,
} from './modes.js';
import { VectorSet } from './vector-set.js';

/** Options of {@link Interrupts.enable}. */
export interface EnableOptions {
  /**
   * Told in words when MSI or MSI-X is switched on while bus mastering is off, so that nothing would ever arrive. By default
   * `console.warn`, where there is a console.
   */
  readonly onWarning?: (message: string) => void;
}

/** What {@link interrupts} gives. */
export interface Interrupts {
  /** What the kernel says of an index; `count` is 0 where the device has none. */
  info(kind: EventKind): IrqInfo;
  /** The mode that is on. */
  readonly active: InterruptSet | undefined;
  /**
   * Switches an interrupt mode on with `count` vectors (1 by default), each with an eventfd of its own. One mode at a time.
   * MSI and MSI-X are memory writes of the device: enable bus mastering, or none arrives.
   * @throws (rejects) `ERR_VFIO_IRQ` when a mode is on, or fewer vectors can be had (details `asked`, `available`);
   * `ERR_VFIO_NOT_SUPPORTED` when the device has no such mode; `ERR_VFIO_ARGUMENT`; `ERR_VFIO_CLOSED`
   */
  enable(kind: InterruptKind, count?: number, options?: EnableOptions): Promise<InterruptSet>;
  /**
   * Errors that the bus reports of this device (PCIe AER). The kernel only says that there was one; what to do is the
   * driver's: usually reset. The same object for each call, until it is closed.
   * @throws `ERR_VFIO_NOT_SUPPORTED` on a conventional PCI device
   */
  errors(): Interrupt;
  /**
   * The kernel asks for the device: somebody unbinds or unplugs it, and waits until it is closed. Asked again every ten
   * seconds. The same object for each call, until it is closed.
   * @throws `ERR_VFIO_NOT_SUPPORTED` where the kernel has no such event
   */
  requests(): Interrupt;
}

/** Found again by this name on the channel, by this copy of the package or another. */
const brand = Symbol.for('vfio-irq.interrupts');

/**
 * The interrupts of an open device; the same object each time for one device, also through a `PciDevice` of it. What is
 * on goes off when the device closes.
 *
 * ```ts
 * await using irqs = await interrupts(device).enable('msi', 1);
 * await irqs[0].once({ signal: AbortSignal.timeout(1000) });
 * ```
 * @throws `ERR_VFIO_CLOSED`
 */
export function interrupts(device: Device): Interrupts {
  const holder = device.channel as { [brand]?: Interrupts };
  const known = holder[brand];
  if (known !== undefined) return known;
  const controller = new InterruptController(device);
  Object.defineProperty(holder, brand, { value: controller });
  return controller;
}

class InterruptController implements Interrupts {
  private readonly device: Device;
  private set: VectorSet | undefined;
  private readonly events = new Map<EventKind, Interrupt>();

  constructor(device: Device) {
    this.device = device;
    this.assertOpen();
    device.onClose('interrupts', () => this.closeAll());
  }

  get active(): InterruptSet | undefined {
    return this.set;
  }

  info(kind: EventKind): IrqInfo {
    this.assertOpen();
    return describe(this.device.channel, kind);
  }

  async enable(kind: InterruptKind, count = 1, options: EnableOptions = {}): Promise<InterruptSet> {
    const { channel, address } = this.device;
    const info = this.info(kind);
    const { name } = eventKinds[kind];
    this.assertFree(name);
    if (!Number.isInteger(count) || count < 1) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `A number of vectors is a whole number from 1 up, not ${count}.`);
    }
    if (info.count === 0) throw this.absent(name);
    if (count > info.count) throw tooFew(name, address, count, info.count);

    const vectors: Interrupt[] = [];
    try {
      const { maskable, automasked } = info;
      for (let vector = 0; vector < count; vector++) {
        vectors.push(new Interrupt({ channel, address, kind, vector, maskable, automasked }));
      }
      const fds = vectors.map((vector) => vector.fd);
      switchOn(channel, address, kind, fds);
    } catch (error) {
      for (const vector of vectors) vector.release();
      throw error;
    }
    const set = VectorSet.of(kind, vectors, () => this.disable(set));
    this.set = set;
    if (kind !== 'intx' && !busMastering(channel)) warn(options, name, address);
    return set;
  }

  errors(): Interrupt {
    return this.event('err');
  }

  requests(): Interrupt {
    return this.event('req');
  }

  private event(kind: 'err' | 'req'): Interrupt {
    const known = this.events.get(kind);
    if (known !== undefined) return known;
    const { channel, address } = this.device;
    if (this.info(kind).count === 0) throw this.absent(eventKinds[kind].name);
    const closed = (): void => {
      this.events.delete(kind);
    };
    const event = new Interrupt({ channel, address, kind, vector: 0, maskable: false, automasked: false, closed });
    try {
      bindVector(channel, kind, 0, event.fd);
    } catch (error) {
      event.release();
      throw error;
    }
    this.events.set(kind, event);
    return event;
  }

  private disable(set: VectorSet): void {
    const { channel } = this.device;
    this.set = undefined;
    try {
      if (!channel.closed) switchOff(channel, set.kind);
    } catch (error) {
      // A device that left interrupts no more.
      if (!isDeviceGone(error)) throw error;
    } finally {
      for (const vector of set) vector.release();
    }
  }

  private closeAll(): void {
    try {
      this.set?.close();
    } finally {
      for (const event of [...this.events.values()]) event.close();
    }
  }

  private assertOpen(): void {
    if (!this.device.closed && !this.device.channel.closed) return;
    throw new VfioError('ERR_VFIO_CLOSED', `The device ${this.device.address} is closed.`);
  }

  private assertFree(asked: string): void {
    if (this.set === undefined) return;
    const active = eventKinds[this.set.kind].name;
    throw new VfioError(
      'ERR_VFIO_IRQ',
      `${active} is on already for ${this.device.address}; one mode can be on at a time.`,
      {
        remedy: `Close the set that is on before you enable ${asked}.`,
        details: { active: this.set.kind, vectors: this.set.length },
      },
    );
  }

  private absent(name: string): VfioError {
    return new VfioError('ERR_VFIO_NOT_SUPPORTED', `${this.device.address} has no ${name.replace(/^the /, '')}.`, {
      remedy: 'info(kind).count says what a device has.',
    });
  }
}

function warn(options: EnableOptions, name: string, address: string): void {
  const message =
    `${name} is on for ${address} while bus mastering is off. Such an interrupt is a memory write of the device, ` +
    'so none will arrive before device.busMaster.enable().';
  if (options.onWarning !== undefined) options.onWarning(message);
  else globalThis.console?.warn(message);
}
