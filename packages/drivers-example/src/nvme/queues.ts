/** All queue pairs of a controller: the admin queue, the one behind the promise calls, and those of the caller. */

import { VfioError } from 'vfio-core';
import type { PciDevice } from 'vfio-pci';
import { Admin, halvesOf } from './admin.js';
import type { ControllerHardware } from './hardware.js';
import type { ControllerInterrupts } from './interrupt-mode.js';
import { AwaitedQueue } from './promises.js';
import { QueuePair } from './queue.js';
import { allocateQueue, freeQueue, type QueueMemory } from './queue-memory.js';
import type { QueueNamespace, QueueParts } from './queue-parts.js';
import { askClose, isHeld } from './share.js';

export interface QueuesOptions {
  readonly device: PciDevice;
  readonly hardware: ControllerHardware;
  /** Entries of the promise queue. */
  readonly depth: number;
  readonly timeout: number;
  readonly readOnly: boolean;
  readonly onFailure: (error: Error) => void;
}

/** Entries of the admin queue. */
const ADMIN_DEPTH = 32;
/** ms that a Worker has to let go of a queue that its owner closes. */
const HAND_BACK = 1000;

export class ControllerQueues {
  admin!: Admin;
  promises!: AwaitedQueue;
  /** I/O queue pairs that the controller granted. */
  count = 0;
  /** Bytes of the largest transfer. */
  maxTransfer = 0;
  namespaces: readonly QueueNamespace[] = [];
  private adminQueue: AwaitedQueue | undefined;
  private readonly memory = new Map<QueuePair, QueueMemory>();
  private readonly used = new Set<number>();
  private stopped: Error | undefined;

  constructor(private readonly options: QueuesOptions) {}

  /** The admin queue, in memory only: enabling the controller creates it. Section 3.1.8 ff. */
  createAdmin(polled: boolean): QueueMemory {
    this.stopped = undefined;
    const depth = Math.min(ADMIN_DEPTH, this.options.hardware.limits.queueDepth);
    const memory = this.allocate(0, depth, this.options.hardware.limits.pageSize);
    const queue = this.pair(memory, { release: async () => {} });
    this.adminQueue = this.awaited(queue, polled);
    this.admin = new Admin(this.adminQueue, this.options.device.dma);
    return memory;
  }

  /** The queue behind reads and writes that are awaited. */
  async createPromiseQueue(polled: boolean, vector: number): Promise<void> {
    const depth = Math.min(this.options.depth, this.options.hardware.limits.queueDepth);
    const queue = await this.createIn(depth, polled ? undefined : vector, async () => {});
    this.promises = this.awaited(queue, polled);
  }

  /** A queue of the caller, with an interrupt of its own where `interrupts` are given. */
  async create(depth: number, interrupts: ControllerInterrupts | undefined): Promise<QueuePair> {
    const { queueDepth } = this.options.hardware.limits;
    if (!Number.isInteger(depth) || depth < 2 || depth > queueDepth) {
      throw argument(`a queue of this controller has 2 to ${queueDepth} entries, not ${depth}`, { depth, queueDepth });
    }
    const own = interrupts?.take();
    if (interrupts !== undefined && own === undefined) {
      throw argument(
        'no interrupt vector is left for another queue',
        { mode: interrupts.mode },
        'Make it without, and poll.',
      );
    }
    const giveBack = () => {
      if (own !== undefined) interrupts?.give(own.vector);
    };
    try {
      return await this.createIn(
        depth,
        own?.vector,
        (queue) => this.release(queue, giveBack),
        own && { interrupt: own.interrupt },
      );
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  /** At an interrupt: completions of the admin and the promise queue. */
  wake(): void {
    this.adminQueue?.wake();
    (this.promises as AwaitedQueue | undefined)?.wake();
  }

  /** Before a shutdown: waits for what is in flight, then deletes all I/O queues in the controller. */
  async finish(): Promise<void> {
    await this.promises.drained();
    for (const queue of [...this.memory.keys()]) {
      if (queue === this.promises.queue || queue.id === 0) continue;
      await queue[Symbol.asyncDispose]();
    }
    await this.admin.deleteQueues(this.promises.queue.id);
  }

  /** Nothing goes into any queue any more. */
  stop(error: Error): void {
    this.stopped = error;
    for (const queue of this.memory.keys()) {
      queue.fail(error);
      if (queue.handedOver !== undefined) askClose(queue.handedOver);
    }
  }

  /** Rejects what is awaited. The controller reaches no memory any more. */
  fail(error: Error): void {
    this.adminQueue?.fail(error);
    (this.promises as AwaitedQueue | undefined)?.fail(error);
  }

  /** Frees the memory of all queues. The controller reaches no memory any more. */
  free(): void {
    for (const memory of this.memory.values()) freeQueue(memory);
    this.memory.clear();
    this.used.clear();
  }

  private async createIn(
    depth: number,
    vector: number | undefined,
    release: QueueParts['release'],
    more: Partial<QueueParts> = {},
  ): Promise<QueuePair> {
    const id = this.freeId();
    this.used.add(id);
    let memory: QueueMemory | undefined;
    try {
      memory = this.allocate(id, depth, this.maxTransfer);
      const place = { id, depth };
      await this.admin.createQueues(
        { ...place, address: halvesOf(memory.completion) },
        { ...place, address: halvesOf(memory.submission) },
        vector,
      );
    } catch (error) {
      // Refused, or told after the controller was stopped: either way it does not use this memory.
      if (memory !== undefined) freeQueue(memory);
      this.used.delete(id);
      throw error;
    }
    const queue = this.pair(memory, { ...this.origin(), ...more, release });
    if (this.stopped === undefined) return queue;
    // Stopped just now: the memory is freed with that of all the others.
    queue.fail(this.stopped);
    throw this.stopped;
  }

  /** Deletes a queue of the caller, and frees its memory once neither the controller nor another thread uses it. */
  private async release(queue: QueuePair, giveBack: () => void): Promise<void> {
    const { system } = this.options.device.channel;
    const { handedOver } = queue;
    if (handedOver !== undefined) {
      askClose(handedOver);
      for (const start = system.now(); isHeld(handedOver) && system.now() - start < HAND_BACK; ) await system.sleep(1);
    }
    const memory = this.memory.get(queue);
    // Without an entry it was freed by a reset or a close meanwhile.
    if (memory === undefined || this.stopped !== undefined) return;
    await this.admin.deleteQueues(queue.id);
    // Rather memory too much than memory freed under a thread that still looks at it; the close of the device frees it.
    if (handedOver !== undefined && isHeld(handedOver)) return;
    if (!this.memory.delete(queue)) return;
    freeQueue(memory);
    this.used.delete(queue.id);
    giveBack();
  }

  private freeId(): number {
    for (let id = 1; id <= this.count; id++) if (!this.used.has(id)) return id;
    throw argument(
      `all ${this.count} queue pairs of this controller are in use`,
      { queues: this.count },
      'Close one first.',
    );
  }

  private allocate(id: number, depth: number, maxTransfer: number): QueueMemory {
    const { device, hardware } = this.options;
    const { pageSize, doorbellStride } = hardware.limits;
    const { dma, channel } = device;
    return allocateQueue({ id, depth, maxTransfer, pageSize, doorbellStride, dma, system: channel.system });
  }

  private pair(memory: QueueMemory, more: Pick<QueueParts, 'release'> & Partial<QueueParts>): QueuePair {
    const { hardware, timeout, readOnly } = this.options;
    const { window } = hardware;
    const queue = new QueuePair({ ...memory, window, timeout, readOnly, namespaces: this.namespaces, ...more });
    this.memory.set(queue, memory);
    return queue;
  }

  /** Where another thread maps the doorbells from; nothing where they cannot be mapped. */
  private origin(): Pick<QueueParts, 'origin'> {
    const { device, hardware } = this.options;
    const { fileOffset, mappableAreas } = device.channel.region(0);
    const { length } = hardware.window;
    const mappable = mappableAreas.some(({ offset, size }) => offset === 0 && size >= length);
    return mappable ? { origin: { fd: device.channel.fd, fileOffset } } : {};
  }

  private awaited(queue: QueuePair, polled: boolean): AwaitedQueue {
    const { device, timeout, onFailure } = this.options;
    return new AwaitedQueue(queue, { system: device.channel.system, polled, timeout, onFailure });
  }
}

const argument = (why: string, details: Record<string, unknown>, remedy?: string) =>
  new VfioError('ERR_NVME_ARGUMENT', `${why.charAt(0).toUpperCase()}${why.slice(1)}.`, {
    details,
    ...(remedy === undefined ? {} : { remedy }),
  });
