/** A DMA buffer whose pages lie apart in device addresses: memory without an IOMMU. */

import { VfioError } from '../errors/error.js';
import type { DmaAddress, DmaBuffer, DmaTicket } from './dma.js';

export interface PagedParts {
  readonly bytes: Uint8Array;
  /** Byte 0 inside its first page; 0 where there are several pages. */
  readonly start: number;
  /** Device address of each page, in order; aligned to the page's size. */
  readonly pages: readonly bigint[];
  /** Bytes of such a page. */
  readonly pageSize: number;
  readonly ticket: DmaTicket;
  /** Unmaps from the device's reach, then frees. */
  readonly release: () => void;
}

/** {@link DmaBuffer} over pages that each have an address of their own. One that fits into a page is contiguous. */
export class PagedBuffer implements DmaBuffer {
  bytes: Uint8Array;
  readonly length: number;
  readonly address: DmaAddress;
  readonly contiguous: boolean;
  private readonly pageSize: number;
  // Halves of the address of each page's first byte of this buffer, so that a driver's loop makes no bigint.
  private readonly lows: Uint32Array;
  private readonly highs: Uint32Array;
  private readonly ticket: DmaTicket;
  private readonly release: () => void;
  private shut = false;

  constructor({ bytes, start, pages, pageSize, ticket, release }: PagedParts) {
    const first = pages[0] as bigint;
    this.bytes = bytes;
    this.length = bytes.length;
    this.address = first + BigInt(start);
    this.contiguous = pages.every((page, index) => page === first + BigInt(index * pageSize));
    this.pageSize = pageSize;
    this.lows = Uint32Array.from(pages, (page) => Number((page + BigInt(start)) & 0xffff_ffffn));
    this.highs = Uint32Array.from(pages, (page) => Number(page >> 32n));
    this.ticket = ticket;
    this.release = release;
  }

  get closed(): boolean {
    return this.shut;
  }

  // Within a page nothing is carried into the high half: pages are aligned to their size.
  low(offset: number): number {
    const page = Math.floor(offset / this.pageSize);
    return (this.lows[page] as number) + (offset - page * this.pageSize);
  }

  high(offset: number): number {
    return this.highs[Math.floor(offset / this.pageSize)] as number;
  }

  share(): DmaTicket {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the buffer was closed.');
    return this.ticket;
  }

  close(): void {
    if (this.shut) return;
    this.shut = true;
    try {
      this.release();
    } finally {
      this.bytes = new Uint8Array(0);
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
