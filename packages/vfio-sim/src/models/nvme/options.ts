/** What a simulated controller can be made of. */

import { VfioError } from 'vfio-core';
import type { Disk } from '../../disks/disk.js';

export interface NvmeOptions {
  /** One namespace each, numbered from 1. A hole (undefined) makes an inactive namespace number. */
  readonly disks: readonly (Disk | undefined)[];
  /** Namespace numbers that are valid (NN). 256 by default, so most of them are inactive; at least the number of disks. */
  readonly namespaces?: number;
  /** Largest transfer as the power of two of 4 KiB pages (MDTS): 7, which is 512 KiB, by default; 0 for no limit. */
  readonly mdts?: number;
  /** I/O queue pairs, 1 to 1023; 64 by default. */
  readonly queues?: number;
  /** Entries of the largest I/O queue, 2 to 65536; 2048 by default. */
  readonly queueEntries?: number;
  /** At most 20 characters of ASCII. */
  readonly serial?: string;
  /** At most 40 characters of ASCII. */
  readonly model?: string;
  /** At most 8 characters of ASCII. */
  readonly firmware?: string;
  /** MSI-X vectors, 0 (no MSI-X) to 2048; one for each queue by default. */
  readonly vectors?: number;
  /** MSI messages: 0 (none), 1, 2, 4, 8, 16 or 32; 1 by default. */
  readonly messages?: number;
  /** INTx pin, 0 for none; 1 (INTA) by default. */
  readonly pin?: 0 | 1 | 2 | 3 | 4;
  /** Milliseconds of CAP.TO: 7500 by default; rounded up to a multiple of 500. */
  readonly timeout?: number;
  /** Bytes from one doorbell to the next (CAP.DSTRD): 4 by default, a power of two up to 4096. */
  readonly doorbellStride?: number;
  /** Milliseconds from CC.EN to CSTS.RDY; 1 by default. */
  readonly readyDelay?: number;
  /** There is a volatile write cache (VWC); true by default. */
  readonly writeCache?: boolean;
  /** PCI vendor and device id; 1b36:0010 (QEMU's controller) by default. */
  readonly vendor?: number;
  readonly device?: number;
}

export type FullOptions = Required<NvmeOptions>;

/** Throws `ERR_VFIO_ARGUMENT` for what no controller could be. */
export function completeOptions(options: NvmeOptions): FullOptions {
  const queues = within('queues', options.queues ?? 64, 1, 1023);
  const doorbellStride = within('doorbellStride', options.doorbellStride ?? 4, 4, 4096);
  powerOfTwo('doorbellStride', doorbellStride);
  const messages = within('messages', options.messages ?? 1, 0, 32);
  if (messages > 0) powerOfTwo('messages', messages);
  return {
    disks: options.disks,
    namespaces: within(
      'namespaces',
      options.namespaces ?? Math.max(256, options.disks.length),
      options.disks.length,
      0xffff_fffd,
    ),
    mdts: within('mdts', options.mdts ?? 7, 0, 16),
    queues,
    queueEntries: within('queueEntries', options.queueEntries ?? 2048, 2, 65536),
    serial: text('serial', options.serial ?? 'SIM0001', 20),
    model: text('model', options.model ?? 'vfio-sim NVMe Controller', 40),
    firmware: text('firmware', options.firmware ?? '1.0', 8),
    vectors: within('vectors', options.vectors ?? queues + 1, 0, 2048),
    messages,
    pin: options.pin ?? 1,
    timeout: within('timeout', options.timeout ?? 7500, 1, 127_500),
    doorbellStride,
    readyDelay: within('readyDelay', options.readyDelay ?? 1, 0, 1_000_000),
    writeCache: options.writeCache ?? true,
    vendor: options.vendor ?? 0x1b36,
    device: options.device ?? 0x0010,
  };
}

function within(name: string, value: number, lowest: number, highest: number): number {
  if (!Number.isInteger(value) || value < lowest || value > highest) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `nvmeController: ${name} must be ${lowest} to ${highest}, not ${value}.`);
  }
  return value;
}

function powerOfTwo(name: string, value: number): void {
  if ((value & (value - 1)) !== 0) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `nvmeController: ${name} must be a power of two, not ${value}.`);
  }
}

function text(name: string, value: string, longest: number): string {
  if (value.length > longest || !/^[ -~]*$/.test(value)) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `nvmeController: ${name} must be at most ${longest} characters of ASCII.`);
  }
  return value;
}
