/** A DMA buffer whose pages lie apart in device addresses: memory without an IOMMU. */

import { MappedBuffer, type MappedParts } from './mapped-buffer.js';

export interface PagedParts extends MappedParts {
  /** Byte 0 inside its first page; 0 where there are several pages. */
  readonly start: number;
  /** Device address of each page, in order; aligned to the page's size. */
  readonly pages: readonly bigint[];
  /** Bytes of such a page. */
  readonly pageSize: number;
}

/** {@link DmaBuffer} over pages that each have an address of their own. One that fits into a page is contiguous. */
export class PagedBuffer extends MappedBuffer {
  readonly contiguous: boolean;
  private readonly pageSize: number;
  // Halves of the address of each page's first byte of this buffer, so that a driver's loop makes no bigint.
  private readonly lows: Uint32Array;
  private readonly highs: Uint32Array;

  constructor(parts: PagedParts) {
    const { start, pages, pageSize } = parts;
    const first = pages[0] as bigint;
    super(parts, first + BigInt(start));
    this.contiguous = pages.every((page, index) => page === first + BigInt(index * pageSize));
    this.pageSize = pageSize;
    this.lows = Uint32Array.from(pages, (page) => Number((page + BigInt(start)) & 0xffff_ffffn));
    this.highs = Uint32Array.from(pages, (page) => Number(page >> 32n));
  }

  // Within a page nothing is carried into the high half: pages are aligned to their size.
  low(offset: number): number {
    if (this.shut) this.refuse();
    const page = Math.floor(offset / this.pageSize);
    return (this.lows[page] ?? this.refuse(offset)) + (offset - page * this.pageSize);
  }

  high(offset: number): number {
    return this.highs[Math.floor(offset / this.pageSize)] ?? this.refuse(offset);
  }
}
