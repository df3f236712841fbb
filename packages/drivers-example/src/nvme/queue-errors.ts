/** Why a queue refused: words for the cases that the hot path only detects. */

import { type DmaBuffer, isVfioError, VfioError } from 'vfio-core';
import { MOST_BLOCKS } from './commands.js';
import type { QueueNamespace } from './queue-parts.js';

/** As much of a queue as the messages need. */
interface Queue {
  readonly id: number;
  readonly depth: number;
  readonly inFlight: number;
  readonly maxTransfer: number;
}

interface Transfer {
  readonly disk: QueueNamespace;
  readonly lba: number;
  readonly count: number;
  readonly offset: number;
  readonly buffer: DmaBuffer;
}

/** `ERR_NVME_ARGUMENT`, or `ERR_VFIO_CLOSED` for a closed buffer. */
export function refusal(queue: Queue, why: string | Transfer): VfioError {
  if (typeof why === 'string') return argument(`Queue ${queue.id} refused: ${why}.`, { queue: queue.id });
  const { disk, lba, count, offset, buffer } = why;
  if (buffer.closed) {
    return new VfioError('ERR_VFIO_CLOSED', 'The buffer was closed: the controller cannot reach it any more.', {
      remedy: 'Keep a buffer open until every command on it has completed.',
    });
  }
  const bytes = count * disk.blockSize;
  return argument(
    `Queue ${queue.id} refused ${count} blocks at block ${lba} of namespace ${disk.id}: ${reason(queue, why)}.`,
    {
      queue: queue.id,
      namespace: disk.id,
      lba,
      blocks: count,
      bytes,
      offset,
      blockSize: disk.blockSize,
      blockCount: disk.blockCount,
      maxTransfer: queue.maxTransfer,
      bufferLength: buffer.length,
    },
  );
}

function reason(queue: Queue, { disk, lba, count, offset, buffer }: Transfer): string {
  const bytes = count * disk.blockSize;
  if (!Number.isInteger(count)) {
    return `the length, ${bytes} bytes, is not a multiple of the block size, ${disk.blockSize}`;
  }
  if (!(count >= 1)) return 'at least one block has to move';
  if (count > MOST_BLOCKS) return `${count} blocks are more than one command can name, ${MOST_BLOCKS}`;
  if (bytes > queue.maxTransfer) return `${bytes} bytes are more than one command moves, ${queue.maxTransfer}`;
  if (!(offset >= 0) || offset % 4 !== 0) return `the offset in the buffer, ${offset}, is not a multiple of 4`;
  if (offset + bytes > buffer.length)
    return `the buffer ends at byte ${buffer.length}, the transfer at ${offset + bytes}`;
  if (!Number.isSafeInteger(lba) || lba < 0) return 'the block number is not a whole number from 0 on';
  return `the namespace has ${disk.blockCount} blocks`;
}

/** The slot is taken, is no slot, or the queue is full. */
export function busyOrFull(queue: Queue, slot: number): VfioError {
  const why = !(Number.isInteger(slot) && slot >= 0 && slot < queue.depth)
    ? `slots go from 0 to ${queue.depth - 1}, not ${slot}`
    : queue.inFlight >= queue.depth - 1
      ? `${queue.inFlight} commands are in flight, and a queue of ${queue.depth} entries holds no more`
      : `slot ${slot} is in flight`;
  return argument(`Queue ${queue.id} refused: ${why}.`, {
    queue: queue.id,
    slot,
    inFlight: queue.inFlight,
    depth: queue.depth,
  });
}

/** A command that a controller opened read-only is not sent. */
export const writes = (queue: Queue, opcode: number): VfioError =>
  new VfioError(
    'ERR_NVME_ARGUMENT',
    `Queue ${queue.id} refused opcode ${opcode.toString(16).padStart(2, '0')}h: the controller was opened read-only.`,
    { remedy: 'Open the controller without readOnly.', details: { queue: queue.id, opcode } },
  );

/** No namespace of this id. */
export const unknownNamespace = (queue: Queue, id: number): VfioError =>
  argument(`Queue ${queue.id} knows no namespace ${id}.`, { queue: queue.id, namespace: id });

/** The owner of a queue that was handed over wants it back, or has it back. */
export const closedByOwner = ({ id }: Pick<Queue, 'id'>): VfioError =>
  new VfioError('ERR_VFIO_CLOSED', `Queue ${id} was closed by its owner.`, { details: { queue: id } });

/** The queue was closed (no reason) or failed: the reason, thrown afresh so that its stack shows the caller. */
export function stopped(queue: Queue, reason: Error | undefined): VfioError {
  if (isVfioError(reason)) {
    const { remedy, details } = reason;
    return new VfioError(reason.code, reason.summary, {
      ...(remedy === undefined ? {} : { remedy }),
      details,
      cause: reason,
    });
  }
  return new VfioError('ERR_VFIO_CLOSED', `Queue ${queue.id} is closed.`, {
    details: { queue: queue.id },
    cause: reason,
  });
}

/** Remedy for everything that the caller got wrong: the message says what. */
const argument = (message: string, details: Readonly<Record<string, unknown>>) =>
  new VfioError('ERR_NVME_ARGUMENT', message, { details });
