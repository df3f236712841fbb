/** What a queue looks at once in a while: the clock, the controller, and whether its owner wants it back. */

import { type RegisterWindow, VfioError } from 'vfio-core';
import type { QueuePair } from './queue.js';
import type { QueueParts } from './queue-parts.js';
import { CSTS_OFFSET, CstsBit } from './registers.js';
import { closeAsked } from './share.js';

/** All-ones: what the bus answers for a device that is not there. */
const ALL_ONES = 0xffffffff;

/** In-flight state of a slot, as in queue.ts. */
const IN_FLIGHT = 1;

/**
 * Reads CSTS and throws for what it says: `ERR_VFIO_DEVICE_GONE` for all-ones, `ERR_NVME_FATAL` for a controller that gave up.
 * Source: section 3.1.6. All-ones cannot be a status: bits 31:6 are reserved and 0.
 * @param alive is asked about all-ones: throws the reason, or has mended the window; then it is read once more
 * @returns the status
 */
export function checkStatus(window: RegisterWindow, alive: () => void): number {
  if (window.closed) throw new VfioError('ERR_VFIO_CLOSED', 'The controller was closed.');
  let status = window.read32(CSTS_OFFSET);
  if (status === ALL_ONES) {
    alive();
    status = window.read32(CSTS_OFFSET);
  }
  if (status === ALL_ONES) {
    throw new VfioError('ERR_VFIO_DEVICE_GONE', 'The controller answers all-ones: it left the bus.', {
      details: { register: 'CSTS', value: status },
    });
  }
  if ((status & CstsBit.fatal) !== 0) {
    throw new VfioError('ERR_NVME_FATAL', 'The controller reports a fatal state (CSTS.CFS).', {
      details: { register: 'CSTS', value: status },
    });
  }
  return status;
}

/** The slow side of a {@link QueuePair}: called once in many polls. */
export class QueueWatch {
  /** Per slot: backend time at which it was first seen in flight, -1 before that. Never too early, so no command is declared lost early. */
  readonly since: Float64Array;
  private readonly every: number;
  private looked = Number.NEGATIVE_INFINITY;
  /** The registers did not answer once: doorbells may have been lost. */
  private unanswered = false;
  /** How often the registers had been mended when it last looked: by this queue, another one, or the program. */
  private remappings: number;

  constructor(
    private readonly parts: QueueParts,
    private readonly states: Uint8Array,
  ) {
    this.remappings = parts.remappings();
    this.since = new Float64Array(parts.depth).fill(-1);
    this.every = Math.min(100, parts.timeout / 8);
  }

  look(queue: QueuePair): void {
    const { system, window, shared, timeout } = this.parts;
    // Reading the clock lets a simulated controller go on.
    const now = system.now();
    if (shared !== undefined && closeAsked(shared)) queue.letGo();
    if (queue.inFlight === 0 || now - this.looked < this.every) return;
    this.looked = now;
    // The doorbells may lie in another page than CSTS, and that page alone may have stopped answering.
    this.parts.alive();
    const status = checkStatus(window, () => {
      this.unanswered = true;
      this.parts.alive();
    });
    if ((status & CstsBit.ready) === 0) {
      throw new VfioError('ERR_VFIO_CLOSED', 'The controller was disabled under its queues.', {
        details: { queue: queue.id },
      });
    }
    const remappings = this.parts.remappings();
    if (this.unanswered || remappings !== this.remappings) {
      this.unanswered = false;
      this.remappings = remappings;
      queue.ringAgain();
      // What waited for a controller that was not told of it waits from now on.
      this.since.fill(-1);
    }
    const late: number[] = [];
    for (let slot = 0; slot < this.since.length; slot++) {
      if (this.states[slot] !== IN_FLIGHT) continue;
      const since = this.since[slot]!;
      if (since < 0) this.since[slot] = now;
      else if (now - since > timeout) late.push(slot);
    }
    if (late.length === 0) return;
    queue.markOverdue(late);
    throw new VfioError(
      'ERR_NVME_TIMEOUT',
      `${late.length === 1 ? 'A command' : `${late.length} commands`} of queue ${queue.id} did not complete within ${timeout} ms.`,
      { details: { queue: queue.id, slots: late, timeout } },
    );
  }
}
