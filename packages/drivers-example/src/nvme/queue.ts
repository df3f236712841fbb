/**
 * A submission queue and its completion queue: the path that every I/O takes, thousands of times per millisecond.
 *
 * Both are rings in memory that the controller reads and writes by itself. The driver puts 64-byte commands into the first
 * and tells the controller how far it got (tail doorbell); the controller puts 16-byte completions into the second, and the
 * driver tells how far it read (head doorbell). Source: NVM Express Base 1.4, sections 4.1, 4.6 and 7.2.
 *
 * Nothing here allocates, makes a bigint, a closure or a promise per I/O, and registers are touched twice per batch.
 */

import type { DmaBuffer, SystemCalls } from 'vfio-core';
import type { EventCounter } from 'vfio-irq';
import { COMPLETION_WORDS, ENTRY_WORDS, IoOpcode, leavesMedium } from './commands.js';
import { Doorbells } from './doorbells.js';
import { PrpLists } from './prp.js';
import { busyOrFull, closedByOwner, refusal, stopped, unknownNamespace, writes } from './queue-errors.js';
import type { CompletionHandler, QueueNamespace, QueueParts } from './queue-parts.js';
import { attachQueue, type QueueTicket, shareQueue } from './share.js';
import { QueueWatch } from './watch.js';

/** States of a slot. */
const FREE = 0;
const IN_FLIGHT = 1;
/** Timed out: the controller may still use the slot's buffer. */
const OVERDUE = 2;

/** An empty poll counts 64, a full one 1; at 4096 the queue looks at clock and controller. */
const EMPTY_POLL = 64;
const LOOK_AT = 4096;

/**
 * A queue pair. A *slot* is a place for one command in flight, numbered 0 to `depth - 1`, and chosen by the caller: who
 * submits into a slot gets the same number back from {@link poll}. At most `depth - 1` commands are in flight at once.
 *
 * ```ts
 * const again = (slot: number, status: number) => { done++; queue.read(slot, disk, nextBlock(), buffers[slot]); };
 * for (let slot = 0; slot < 128; slot++) queue.read(slot, disk, nextBlock(), buffers[slot]);
 * queue.ring();
 * while (done < total) queue.poll(again);
 * ```
 */
export class QueuePair implements AsyncDisposable, Disposable {
  readonly id: number;
  readonly depth: number;
  /** Bytes that one command moves at most. */
  readonly maxTransfer: number;
  /** The namespaces that this queue can be given by id. */
  readonly namespaces: readonly QueueNamespace[];
  /** Raised for completions, where the queue was made with `interrupt: true`: wait for it, then {@link poll}. Closed by its owner. */
  readonly interrupt: EventCounter | undefined;
  /** Dword 0 of the completion that the handler is being called for. */
  result = 0;
  /** Commands that the controller has and has not completed. */
  inFlight = 0;
  /** Where owner and Worker talk, once the queue was handed over; see share.ts. */
  handedOver: SharedArrayBuffer | undefined = undefined;
  /** Completions that named no command in flight: a fault of the controller. They are skipped. */
  strays = 0;

  private readonly parts: QueueParts;
  private readonly doorbells: Doorbells;
  private readonly readOnly: boolean;
  private readonly entries: Uint32Array;
  private readonly completions: Uint32Array;
  private readonly lists: PrpLists;
  private readonly states: Uint8Array;
  private readonly watch: QueueWatch;
  private tail: number;
  private head: number;
  private phase: number;
  private quiet = 0;
  private stop: Error | undefined;
  private released: Promise<void> | undefined;

  /** @internal Made by {@link Nvme.createQueuePair} and {@link QueuePair.attach}. */
  constructor(parts: QueueParts) {
    const { submission, completion, position = { tail: 0, head: 0, phase: 1 } } = parts;
    this.parts = parts;
    this.id = parts.id;
    this.depth = parts.depth;
    this.maxTransfer = parts.maxTransfer;
    this.namespaces = parts.namespaces;
    this.interrupt = parts.interrupt;
    this.doorbells = new Doorbells(parts, position.tail, position.head);
    this.readOnly = parts.readOnly;
    this.entries = words(submission, parts.depth * ENTRY_WORDS);
    this.completions = words(completion, parts.depth * COMPLETION_WORDS);
    this.lists = new PrpLists(parts.lists, parts.listBytes, parts.pageSize);
    this.states = new Uint8Array(parts.depth);
    this.watch = new QueueWatch(parts, this.states);
    this.tail = position.tail;
    this.head = position.head;
    this.phase = position.phase;
  }

  /** Commands that can still be submitted. */
  get free(): number {
    return this.depth - 1 - this.inFlight;
  }

  get closed(): boolean {
    return this.stop !== undefined;
  }

  /**
   * Puts a read into `slot`; {@link ring} or {@link poll} sends it. Source: section 6.9.
   *
   * @param namespace a namespace, or the id of one of {@link namespaces}
   * @param lba first block: a number, up to 2^53 - 1, where {@link Namespace.read} takes a bigint. A bigint per I/O would be
   * garbage per I/O, on the path that makes none.
   * @param buffer must stay open until the slot completes
   * @param blocks as many as fit by default; at most {@link maxTransfer} bytes
   * @param offset in the buffer, bytes, a multiple of 4
   * Throws `ERR_NVME_ARGUMENT` (range, length, slot in use, queue full), `ERR_VFIO_CLOSED` (buffer, queue).
   */
  read(
    slot: number,
    namespace: QueueNamespace | number,
    lba: number,
    buffer: DmaBuffer,
    blocks?: number,
    offset = 0,
  ): void {
    this.transfer(IoOpcode.read, slot, namespace, lba, buffer, blocks, offset);
  }

  /** Puts a write into `slot`, as {@link read} does. Throws `ERR_NVME_ARGUMENT` where the controller was opened read-only. Source: section 6.15. */
  write(
    slot: number,
    namespace: QueueNamespace | number,
    lba: number,
    buffer: DmaBuffer,
    blocks?: number,
    offset = 0,
  ): void {
    if (this.readOnly) throw writes(this, IoOpcode.write);
    this.transfer(IoOpcode.write, slot, namespace, lba, buffer, blocks, offset);
  }

  /** Puts a flush into `slot`: what was written before is on the medium once it completes. Source: section 6.8. */
  flush(slot: number, namespace: QueueNamespace | number): void {
    const at = this.begin(slot);
    const { entries } = this;
    entries.fill(0, at, at + ENTRY_WORDS);
    entries[at] = IoOpcode.flush | (slot << 16);
    entries[at + 1] = typeof namespace === 'number' ? namespace : namespace.id;
    this.end(slot);
  }

  /**
   * Puts any command into `slot`: 16 words, as they stand in the specification; the command identifier is filled in. Throws
   * `ERR_NVME_ARGUMENT` where the controller was opened read-only, for all but Flush, Read and Compare.
   */
  command(slot: number, entry: Uint32Array): void {
    const opcode = entry[0]! & 0xff;
    if (this.readOnly && !leavesMedium(opcode, this.id === 0)) throw writes(this, opcode);
    const at = this.begin(slot);
    this.entries.set(entry.subarray(0, ENTRY_WORDS), at);
    this.entries[at] = (entry[0]! & 0xffff) | (slot << 16);
    this.end(slot);
  }

  /**
   * Tells the controller of the commands put in since the last time. {@link poll} does it at its end. Throws `ERR_VFIO_CLOSED`
   * for a closed queue: its doorbells may be those of another queue by then.
   */
  ring(): void {
    if (this.stop !== undefined) throw stopped(this, this.stop);
    if (!this.doorbells.ring(this.tail, this.head)) this.letGo();
  }

  /**
   * Takes completions, calling `handler` for each, then rings the doorbells once. What `handler` throws ends the poll after
   * this completion; the next poll goes on behind it.
   *
   * Make the handler once, outside of the loop. It may submit again, into the slot it was called for.
   *
   * Once in 64 empty polls the queue looks at the clock and at the controller. Throws `ERR_NVME_TIMEOUT` (`details.slots`) for
   * commands that took too long: their buffers must be left alone until the controller was reset or closed, since it may
   * still write to them. `ERR_VFIO_DEVICE_GONE`, `ERR_NVME_FATAL`, `ERR_VFIO_CLOSED` likewise. `ERR_VFIO_DEVICE_ASLEEP` while
   * memory decoding is off or the device sleeps: once it is awake, polling goes on where it was.
   *
   * @param max completions to take at most
   * @returns completions taken
   */
  poll(handler: CompletionHandler, max: number = this.depth): number {
    if (this.stop !== undefined) throw stopped(this, this.stop);
    const { completions, states, depth } = this;
    let taken = 0;
    while (taken < max) {
      const at = this.head * COMPLETION_WORDS;
      // Dword 3: command identifier 15:0, phase tag 16, status 31:17. Detached memory reads undefined, here 0.
      const word = completions[at + 3]! | 0;
      if (((word >>> 16) & 1) !== this.phase) break;
      this.result = completions[at]!;
      if (++this.head === depth) {
        this.head = 0;
        this.phase ^= 1;
      }
      taken++;
      const slot = word & 0xffff;
      const state = states[slot];
      if (state === IN_FLIGHT) {
        states[slot] = FREE;
        this.inFlight--;
        handler(slot, word >>> 17);
      } else if (state === OVERDUE) {
        states[slot] = FREE; // late, but now the buffer is free
        this.inFlight--;
      } else {
        this.strays++;
      }
    }
    if (this.stop !== undefined) return taken; // the handler closed the queue
    this.ring();
    this.quiet += taken > 0 ? 1 : EMPTY_POLL;
    if (this.quiet >= LOOK_AT) this.look();
    return taken;
  }

  /** Looks at the clock and the controller now; throws as {@link poll} does. For those who wait for an interrupt instead of polling. */
  look(): void {
    this.quiet = 0;
    if (this.stop !== undefined) throw stopped(this, this.stop);
    this.watch.look(this);
  }

  /** @internal Tells the controller again how far both rings got: the registers did not answer for a while. */
  ringAgain(): void {
    if (!this.doorbells.ringAgain(this.tail, this.head)) this.letGo();
  }

  /** Marks commands that took too long; they stay in flight for the controller. */
  markOverdue(slots: readonly number[]): void {
    for (const slot of slots) this.states[slot] = OVERDUE;
  }

  /**
   * Hands the queue over to another thread: post the ticket, and `QueuePair.attach(ticket)` there. From then on this object
   * only closes the queue. Throws `ERR_NVME_ARGUMENT` while commands are in flight, `ERR_VFIO_NOT_SUPPORTED` where the
   * device's registers cannot be mapped.
   */
  share(): QueueTicket {
    if (this.stop !== undefined) throw stopped(this, this.stop);
    if (this.inFlight > 0) throw refusal(this, 'commands are in flight');
    this.ring();
    const ticket = shareQueue(this.parts, { tail: this.tail, head: this.head, phase: this.phase });
    this.handedOver = ticket.shared;
    this.stop = refusal(this, 'it was handed over to another thread');
    return ticket;
  }

  /** Makes the queue of a {@link share} ticket usable in this thread. Throws `ERR_VFIO_CLOSED` when its owner closed it meanwhile. */
  static attach(ticket: QueueTicket, options: { backend?: SystemCalls } = {}): QueuePair {
    return new QueuePair(attachQueue(ticket, options));
  }

  /** No command goes in any more, and polls throw `reason`. The memory stays. */
  fail(reason: Error): void {
    this.stop = reason;
  }

  /** @internal The owner asked for the queue: closes it in this thread, and says so. */
  letGo(): never {
    const reason = closedByOwner(this);
    this.stop ??= reason;
    this.close();
    throw reason;
  }

  /** @internal Memory and identity, for whoever releases it. */
  get resources(): QueueParts {
    return this.parts;
  }

  /**
   * Stops the queue at once, and deletes it in the controller in the background: its memory is freed when the controller let
   * go of it. Wait for that with `await using` or `[Symbol.asyncDispose]()`. Idempotent.
   */
  close(): void {
    this.stop ??= stopped(this, undefined);
    this.released ??= this.parts.release(this);
    this.released.catch(() => {}); // told to who waits for it; the controller's close frees what is left
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.released;
  }

  private transfer(
    opcode: number,
    slot: number,
    namespace: QueueNamespace | number,
    lba: number,
    buffer: DmaBuffer,
    blocks: number | undefined,
    offset: number,
  ): void {
    const disk = typeof namespace === 'number' ? this.find(namespace) : namespace;
    const count = blocks ?? (buffer.length - offset) / disk.blockSize;
    const bytes = count * disk.blockSize;
    const high = (lba / 0x1_0000_0000) | 0;
    if (
      // A whole number from 1 to 65536, in one comparison: NLB is 0's based and has 16 bits.
      !(((count - 1) & 0xffff) === count - 1 && bytes <= this.maxTransfer) ||
      !(offset >= 0 && (offset & 3) === 0 && offset + bytes <= buffer.length) ||
      !((lba >>> 0) + high * 0x1_0000_0000 === lba && lba + count <= disk.blockCount) ||
      buffer.closed
    ) {
      throw refusal(this, { disk, lba, count, offset, buffer });
    }
    const at = this.begin(slot);
    const { entries } = this;
    entries[at] = opcode | (slot << 16);
    entries[at + 1] = disk.id;
    entries[at + 2] = 0;
    entries[at + 3] = 0;
    entries[at + 4] = 0; // MPTR: no metadata
    entries[at + 5] = 0;
    this.lists.point(entries, at, slot, buffer, offset, bytes);
    entries[at + 10] = lba; // SLBA, low half: a Uint32Array keeps the value modulo 2^32
    entries[at + 11] = high;
    entries[at + 12] = count - 1; // NLB, 0's based
    entries[at + 13] = 0;
    entries[at + 14] = 0;
    entries[at + 15] = 0;
    this.end(slot);
  }

  /** The first word of the next free entry, once the slot was found free. */
  private begin(slot: number): number {
    if (this.stop !== undefined) throw stopped(this, this.stop);
    if (this.states[slot] !== FREE || this.inFlight >= this.depth - 1) throw busyOrFull(this, slot);
    return this.tail * ENTRY_WORDS;
  }

  private end(slot: number): void {
    this.states[slot] = IN_FLIGHT;
    this.watch.since[slot] = -1;
    this.inFlight++;
    if (++this.tail === this.depth) this.tail = 0;
  }

  private find(id: number): QueueNamespace {
    const { namespaces } = this;
    for (let i = 0; i < namespaces.length; i++) if (namespaces[i]!.id === id) return namespaces[i]!;
    throw unknownNamespace(this, id);
  }
}

const words = (memory: DmaBuffer, count: number) =>
  new Uint32Array(memory.bytes.buffer, memory.bytes.byteOffset, count);
