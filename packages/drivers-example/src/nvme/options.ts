/** What opening a controller can be told, and the checks of it and of what was found. */

import { type SystemCalls, VfioError } from 'vfio-core';
import type { PciDevice } from 'vfio-pci';
import type { ControllerData } from './identify.js';
import type { InterruptChoice } from './interrupt-mode.js';
import { NVME_CLASS } from './registers.js';

/** Options of {@link Nvme.open}. */
export interface NvmeOptions {
  /** For an address: where the system calls go. A device that is given brings its own. */
  readonly backend?: SystemCalls;
  /** Entries of the queue behind the promise calls, 2 or more; 64 by default, less where the controller has less. */
  readonly queueDepth?: number;
  readonly interrupts?: InterruptChoice;
  /** ms until a command counts as lost; 30 000 by default. */
  readonly timeout?: number;
  /** Refuse to write, whichever way: no I/O command but Flush, Read and Compare, no admin command that changes the medium or the firmware. */
  readonly readOnly?: boolean;
}

/** Options of {@link Nvme.createQueuePair}. */
export interface QueuePairOptions {
  /** Entries, 2 to the controller's largest queue. One less can be in flight. */
  readonly depth: number;
  /** With an interrupt of its own, `queue.interrupt`; needs MSI-X. */
  readonly interrupt?: boolean;
}

export function checkOptions({ queueDepth = 64, timeout = 30_000 }: NvmeOptions): void {
  if (!Number.isInteger(queueDepth) || queueDepth < 2) {
    throw new VfioError('ERR_NVME_ARGUMENT', `queueDepth is 2 or more, not ${queueDepth}.`, {
      details: { queueDepth },
    });
  }
  if (!(timeout > 0 && timeout < Number.POSITIVE_INFINITY)) {
    throw new VfioError('ERR_NVME_ARGUMENT', `timeout is a number of ms above 0, not ${timeout}.`, {
      details: { timeout },
    });
  }
}

/** Section 2.1.5: the class code says NVM Express. */
export function checkClass(device: PciDevice): void {
  const { classCode, address } = device;
  if (classCode === NVME_CLASS) return;
  const hex = (value: number) => `0x${value.toString(16).padStart(6, '0')}`;
  throw new VfioError(
    'ERR_NVME_CONTROLLER',
    `${address} is not an NVMe controller: its class is ${hex(classCode)}, not ${hex(NVME_CLASS)}.`,
    { remedy: 'Look for one: vfio list.', details: { address, classCode } },
  );
}

/** Section 5.15.2.2, SQES and CQES: 64 and 16 bytes are required of everybody; this says so in words if not. */
export function checkEntrySizes({ submissionEntrySize, completionEntrySize }: ControllerData): void {
  const fits = (size: number, shift: number) => (size & 0xf) <= shift && shift <= size >>> 4;
  if (fits(submissionEntrySize, 6) && fits(completionEntrySize, 4)) return;
  throw new VfioError('ERR_NVME_CONTROLLER', 'The controller does not take queue entries of 64 and 16 bytes.', {
    details: { submissionEntrySize, completionEntrySize },
  });
}
