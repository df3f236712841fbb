/** The memory of a queue pair, and its place in the device. */

import type { DmaBuffer, DmaSpace, SystemCalls } from 'vfio-core';
import { COMPLETION_BYTES, ENTRY_BYTES } from './commands.js';
import { listBytes } from './prp.js';
import type { QueueParts } from './queue-parts.js';
import { headDoorbell, tailDoorbell } from './registers.js';

export interface QueueRequest {
  readonly id: number;
  readonly depth: number;
  readonly pageSize: number;
  readonly maxTransfer: number;
  readonly doorbellStride: number;
  readonly dma: DmaSpace;
  readonly system: SystemCalls;
}

/** What {@link allocateQueue} gives: the part of {@link QueueParts} that is memory and place. */
export type QueueMemory = Pick<
  QueueParts,
  | 'id'
  | 'depth'
  | 'pageSize'
  | 'maxTransfer'
  | 'listBytes'
  | 'system'
  | 'tailDoorbell'
  | 'headDoorbell'
  | 'submission'
  | 'completion'
  | 'lists'
>;

/** Allocates both rings and the PRP lists: zeroed, so that no completion looks new. Nothing stays allocated when it throws. */
export function allocateQueue(request: QueueRequest): QueueMemory {
  const { id, depth, pageSize, maxTransfer, doorbellStride, dma, system } = request;
  const perSlot = listBytes(maxTransfer, pageSize);
  const made: DmaBuffer[] = [];
  // Rings are contiguous (CAP.CQR, and PC in the create commands) and start on a page of the controller.
  const ring = { alignment: Math.max(pageSize, dma.pageSize) };
  try {
    made.push(dma.allocate(depth * ENTRY_BYTES, { ...ring, direction: 'device-reads' }));
    made.push(dma.allocate(depth * COMPLETION_BYTES, ring));
    made.push(dma.allocate(depth * perSlot, { contiguous: false, direction: 'device-reads' }));
  } catch (error) {
    for (const buffer of made) buffer.close();
    throw error;
  }
  const [submission, completion, lists] = made as [DmaBuffer, DmaBuffer, DmaBuffer];
  return {
    ...{ id, depth, pageSize, maxTransfer, listBytes: perSlot, system, submission, completion, lists },
    tailDoorbell: tailDoorbell(id, doorbellStride),
    headDoorbell: headDoorbell(id, doorbellStride),
  };
}

/** Frees what {@link allocateQueue} made. The controller must not reach it any more. */
export function freeQueue({
  submission,
  completion,
  lists,
}: Pick<QueueMemory, 'submission' | 'completion' | 'lists'>): void {
  for (const buffer of [submission, completion, lists]) buffer.close();
}
