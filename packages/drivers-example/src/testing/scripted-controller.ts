/** A controller that does what a test tells it: registers as numbers, queues in plain memory, completions one by one. */

import type { DmaBuffer, DmaTicket, RegisterWindow, SystemCalls } from 'vfio-core';
import { listBytes } from '../nvme/prp.js';
import { QueuePair } from '../nvme/queue.js';
import type { QueueParts } from '../nvme/queue-parts.js';
import { CSTS_OFFSET, headDoorbell, tailDoorbell } from '../nvme/registers.js';

/** Memory with invented device addresses: contiguous from `address` on, or page by page where `pages` says so. */
export class PlainBuffer implements DmaBuffer {
  readonly bytes: Uint8Array;
  closed = false;

  constructor(
    readonly length: number,
    readonly address: bigint,
    private readonly pages?: readonly bigint[],
  ) {
    this.bytes = new Uint8Array(Math.ceil(length / 4096) * 4096).subarray(0, length);
  }

  get contiguous(): boolean {
    return this.pages === undefined;
  }

  at(offset: number): bigint {
    const page = this.pages?.[offset >>> 12];
    return page === undefined ? this.address + BigInt(offset) : page + BigInt(offset & 4095);
  }

  low(offset: number): number {
    return Number(this.at(offset) & 0xffffffffn);
  }

  high(offset: number): number {
    return Number(this.at(offset) >> 32n);
  }

  share(): DmaTicket {
    throw new Error('plain memory is not shared');
  }

  close(): void {
    this.closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export interface ScriptOptions {
  readonly depth?: number;
  readonly maxTransfer?: number;
  readonly timeout?: number;
  readonly readOnly?: boolean;
  /** As in a Worker: where the queue hears of its owner. */
  readonly shared?: SharedArrayBuffer;
}

/** One queue pair (`queue`), and the controller's hand on it. */
export class ScriptedController {
  /** Register writes, in order: `[offset, value]`. */
  readonly writes: (readonly [number, number])[] = [];
  csts = 1;
  clock = 0;
  /** Moves the clock at each reading. */
  tick = 0;
  /** Called after each register write. */
  onWrite: () => void = () => {};
  /** Asked when the controller does not answer. */
  alive: () => void = () => {};
  readonly queue: QueuePair;
  readonly submission: Uint32Array;
  readonly lists: PlainBuffer;
  readonly tailDoorbell = tailDoorbell(3, 4);
  readonly headDoorbell = headDoorbell(3, 4);
  released = 0;
  private readonly completion: Uint32Array;
  private readonly depth: number;
  private tail = 0;
  private phase = 1;

  constructor(options: ScriptOptions = {}) {
    const { depth = 8, maxTransfer = 1 << 17, timeout = 1000, readOnly = false } = options;
    this.depth = depth;
    const submission = new PlainBuffer(depth * 64, 0x1_0000_0000n);
    const completion = new PlainBuffer(depth * 16, 0x1_0001_0000n);
    const perSlot = listBytes(maxTransfer, 4096);
    this.lists = new PlainBuffer(depth * perSlot, 0x2_0000_0000n);
    this.submission = new Uint32Array(submission.bytes.buffer);
    this.completion = new Uint32Array(completion.bytes.buffer);
    const window = {
      length: 0x2000,
      closed: false,
      read32: (offset: number) => (offset === CSTS_OFFSET ? this.csts : 0),
      write32: (offset: number, value: number) => {
        this.writes.push([offset, value]);
        this.onWrite();
      },
    } as unknown as RegisterWindow;
    const system = {
      now: () => {
        this.clock += this.tick;
        return this.clock;
      },
      storeBarrier: () => {},
    } as unknown as SystemCalls;
    const parts: QueueParts = {
      id: 3,
      ...{ depth, pageSize: 4096, maxTransfer, listBytes: perSlot, timeout, readOnly, system, window },
      tailDoorbell: this.tailDoorbell,
      headDoorbell: this.headDoorbell,
      ...{ submission, completion, lists: this.lists },
      namespaces: [
        { id: 1, blockSize: 512, blocks: 1n << 40n, blockCount: 2 ** 40 },
        { id: 2, blockSize: 4096, blocks: 1000n, blockCount: 1000 },
      ],
      alive: () => this.alive(),
      remappings: () => 0,
      release: async () => void this.released++,
      ...(options.shared === undefined ? {} : { shared: options.shared }),
    };
    this.queue = new QueuePair(parts);
  }

  /** The 16 words of the n-th entry of the submission queue. */
  entry(index: number): number[] {
    return [...this.submission.subarray(index * 16, index * 16 + 16)];
  }

  /** Writes a completion, as a controller does: the word with the phase tag last. */
  complete(slot: number, status = 0, result = 0): void {
    const at = this.tail * 4;
    this.completion[at] = result;
    this.completion[at + 3] = (slot | (this.phase << 16) | (status << 17)) >>> 0;
    if (++this.tail === this.depth) {
      this.tail = 0;
      this.phase ^= 1;
    }
  }
}
