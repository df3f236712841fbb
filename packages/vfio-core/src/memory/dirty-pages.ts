/** Which pages devices wrote to: a bitmap of the kernel, read. */

import { VfioError } from '../errors/error.js';
import type { AddressRange } from './dma.js';

/** Bytes of a bitmap: one bit a page, in whole words of 64 bits, as the kernel wants them. */
export const bitmapBytes = (size: bigint, pageSize: number): number =>
  8 * Number((size + 64n * BigInt(pageSize) - 1n) / (64n * BigInt(pageSize)));

/** A range of device addresses for which a bitmap is asked. */
export interface DirtyRange {
  readonly iova: bigint;
  readonly size: bigint;
  /** Bytes that one bit stands for; a power of two. */
  readonly pageSize: number;
}

/** The longest bitmap that is asked for at once: 256 MiB, 8 TiB of memory in pages of 4 KiB (the limit of type1). */
const longestBitmap = 2 ** 28;

/**
 * Bytes of the bitmap for a range.
 * Throws `ERR_VFIO_ARGUMENT` for a range that is empty, leaves 64 bits, does not consist of whole pages, or is too large.
 */
export function checkDirtyRange({ iova, size, pageSize }: DirtyRange): number {
  const power = Number.isSafeInteger(pageSize) && pageSize > 0 && Number.isInteger(Math.log2(pageSize));
  const fits = power && size > 0n && iova >= 0n && iova + size <= 2n ** 64n;
  if (fits && (iova | size) % BigInt(pageSize) === 0n) {
    const bytes = bitmapBytes(size, pageSize);
    if (bytes <= longestBitmap) return bytes;
  }
  throw new VfioError(
    'ERR_VFIO_ARGUMENT',
    `${size} bytes at 0x${iova.toString(16)} in pages of ${pageSize} are no range whose written pages can be asked for.`,
    { remedy: 'Ask for whole pages, at most 8 TiB at once.', details: { iova, size, pageSize } },
  );
}

/** Pages that devices wrote to, or may have written to. */
export class DirtyPages implements Iterable<number> {
  /** Device address of the first page. */
  readonly iova: bigint;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Pages that were asked for. */
  readonly pages: number;
  /** One bit a page, the lowest of a byte first, from {@link iova} on. */
  readonly bitmap: Uint8Array;

  /** @param bitmap `bitmapBytes` long or longer; bits behind the range do not count */
  constructor({ iova, size, pageSize }: DirtyRange, bitmap: Uint8Array) {
    this.iova = iova;
    this.pageSize = pageSize;
    this.pages = Number(size / BigInt(pageSize));
    this.bitmap = bitmap;
  }

  /** Written pages. */
  get count(): number {
    let count = 0;
    for (const _ of this) count++;
    return count;
  }

  /** Whether the page of a byte was written to. @param offset bytes from the start of the range; false outside of it */
  has(offset: number): boolean {
    const page = Math.floor(offset / this.pageSize);
    if (!(page >= 0 && page < this.pages)) return false;
    return (((this.bitmap[page >> 3] ?? 0) >> (page & 7)) & 1) === 1;
  }

  /** Offset of the first byte of each written page, from the start of the range, in order. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let at = 0; at * 8 < this.pages; at++) {
      const bits = this.bitmap[at] as number;
      for (let bit = 0; bits >> bit !== 0; bit++) {
        const page = at * 8 + bit;
        if (page >= this.pages) return;
        if (((bits >> bit) & 1) === 1) yield page * this.pageSize;
      }
    }
  }

  /** Runs of written pages as device addresses, ends inclusive. */
  *ranges(): IterableIterator<AddressRange> {
    let start = -1;
    let end = -1;
    const range = () => ({ start: this.iova + BigInt(start), end: this.iova + BigInt(end) - 1n });
    for (const offset of this) {
      if (offset !== end) {
        if (start >= 0) yield range();
        start = offset;
      }
      end = offset + this.pageSize;
    }
    if (start >= 0) yield range();
  }
}
