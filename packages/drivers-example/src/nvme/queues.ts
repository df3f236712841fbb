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
import { askClose, isHeld, mayRing } from './share.js';

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
/** ms that a Worker has to let go of a queue that its owner closes, or a reset ends. */
const HAND_BACK = 1000;

interface Owned {
  readonly memory: QueueMemory;
  /** Gives back the interrupt vector, where the queue has one. */
  readonly giveBack: () => void;
}

/** Memory of a queue that is gone, which a Worker still looks at. */
interface Held {
  readonly memory: QueueMemory;
  readonly shared: SharedArrayBuffer;
}

export class ControllerQueues {
  admin!: Admin;
  promises!: AwaitedQueue;
  /** I/O queue pairs that the controller granted. */
  count = 0;
  /** Bytes of the largest transfer. */
  maxTransfer = 0;
  namespaces: readonly QueueNamespace[] = [];
  private adminQueue: AwaitedQueue | undefined;
  private readonly owned = new Map<QueuePair, Owned>();
  private held: Held[] = [];
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
    const queue = await this.createIn(depth, polled ? undefined : vector, { release: async () => {} });
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
    const release = (queue: QueuePair) => this.release(queue);
    return this.createIn(depth, own?.vector, { release, ...(own && { interrupt: own.interrupt }) }, giveBack);
  }

  /** At an interrupt: completions of the admin and the promise queue. */
  wake(): void {
    this.adminQueue?.wake();
    (this.promises as AwaitedQueue | undefined)?.wake();
  }

  /** Before a shutdown: waits for what is in flight, then deletes all I/O queues in the controller. */
  async finish(): Promise<void> {
    await this.promises.drained();
    for (const queue of [...this.owned.keys()]) {
      if (queue === this.promises.queue || queue.id === 0) continue;
      await queue[Symbol.asyncDispose]();
    }
    await this.admin.deleteQueues(this.promises.queue.id);
  }

  /** Nothing goes into any queue any more. */
  stop(error: Error): void {
    this.stopped = error;
    for (const queue of this.owned.keys()) {
      queue.fail(error);
      if (queue.handedOver !== undefined) askClose(queue.handedOver);
    }
  }

  /** Rejects what is awaited. The controller reaches no memory any more. */
  fail(error: Error): void {
    this.adminQueue?.fail(error);
    (this.promises as AwaitedQueue | undefined)?.fail(error);
  }

  /** For a reset: lets go of all queues, once Workers had their time to do so. The controller reaches no memory any more. */
  async clear(): Promise<void> {
    await this.handBack([...this.owned.keys()]);
    for (const queue of [...this.owned.keys()]) this.retire(queue);
  }

  /** For a close: frees the memory of all queues, also what a Worker holds. The controller reaches no memory any more. */
  free(): void {
    for (const queue of [...this.owned.keys()]) this.retire(queue);
    for (const { memory } of this.held.splice(0)) freeQueue(memory);
  }

  private async createIn(
    depth: number,
    vector: number | undefined,
    more: Pick<QueueParts, 'release'> & Partial<QueueParts>,
    giveBack = () => {},
  ): Promise<QueuePair> {
    let id = 0;
    let memory: QueueMemory | undefined;
    try {
      id = this.freeId();
      this.used.add(id);
      this.tidy();
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
      giveBack();
      throw error;
    }
    const queue = this.pair(memory, { ...this.origin(), ...more }, giveBack);
    if (this.stopped === undefined) return queue;
    // Stopped just now: the memory is freed with that of all the others.
    queue.fail(this.stopped);
    throw this.stopped;
  }

  /** Deletes a queue of the caller in the controller, and lets go of it. */
  private async release(queue: QueuePair): Promise<void> {
    if (queue.handedOver !== undefined) askClose(queue.handedOver);
    await this.handBack([queue]);
    // Without an entry it went with a reset or a close meanwhile.
    if (!this.owned.has(queue) || this.stopped !== undefined) return;
    await this.admin.deleteQueues(queue.id);
    this.retire(queue);
  }

  /** Waits until Workers let go of queues that were asked for, but not for ever: they may have ended, or never look. */
  private async handBack(queues: readonly QueuePair[]): Promise<void> {
    const { system } = this.options.device.channel;
    const held = () => queues.some(({ handedOver }) => handedOver !== undefined && isHeld(handedOver));
    for (const start = system.now(); held() && system.now() - start < HAND_BACK; ) await system.sleep(1);
  }

  /**
   * Gives back what a queue had: id, vector, memory. The controller does not use it any more. Rather memory too much than
   * memory freed under a thread that still looks at it: that is kept until the Worker lets go, or the device is closed.
   */
  private retire(queue: QueuePair): void {
    const owned = this.owned.get(queue);
    if (owned === undefined) return;
    const { memory, giveBack } = owned;
    this.owned.delete(queue);
    this.used.delete(queue.id);
    giveBack();
    const shared = queue.handedOver;
    if (shared !== undefined && isHeld(shared)) this.held.push({ memory, shared });
    else freeQueue(memory);
  }

  /** Frees what Workers have let go of since. */
  private tidy(): void {
    const free = this.held.filter(({ shared }) => !isHeld(shared));
    this.held = this.held.filter((one) => !free.includes(one));
    for (const { memory } of free) freeQueue(memory);
  }

  private freeId(): number {
    const rung = new Set(this.held.filter(({ shared }) => mayRing(shared)).map(({ memory }) => memory.id));
    for (let id = 1; id <= this.count; id++) if (!this.used.has(id) && !rung.has(id)) return id;
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

  private pair(
    memory: QueueMemory,
    more: Pick<QueueParts, 'release'> & Partial<QueueParts>,
    giveBack = () => {},
  ): QueuePair {
    const { device, hardware, timeout, readOnly } = this.options;
    const { window } = hardware;
    const { channel } = device;
    const alive = () => device.checkAlive();
    const remappings = () => channel.remappings;
    const queue = new QueuePair({
      ...memory,
      window,
      alive,
      remappings,
      timeout,
      readOnly,
      namespaces: this.namespaces,
      ...more,
    });
    this.owned.set(queue, { memory, giveBack });
    return queue;
  }

  /** Where another thread maps the doorbells from; nothing where they cannot be mapped. */
  private origin(): Pick<QueueParts, 'origin'> {
    const { device, hardware } = this.options;
    const { mappableAreas } = device.channel.region(0);
    const { length } = hardware.window;
    const mappable = mappableAreas.some(({ offset, size }) => offset === 0 && size >= length);
    return mappable ? { origin: { fd: device.channel.fd, address: device.address } } : {};
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
