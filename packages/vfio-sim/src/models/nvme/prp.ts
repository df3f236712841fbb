/** Physical region pages, how a command says where its data is: NVMe 1.4, section 4.3. */

import type { DeviceBus } from '../../model/contract.js';
import { permanent, Status } from './status.js';

/** One contiguous piece of host memory. */
export interface Segment {
  readonly address: bigint;
  readonly length: number;
}

/** Where a command's data is, or the status that says what is wrong with what the host wrote. */
export type Segments = { readonly segments: readonly Segment[] } | { readonly status: number };

/**
 * Resolves PRP1 and PRP2 for `length` bytes.
 *
 * PRP1 may start inside a page. What is left goes to PRP2 if it fits into one page, else PRP2 points at a list, which may start inside a
 * page and goes on, in the last entry of a page, with a pointer to the next list page. All other entries are page addresses.
 */
export function resolvePrps(bus: DeviceBus, prp1: bigint, prp2: bigint, length: number, pageSize: number): Segments {
  const list = new SegmentList();
  const offset = Number(prp1 % BigInt(pageSize));
  if (offset % 4 !== 0) return { status: permanent(Status.invalidPrpOffset) };
  let left = length - list.add(prp1, Math.min(length, pageSize - offset));
  if (left === 0) return list;
  if (left <= pageSize) {
    if (prp2 % BigInt(pageSize) !== 0n) return { status: permanent(Status.invalidPrpOffset) };
    list.add(prp2, left);
    return list;
  }
  if (prp2 % 8n !== 0n) return { status: permanent(Status.invalidPrpOffset) };

  let next = prp2;
  while (left > 0) {
    const room = (pageSize - Number(next % BigInt(pageSize))) / 8;
    const wanted = Math.ceil(left / pageSize);
    const entries = new DataView(new ArrayBuffer(Math.min(room, wanted) * 8));
    if (!bus.dmaRead(next, new Uint8Array(entries.buffer))) return { status: permanent(Status.dataTransferError) };
    // The last entry of a full page is a pointer to the next one if there is more data than it could name itself.
    const chained = wanted > room;
    const data = chained ? room - 1 : wanted;
    for (let i = 0; i < data; i++) {
      const entry = entries.getBigUint64(i * 8, true);
      if (entry % BigInt(pageSize) !== 0n) return { status: permanent(Status.invalidPrpOffset) };
      left -= list.add(entry, Math.min(left, pageSize));
    }
    if (!chained) break;
    next = entries.getBigUint64((room - 1) * 8, true);
    if (next % BigInt(pageSize) !== 0n) return { status: permanent(Status.invalidPrpOffset) };
  }
  return list;
}

/** Copies host memory into `into`. False where the host's memory cannot be reached. */
export function gather(bus: DeviceBus, segments: readonly Segment[], into: Uint8Array): boolean {
  let done = 0;
  for (const { address, length } of segments) {
    if (!bus.dmaRead(address, into.subarray(done, done + length))) return false;
    done += length;
  }
  return true;
}

/** Copies `from` into host memory. False where the host's memory cannot be reached. */
export function scatter(bus: DeviceBus, segments: readonly Segment[], from: Uint8Array): boolean {
  let done = 0;
  for (const { address, length } of segments) {
    if (!bus.dmaWrite(address, from.subarray(done, done + length))) return false;
    done += length;
  }
  return true;
}

/** Neighbouring pages become one piece: one access instead of many. */
class SegmentList {
  readonly segments: { address: bigint; length: number }[] = [];

  add(address: bigint, length: number): number {
    const last = this.segments[this.segments.length - 1];
    if (last !== undefined && last.address + BigInt(last.length) === address) last.length += length;
    else this.segments.push({ address, length });
    return length;
  }
}
