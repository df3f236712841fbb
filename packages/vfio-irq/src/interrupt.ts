/** One interrupt vector, or one of the two events, with its eventfd. */

import {
  check,
  type DeviceChannel,
  defaultBackend,
  exitPhase,
  isDeviceGone,
  type SystemCalls,
  VfioError,
} from 'vfio-core';
import { AttachedInterrupt } from './attached-interrupt.js';
import { EventCounter } from './event-counter.js';
import { bindVector, type EventKind, eventKinds } from './modes.js';
import { type InterruptTicket, SharedUse } from './ticket.js';

/** Where an interrupt comes from; made by the controller only. */
export interface InterruptSource {
  readonly channel: DeviceChannel;
  readonly address: string;
  readonly kind: EventKind;
  readonly vector: number;
  readonly maskable: boolean;
  readonly automasked: boolean;
  /** Told once, when this interrupt was closed by itself. */
  readonly closed?: () => void;
}

/**
 * One vector of a device. Get it from an {@link InterruptSet} or from `interrupts(device).errors()` and `.requests()`.
 *
 * Waiting: {@link once}, `for await`, {@link onInterrupt} in the event loop; {@link wait} in a Worker; {@link take} without
 * waiting. Every listener sees every count that arrives while it listens; what arrives while nobody listens is kept, summed.
 */
export class Interrupt extends EventCounter {
  readonly kind: EventKind;
  /** Number of the vector within its index, 0 for INTx and the events. */
  readonly vector: number;
  /** {@link mask} and {@link unmask} work: INTx. */
  readonly maskable: boolean;
  /** The kernel masks the line at each interrupt, and the next one comes only after {@link unmask}: INTx. */
  readonly automasked: boolean;
  private readonly source: InterruptSource;
  private readonly exit: number;
  private use: SharedUse | undefined;

  /** @internal */
  constructor(source: InterruptSource) {
    const { system } = source.channel;
    const fd = check(system.eventfd(0), { syscall: 'eventfd' });
    const { name } = eventKinds[source.kind];
    const vector = source.kind === 'msi' || source.kind === 'msix' ? `${name} vector ${source.vector}` : name;
    super(system, fd, `${vector.charAt(0).toUpperCase()}${vector.slice(1)} of ${source.address}`);
    this.source = source;
    this.kind = source.kind;
    this.vector = source.vector;
    this.maskable = source.maskable;
    this.automasked = source.automasked;
    this.exit = system.onExit(exitPhase['memory freed'], { call: 'close', fd });
  }

  /**
   * Waits of another thread on a vector that this process has: `Interrupt.attach(ticket).wait(100)`.
   * @throws `ERR_VFIO_NO_BACKEND` without a backend on other systems than Linux
   */
  static attach(ticket: InterruptTicket, options: { readonly backend?: SystemCalls } = {}): AttachedInterrupt {
    return new AttachedInterrupt(options.backend ?? defaultBackend(), ticket);
  }

  /**
   * A ticket for a Worker. From then on this thread keeps its hands off the counter unless it listens itself, and
   * {@link close} ends the Worker's waits too.
   * @throws `ERR_VFIO_CLOSED`; `ERR_VFIO_NOT_SUPPORTED` where threads cannot share memory
   */
  share(): InterruptTicket {
    this.assertOpen();
    this.use ??= SharedUse.create();
    this.shared = true;
    return { fd: this.fd, label: this.label, state: this.use.buffer };
  }

  /**
   * Holds the line back: interrupts wait in the device.
   * @throws `ERR_VFIO_NOT_SUPPORTED` for all but INTx: mask those in the device's own registers
   */
  mask(): void {
    this.command('mask');
  }

  /**
   * Lets the next interrupt through: after each INTx, once the device was told to lower its line. If it has not, the next
   * count comes at once ([IRQ-46]).
   * @throws `ERR_VFIO_NOT_SUPPORTED` for all but INTx, which need no unmasking
   */
  unmask(): void {
    this.command('unmask');
  }

  /** Lets the kernel signal this vector as if the device had interrupted. For tests: no device takes part. */
  trigger(): void {
    this.assertOpen();
    const { channel, kind, vector } = this.source;
    // Data of kind `bool`: with `none` the first kernels that had the two events broke ([IRQ-41]).
    channel.setIrqs({
      index: eventKinds[kind].index,
      start: vector,
      action: 'trigger',
      data: { kind: 'bool', values: [true] },
    });
  }

  /** Takes this vector off its eventfd and closes that. The others of the set go on. Pending waits reject with `ERR_VFIO_CLOSED`. Idempotent. */
  close(): void {
    if (this.closed) return;
    const { channel, kind, vector, closed } = this.source;
    try {
      if (!channel.closed) bindVector(channel, kind, vector, -1);
    } catch (error) {
      // A device that left interrupts no more.
      if (!isDeviceGone(error)) throw error;
    } finally {
      this.release();
      closed?.();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal Ends the waits and closes the eventfd, where the kernel has let go of it already. */
  release(): void {
    if (this.closed) return;
    this.end();
    this.system.cancelExit(this.exit);
    if (this.use !== undefined) {
      this.use.close();
      this.system.eventfdWrite(this.fd, 1);
      // Rather a descriptor too many than one closed under a thread that waits on it: the number would soon be another file's.
      if (!this.use.everybodyLeft()) return;
    }
    this.system.close(this.fd);
  }

  private command(action: 'mask' | 'unmask'): void {
    this.assertOpen();
    const { channel, kind, vector } = this.source;
    if (!this.maskable) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `${this.label} cannot be masked by the kernel.`, {
        remedy: 'Mask it in the registers of the device; unmask() is for INTx alone, see irq.automasked.',
      });
    }
    channel.setIrqs({ index: eventKinds[kind].index, start: vector, action, data: { kind: 'none', count: 1 } });
  }
}
