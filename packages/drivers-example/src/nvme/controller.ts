/**
 * An NVMe controller, from an address to namespaces. Read {@link Nvme.open} and `start` from top to bottom: they are section
 * 7.6.1 (Initialization) of NVM Express Base 1.4.
 */

import { type Device, type DmaSpace, VfioError } from 'vfio-core';
import type { PciDevice } from 'vfio-pci';
import { takeDevice } from '../take-device.js';
import type { Admin } from './admin.js';
import { ControllerHardware } from './hardware.js';
import type { ControllerData } from './identify.js';
import { ControllerInterrupts, type InterruptChoice, type InterruptMode } from './interrupt-mode.js';
import { Namespace } from './namespace.js';
import { checkClass, checkEntrySizes, checkOptions, type NvmeOptions, type QueuePairOptions } from './options.js';
import type { AwaitedQueue } from './promises.js';
import { largestTransfer } from './prp.js';
import type { QueuePair } from './queue.js';
import { ControllerQueues } from './queues.js';
import { DOORBELLS, tailDoorbell } from './registers.js';
import { Transitions } from './transitions.js';

/** I/O queue pairs asked for: one for promises, the others for {@link Nvme.createQueuePair}. */
const QUEUES = 64;

/**
 * An open controller.
 *
 * ```ts
 * await using nvme = await Nvme.open('0000:01:00.0');
 * const [disk] = nvme.namespaces;
 * ```
 */
export class Nvme implements AsyncDisposable, Disposable {
  readonly device: PciDevice;
  /** What Identify Controller said, decoded. */
  controller!: ControllerData;
  /** The active namespaces. */
  namespaces: readonly Namespace[] = [];
  private readonly hardware: ControllerHardware;
  private readonly queues: ControllerQueues;
  private readonly readOnly: boolean;
  private readonly choice: InterruptChoice;
  private interrupts: ControllerInterrupts | undefined;
  private failure: VfioError | undefined;
  private halting: Promise<void> | undefined;
  private readonly transitions = new Transitions<'reset' | 'shutdown'>();

  /**
   * Opens a controller: by address, or on a device that is open already. The device is handed over: it closes with the
   * controller, and also when opening fails, after which nothing stays open.
   *
   * Rejects with what opening a device rejects with, and `ERR_NVME_CONTROLLER` (no NVMe controller), `ERR_VFIO_DEVICE_GONE`
   * (all-ones), `ERR_NVME_NOT_READY`, `ERR_NVME_FATAL`, `ERR_NVME_TIMEOUT`, `ERR_NVME_STATUS`, `ERR_NVME_ARGUMENT`, `ERR_VFIO_IRQ`.
   */
  static async open(target: string | Device, options: NvmeOptions = {}): Promise<Nvme> {
    return takeDevice(target, options.backend, async (device) => {
      checkOptions(options);
      checkClass(device);
      const nvme = new Nvme(device, options);
      await nvme.start();
      return nvme;
    });
  }

  private constructor(device: PciDevice, options: NvmeOptions) {
    this.device = device;
    this.readOnly = options.readOnly ?? false;
    this.choice = options.interrupts ?? 'auto';
    const { system } = device.channel;
    const checkAlive = () => device.checkAlive();
    const bar = device.bar(0);
    // The widest stride that the doorbells can have decides what to map; most controllers have them 4 bytes apart.
    const probe = new ControllerHardware(bar.window(0, DOORBELLS), system, checkAlive);
    const end = Math.min(bar.size, tailDoorbell(QUEUES + 1, probe.limits.doorbellStride));
    this.hardware = new ControllerHardware(bar.window(0, end), system, checkAlive);
    probe.window.close();
    this.queues = new ControllerQueues({
      device,
      hardware: this.hardware,
      depth: options.queueDepth ?? 64,
      timeout: options.timeout ?? 30_000,
      readOnly: this.readOnly,
      onFailure: (error) => this.halt(error as VfioError),
    });
    device.onClose('interrupts', () => this.abandon());
    device.onClose('bus master', () => this.stopNow());
    device.onClose('memory', () => this.queues.free());
  }

  /** Section 7.6.1, step by step. */
  private async start(): Promise<void> {
    const { device, hardware, queues } = this;
    // Whoever had the controller before may have left it running, on memory that is somebody else's by now.
    await hardware.disable();
    // Now the controller may reach memory, and send interrupts. Nobody below the driver turns this on.
    device.busMaster.enable();
    if (this.interrupts === undefined) {
      this.interrupts = await ControllerInterrupts.enable(device, this.choice);
      this.interrupts.listen(
        () => queues.wake(),
        (error) => this.halt(error as VfioError),
      );
    }
    const polled = this.interrupts.mode === 'polled';
    const admin = queues.createAdmin(polled);
    await hardware.enable(admin.submission, admin.completion, admin.depth);
    if (polled) hardware.maskInterrupts();

    this.controller = await queues.admin.identifyController();
    checkEntrySizes(this.controller);
    // MDTS, section 5.15.2.2: a power of two of the smallest page; 0 is no limit but that of a list of one page.
    const { pageSize } = hardware.limits;
    const { maxTransferShift } = this.controller;
    const limit = maxTransferShift === 0 ? Number.POSITIVE_INFINITY : pageSize * 2 ** maxTransferShift;
    queues.maxTransfer = Math.min(limit, largestTransfer(pageSize));
    queues.count = Math.min(QUEUES, await queues.admin.queueCount(QUEUES));
    this.namespaces = await this.findNamespaces();
    queues.namespaces = this.namespaces.filter((namespace) => namespace.problem === undefined);
    await queues.createPromiseQueue(polled, this.interrupts.sharedVector);
  }

  /** The active namespaces. Controllers older than 1.1 have no list of them. */
  private async findNamespaces(): Promise<Namespace[]> {
    const { admin } = this.queues;
    const listed = this.registers.VS.read() >= 0x00010100;
    const ids = listed
      ? await admin.activeNamespaces()
      : Array.from({ length: this.controller.namespaceCount }, (_, index) => index + 1);
    const host = { dma: this.dma, readOnly: this.readOnly, awaited: () => this.awaited() };
    const found: Namespace[] = [];
    for (const id of ids) {
      const data = await admin.identifyNamespace(id);
      if (data.blocks > 0n) found.push(new Namespace(id, data, host));
    }
    return found;
  }

  /** The controller's registers: `console.log(String(nvme.registers))`. */
  get registers(): ControllerHardware['registers'] {
    return this.hardware.registers;
  }

  /** Admin commands. */
  get admin(): Admin {
    this.assertRunning();
    return this.queues.admin;
  }

  /** Memory that the controller reaches: `nvme.dma.allocate(1 << 20)`. */
  get dma(): DmaSpace {
    return this.device.dma;
  }

  get interruptMode(): InterruptMode {
    return this.interrupts?.mode ?? 'polled';
  }

  /** Interrupts taken so far. */
  get interruptCount(): number {
    return this.interrupts?.count ?? 0;
  }

  /** Bytes that one command moves at most; the promise calls split what is longer. */
  get maxTransfer(): number {
    return this.queues.maxTransfer;
  }

  get closed(): boolean {
    return this.device.closed;
  }

  /** Why the controller was stopped, where it was: a time-out, a fatal state. {@link reset} starts it again. */
  get failed(): VfioError | undefined {
    return this.failure;
  }

  /**
   * A queue pair for the path without promises. Rejects with `ERR_NVME_ARGUMENT` (depth, no queue or vector left),
   * `ERR_NVME_STATUS`, `ERR_NVME_TIMEOUT`, `ERR_VFIO_MEMLOCK`, ...
   */
  async createQueuePair({ depth, interrupt = false }: QueuePairOptions): Promise<QueuePair> {
    this.assertRunning();
    return this.queues.create(depth, interrupt ? this.interrupts : undefined);
  }

  /**
   * Stops the controller and starts it anew, as after opening: what is in flight fails with `ERR_VFIO_CLOSED`, queue pairs of
   * {@link createQueuePair} are closed. This is also the way out of a time-out: before this resolves the controller was
   * disabled, so buffers of lost commands are free. Who calls it while it runs waits for the same reset.
   */
  async reset(): Promise<void> {
    await this.transitions.run('reset', () => this.restart());
  }

  private async restart(): Promise<void> {
    if (this.closed) throw this.closedError();
    this.halt(
      new VfioError('ERR_VFIO_CLOSED', 'The controller was reset.', {
        remedy: 'Make queues and commands anew, once reset() has resolved.',
      }),
    );
    await this.halting;
    await this.queues.clear();
    if (this.closed) throw this.closedError();
    this.failure = undefined;
    try {
      await this.start();
    } catch (error) {
      this.halt(error as VfioError);
      await this.halting;
      throw error;
    }
  }

  /**
   * Section 7.6.2: waits for what is in flight, deletes the queues, and tells the controller to write its caches out. Rejects
   * with `ERR_NVME_NOT_READY` where that does not end in time. Afterwards only {@link close} and {@link reset} are left to do.
   * Who calls it while it runs waits for the same shutdown.
   */
  async shutdown(): Promise<void> {
    await this.transitions.run('shutdown', () => this.finish());
  }

  private async finish(): Promise<void> {
    if (this.closed || this.failure !== undefined) return;
    await this.queues.finish();
    await this.hardware.shutdown(this.controller.shutdownMicroseconds);
    this.halt(
      new VfioError('ERR_VFIO_CLOSED', 'The controller was shut down.', { remedy: 'Call reset() to use it again.' }),
    );
    await this.halting;
  }

  /**
   * Stops at once: commands in flight reject with `ERR_VFIO_CLOSED`. The controller is disabled and bus mastering is off
   * before any memory is given back. `await using` shuts down in order first. Idempotent.
   */
  close(): void {
    this.device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** {@link shutdown}, then {@link close}. A shutdown that fails does not stop the close, and is not told: call it yourself to know. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.shutdown();
    } catch {
      // closing is what this is for
    }
    await this.device[Symbol.asyncDispose]();
  }

  /**
   * Something ended the controller's work. Nothing new goes in, then the controller is disabled, and only then are the
   * promises rejected: whoever hears of a time-out owns the buffer again. A controller that cannot be disabled is cut off from
   * memory by bus mastering.
   */
  private halt(error: VfioError): void {
    if (this.failure !== undefined || this.closed) return;
    this.failure = error;
    this.queues.stop(error);
    this.halting = this.hardware
      .disable()
      .catch(() => this.device.busMaster.disable())
      .catch(() => {}) // it left the bus: nothing reaches memory any more
      .then(() => this.queues.fail(error));
  }

  /** First phase of closing. */
  private abandon(): void {
    const error = this.closedError();
    this.queues.stop(error);
    this.queues.fail(error);
  }

  /** Second phase of closing; the device turns bus mastering off next. */
  private stopNow(): void {
    try {
      this.hardware.stop();
    } catch {
      // it left the bus
    }
  }

  private awaited(): AwaitedQueue {
    this.assertRunning();
    return this.queues.promises;
  }

  private assertRunning(): void {
    if (this.closed) throw this.closedError();
    if (this.transitions.current === 'reset') {
      throw new VfioError('ERR_VFIO_CLOSED', 'The controller is being reset.', {
        remedy: 'Try again once reset() has resolved.',
      });
    }
    const { failure } = this;
    if (failure === undefined) return;
    throw new VfioError(failure.code, `The controller was stopped: ${failure.summary}`, {
      remedy: 'Call reset() to start it again, or close it.',
      details: failure.details,
      cause: failure,
    });
  }

  private closedError(): VfioError {
    return new VfioError('ERR_VFIO_CLOSED', `The controller ${this.device.address} is closed.`);
  }
}
