/**
 * A queue in another thread. The opener owns it: `share()` makes a ticket of plain data, which the other thread turns into
 * views of its own: the rings (the same memory), and the doorbells (the same registers, mapped once more).
 *
 * Owner and user talk through a few shared bytes: the owner asks for the queue back, the user says that it holds it, and that
 * it rings. A Worker can end without letting go; so holding keeps memory only, which the close of the device frees.
 */

import {
  attachDma,
  type DmaTicket,
  defaultBackend,
  KernelChannel,
  RegionIndex,
  type SystemCalls,
  VfioError,
} from 'vfio-core';
import { Interrupt, type InterruptTicket } from 'vfio-irq';
import { closedByOwner } from './queue-errors.js';
import type { QueueNamespace, QueueParts } from './queue-parts.js';

/** A queue as plain data: it can be posted to a Worker of the same process. See {@link QueuePair.share}. */
export interface QueueTicket {
  readonly id: number;
  readonly depth: number;
  readonly pageSize: number;
  readonly maxTransfer: number;
  readonly listBytes: number;
  readonly timeout: number;
  readonly readOnly: boolean;
  /** The device's descriptor and name, and how much of BAR 0 to map. */
  readonly fd: number;
  readonly address: string;
  readonly windowBytes: number;
  readonly tailDoorbell: number;
  readonly headDoorbell: number;
  readonly submission: DmaTicket;
  readonly completion: DmaTicket;
  readonly lists: DmaTicket;
  readonly namespaces: readonly QueueNamespace[];
  readonly position: { readonly tail: number; readonly head: number; readonly phase: number };
  readonly shared: SharedArrayBuffer;
  /** For a queue with an interrupt of its own. */
  readonly interrupt?: InterruptTicket;
}

/** Words of the shared bytes: has the owner asked for the queue back; how many threads hold it, and ring it just now. */
const ASKED = 0;
const HOLDERS = 1;
const RINGING = 2;

export const makeShared = (): SharedArrayBuffer => new SharedArrayBuffer(12);
const view = (shared: SharedArrayBuffer) => new Int32Array(shared);

/** Has the owner asked for the queue back? */
export const closeAsked = (shared: SharedArrayBuffer): boolean => Atomics.load(view(shared), ASKED) !== 0;
/** The owner asks. */
export const askClose = (shared: SharedArrayBuffer): void => void Atomics.store(view(shared), ASKED, 1);
/** Does another thread still hold the queue? */
export const isHeld = (shared: SharedArrayBuffer): boolean => Atomics.load(view(shared), HOLDERS) > 0;

/**
 * Can a doorbell of the queue still be rung, once its owner has asked for it? Only by who was at it at that moment: then its
 * id, and so its doorbells, must not become those of another queue.
 */
export const mayRing = (shared: SharedArrayBuffer): boolean => Atomics.load(view(shared), RINGING) > 0;

/** What a holder goes through to ring the doorbells. */
export class RingTurn {
  private readonly words: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.words = view(shared);
  }

  /** @returns false where the owner asked for the queue: its doorbells may be those of another queue by now */
  enter(): boolean {
    // Say first that it is rung, then look whether it was asked for: the owner does it the other way round.
    Atomics.add(this.words, RINGING, 1);
    if (Atomics.load(this.words, ASKED) === 0) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.sub(this.words, RINGING, 1);
  }
}

/** Describes a queue for another thread. */
export function shareQueue(parts: QueueParts, position: QueueTicket['position']): QueueTicket {
  const { origin } = parts;
  if (origin === undefined) {
    throw new VfioError(
      'ERR_VFIO_NOT_SUPPORTED',
      `Queue ${parts.id} cannot be handed over: BAR 0 of this device cannot be mapped.`,
      {
        remedy: 'Use the queue in the thread that opened the controller.',
      },
    );
  }
  const { id, depth, pageSize, maxTransfer, listBytes, timeout, readOnly, tailDoorbell, headDoorbell } = parts;
  const namespaces = parts.namespaces.map(({ id, blockSize, blocks, blockCount }) => ({
    id,
    blockSize,
    blocks,
    blockCount,
  }));
  return {
    ...{ id, depth, pageSize, maxTransfer, listBytes, timeout, readOnly, tailDoorbell, headDoorbell },
    fd: origin.fd,
    address: origin.address,
    windowBytes: parts.window.length,
    submission: parts.submission.share(),
    completion: parts.completion.share(),
    lists: parts.lists.share(),
    namespaces,
    position,
    shared: makeShared(),
    ...(parts.interrupt !== undefined && 'share' in parts.interrupt ? { interrupt: parts.interrupt.share() } : {}),
  };
}

/** Makes views of a ticket's queue. What was made before a failure is let go of. */
export function attachQueue(ticket: QueueTicket, options: { backend?: SystemCalls }): QueueParts {
  const system = options.backend ?? defaultBackend();
  const held = view(ticket.shared);
  // Say first that the queue is held, then look whether it was asked for: the owner does it the other way round.
  Atomics.add(held, HOLDERS, 1);
  const undo: (() => void)[] = [() => void Atomics.sub(held, HOLDERS, 1)];
  const letGo = () => {
    for (const step of undo.splice(0).reverse()) step();
  };
  try {
    if (closeAsked(ticket.shared)) throw closedByOwner(ticket);
    const channel = KernelChannel.attach(system, { fd: ticket.fd, address: ticket.address });
    undo.push(() => channel.close());
    const window = channel.window(RegionIndex.BAR0, 0, ticket.windowBytes, 'mapped');
    const memory = (part: DmaTicket) => {
      const buffer = attachDma(part, { backend: system });
      undo.push(() => buffer.close());
      return buffer;
    };
    const submission = memory(ticket.submission);
    const completion = memory(ticket.completion);
    const lists = memory(ticket.lists);
    const interrupt = ticket.interrupt && Interrupt.attach(ticket.interrupt, { backend: system });
    if (interrupt !== undefined) undo.push(() => interrupt.close());
    const { fd: _fd, address: _address, windowBytes: _bytes, interrupt: _ticket, ...rest } = ticket;
    return {
      ...rest,
      ...{ system, window, submission, completion, lists },
      alive: () => channel.checkAlive(),
      remappings: () => channel.remappings,
      ...(interrupt === undefined ? {} : { interrupt }),
      release: async () => letGo(),
    };
  } catch (error) {
    letGo();
    throw error;
  }
}
