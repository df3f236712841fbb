/** Admin commands as promises. Source: NVM Express Base 1.4, section 5. */

import type { DmaBuffer, DmaSpace } from 'vfio-core';
import {
  Cns,
  createCompletionQueue,
  createSubmissionQueue,
  deleteCompletionQueue,
  deleteSubmissionQueue,
  grantedQueues,
  identify,
  type QueuePlace,
  setQueueCount,
} from './commands.js';
import {
  type ControllerData,
  decodeController,
  decodeNamespace,
  decodeNamespaceList,
  IDENTIFY_BYTES,
  type NamespaceData,
} from './identify.js';
import type { AwaitedQueue, Job } from './promises.js';
import type { QueuePair } from './queue.js';
import { statusError } from './status.js';

/** Address of byte `offset` of a buffer, as commands take it. */
export const halvesOf = (buffer: DmaBuffer, offset = 0) => ({ low: buffer.low(offset), high: buffer.high(offset) });

/**
 * The admin side of a controller. Every call rejects with `ERR_NVME_STATUS` where the controller refuses, `ERR_NVME_TIMEOUT`
 * where it does not answer; in the second case it was stopped before, so that nothing can be written any more.
 */
export class Admin {
  /** @internal */
  constructor(
    private readonly awaited: AwaitedQueue,
    private readonly dma: DmaSpace,
  ) {}

  /**
   * Any admin command: 16 words, the command identifier is filled in. Buffers that it names must stay open until it settles.
   * Rejects with `ERR_NVME_ARGUMENT` where the controller was opened read-only, for Format NVM, Sanitize, and the commands that
   * change namespaces or firmware.
   * @param what in words, for the error: `Get Log Page`
   * @returns dword 0 of the completion
   */
  command(entry: Uint32Array, what = `Admin command ${(entry[0]! & 0xff).toString(16)}h`): Promise<number> {
    return this.awaited.run(new Single(entry, what));
  }

  /** Identify Controller. Source: section 5.15.2.2. */
  async identifyController(): Promise<ControllerData> {
    return decodeController(await this.identify(Cns.controller, 0, 'Identify Controller'));
  }

  /** Identify Namespace. A namespace that is not active has no blocks. Source: section 5.15.2.1. */
  async identifyNamespace(id: number): Promise<NamespaceData> {
    return decodeNamespace(await this.identify(Cns.namespace, id, `Identify Namespace ${id}`));
  }

  /** Ids of the active namespaces, in rising order. Source: section 5.15.2.3: a list of 1024 at a time. */
  async activeNamespaces(): Promise<number[]> {
    const ids: number[] = [];
    for (;;) {
      const last = ids.at(-1) ?? 0;
      const more = decodeNamespaceList(await this.identify(Cns.activeNamespaces, last, 'Identify Active Namespaces'));
      // A controller that lists an id twice would keep this loop going.
      const rising = more.filter((id, index) => id > (more[index - 1] ?? last));
      ids.push(...rising);
      if (more.length < IDENTIFY_BYTES / 4 || rising.length < more.length) return ids;
    }
  }

  /**
   * Asks for I/O queue pairs. Source: section 5.21.1.7. Only once after each enabling, before the first I/O queue.
   * @returns how many were granted; may be more than asked for
   */
  async queueCount(wanted: number): Promise<number> {
    return grantedQueues(await this.command(setQueueCount(wanted), 'Set Features (Number of Queues)'));
  }

  /** Makes a queue pair in the controller: the completion queue first. Sources: sections 5.3, 5.4. */
  async createQueues(completion: QueuePlace, submission: QueuePlace, vector: number | undefined): Promise<void> {
    await this.command(createCompletionQueue(completion, vector), `Create I/O Completion Queue ${completion.id}`);
    try {
      await this.command(createSubmissionQueue(submission), `Create I/O Submission Queue ${submission.id}`);
    } catch (error) {
      await this.command(deleteCompletionQueue(completion.id)).catch(() => {}); // the first error tells why
      throw error;
    }
  }

  /** Deletes a queue pair in the controller: the submission queue first; its commands are aborted. Sources: sections 5.5, 5.6. */
  async deleteQueues(id: number): Promise<void> {
    await this.command(deleteSubmissionQueue(id), `Delete I/O Submission Queue ${id}`);
    await this.command(deleteCompletionQueue(id), `Delete I/O Completion Queue ${id}`);
  }

  private async identify(cns: number, namespace: number, what: string): Promise<Uint8Array> {
    // Freed at once, also after a time-out: it is told only once the controller was stopped.
    const page = this.dma.allocate(IDENTIFY_BYTES);
    try {
      await this.command(identify(cns, namespace, halvesOf(page)), what);
      return page.bytes.slice();
    } finally {
      page.close();
    }
  }
}

/** A job of one command. */
class Single implements Job {
  more = true;

  constructor(
    private readonly entry: Uint32Array,
    private readonly what: string,
  ) {}

  issue(queue: QueuePair, slot: number): void {
    queue.command(slot, this.entry);
    this.more = false;
  }

  error(status: number): Error {
    return statusError(this.what, status, { opcode: this.entry[0]! & 0xff, admin: true });
  }
}
