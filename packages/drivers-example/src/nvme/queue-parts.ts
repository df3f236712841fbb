/** What a queue pair is made of, and what it is given. */

import type { DmaBuffer, RegisterWindow, SystemCalls } from 'vfio-core';
import type { EventCounter, Interrupt } from 'vfio-irq';
import type { QueuePair } from './queue.js';

/** What the queue has to know of a namespace. A {@link Namespace} is one; plain data is one, too. */
export interface QueueNamespace {
  readonly id: number;
  /** Bytes. */
  readonly blockSize: number;
  /** Length in blocks. */
  readonly blocks: bigint;
  /** The same as a number, for the path that makes no bigint. */
  readonly blockCount: number;
}

/** Called for each completion: `status` is 0 for success, else see {@link NvmeStatus}. */
export type CompletionHandler = (slot: number, status: number) => void;

/** What a queue is made of. The controller makes this; {@link QueuePair.attach} makes it from a ticket. */
export interface QueueParts {
  /** 0 is the admin queue. */
  readonly id: number;
  /** Entries of both rings. */
  readonly depth: number;
  /** Memory page size of the controller, bytes. */
  readonly pageSize: number;
  /** Bytes that one command moves at most. */
  readonly maxTransfer: number;
  /** Bytes of one slot's PRP list. */
  readonly listBytes: number;
  /** ms until a command counts as lost. */
  readonly timeout: number;
  /** Refuse to write. */
  readonly readOnly: boolean;
  readonly system: SystemCalls;
  /** BAR 0 from its start, as far as this queue's doorbells. */
  readonly window: RegisterWindow;
  /** Offsets of the doorbells in the window. */
  readonly tailDoorbell: number;
  readonly headDoorbell: number;
  readonly submission: DmaBuffer;
  readonly completion: DmaBuffer;
  readonly lists: DmaBuffer;
  readonly namespaces: readonly QueueNamespace[];
  /** Where both rings stand: 0, 0, 1 for a new queue. */
  readonly position?: { readonly tail: number; readonly head: number; readonly phase: number };
  /** Where the ticket of {@link QueuePair.share} takes the device from. */
  readonly origin?: { readonly fd: number; readonly address: string };
  /** Throws why the device does not answer: `ERR_VFIO_DEVICE_GONE`, `ERR_VFIO_DEVICE_ASLEEP`. Mends a window that was touched meanwhile. */
  readonly alive: () => void;
  /** How often the window was mended, by whomever: then doorbells may have been lost. */
  readonly remappings: () => number;
  /** In a Worker: where it hears of its owner; see share.ts. */
  readonly shared?: SharedArrayBuffer;
  /** The queue's own interrupt, where it was made with one. */
  readonly interrupt?: Interrupt | EventCounter;
  /** Deletes the queue in the controller and frees its memory (owner), or lets go of the views (Worker). */
  readonly release: (queue: QueuePair) => Promise<void>;
}
