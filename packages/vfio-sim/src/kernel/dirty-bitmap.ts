/**
 * Bitmaps of pages that a device wrote, section 4.5 of the behaviours. The devices here pin nothing themselves, so every mapped
 * page counts as written, each time somebody asks ([T1-50]).
 */

import type { AddressSpace } from './address-space.js';
import { ByteStore } from './byte-store.js';
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

/**
 * Sets the bits of a mapping; bit 0 stands for `base`. Whole words of 64 bits are written: bits before the mapping stay, bits
 * behind it in its last word become 0. 0, or EFAULT where the process has no such memory.
 */
export function report(space: AddressSpace, bitmap: UserBitmap, { iova, end }: Mapping, base: bigint): number {
  const first = (iova - base) / bitmap.pageSize;
  const count = Number((end - iova) / bitmap.pageSize);
  const before = Number(first % 64n);
  const bytes = new Uint8Array(8 * Math.ceil((before + count) / 64));
  const address = bitmap.address + (first / 64n) * 8n;
  const segments = space.segments(address, BigInt(bytes.length));
  if (segments === undefined) return -EFAULT;
  const [start] = segments;
  if (start?.store instanceof ByteStore) start.store.read(start.offset, bytes.subarray(0, Math.ceil(before / 8)));
  if (before % 8 !== 0) (bytes[before >> 3] as number) &= (1 << (before % 8)) - 1;
  for (let bit = before; bit < before + count; bit++) (bytes[bit >> 3] as number) |= 1 << (bit % 8);
  let done = 0;
  for (const { store, offset, length } of segments) {
    store.write(offset, bytes.subarray(done, done + length));
    done += length;
  }
  return 0;
}
