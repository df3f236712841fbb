/**
 * Bitmaps of pages that a device wrote, section 4.5 of the behaviours. The devices here pin nothing themselves, so every mapped
 * page counts as written, each time somebody asks ([T1-50]).
 */

import type { AddressSpace, Segment } from './address-space.js';
import { EFAULT } from './errno.js';
import type { Mapping } from './mapping-table.js';
import { MAX_BITMAP } from './type1-info.js';

/** A bitmap of the process, as `struct vfio_bitmap` describes it. */
export interface UserBitmap {
  /** Bytes that one bit stands for. */
  readonly pageSize: bigint;
  /** Bytes of the bitmap. */
  readonly size: bigint;
  readonly address: bigint;
}

/** `struct vfio_bitmap` at an offset of a structure. */
export const bitmapAt = (view: DataView, offset: number): UserBitmap => ({
  pageSize: view.getBigUint64(offset, true),
  size: view.getBigUint64(offset + 8, true),
  address: view.getBigUint64(offset + 16, true),
});

/** Whether it can hold a bit for each page of `bytes`. */
export function holds({ pageSize, size }: UserBitmap, bytes: bigint): boolean {
  if (pageSize === 0n) return false;
  const pages = bytes / (pageSize & -pageSize);
  const needed = ((pages + 63n) / 64n) * 8n;
  return pages > 0n && size > 0n && size <= BigInt(MAX_BITMAP) && size >= needed;
}

/** The lowest bits, up to whole words of 64. */
const wordsOf = (bits: bigint): bigint => ((bits + 63n) / 64n) * 64n;

/**
 * Reports a mapping; bit 0 of the bitmap stands for `base`. As Linux does it, in whole words of 64 bits: the mapping's own bits are
 * moved to their place in the word and stay moved, and what the word had before is taken into them. So a mapping that does not
 * begin with a word reports more than its pages from the second time on ([T1-50]). 0, or EFAULT where the process has no such
 * memory.
 */
export function report(space: AddressSpace, bitmap: UserBitmap, mapping: Mapping, base: bigint): number {
  const first = (mapping.iova - base) / bitmap.pageSize;
  const count = (mapping.end - mapping.iova) / bitmap.pageSize;
  const before = first % 64n;
  const span = wordsOf(before + count);
  const segments = space.segments(bitmap.address + (first / 64n) * 8n, span / 8n);
  if (segments === undefined) return -EFAULT;
  mapping.dirty |= (1n << count) - 1n;
  if (before > 0n) {
    const moved = BigInt.asUintN(Number(span), mapping.dirty << before);
    mapping.dirty = ((mapping.dirty >> span) << span) | moved | readWord(segments[0]);
  }
  const bytes = bytesOf(mapping.dirty, Number(span / 8n));
  let done = 0;
  for (const { store, offset, length } of segments) {
    store.write(offset, bytes.subarray(done, done + length));
    done += length;
  }
  mapping.dirty = (mapping.dirty >> count) << count;
  return 0;
}

function readWord(segment: Segment | undefined): bigint {
  const word = new Uint8Array(8);
  if (segment !== undefined) segment.store.read(segment.offset, word);
  return new DataView(word.buffer).getBigUint64(0, true);
}

/** Bytes of a number, lowest first. */
function bytesOf(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let rest = value;
  for (let at = 0; at < length; at += 8, rest >>= 64n) view.setBigUint64(at, BigInt.asUintN(64, rest), true);
  return bytes;
}
