/** A DMA buffer that lies in one piece of device addresses. */

import { VfioError } from '../errors/error.js';
import type { DmaAddress, DmaBuffer, DmaTicket } from './dma.js';

export interface BufferParts {
  readonly bytes: Uint8Array;
  readonly address: bigint;
  /** Undefined for memory that has no descriptor. */
  readonly ticket: DmaTicket | undefined;
  /** Unmaps from the device's reach, then frees. */
  readonly release: () => void;
}

/** {@link DmaBuffer} over any memory; contiguous for the device. Its addresses lie below 2^53, so that they are exact as numbers. */
export class ContiguousBuffer implements DmaBuffer {
  bytes: Uint8Array;
  readonly length: number;
  readonly address: DmaAddress;
  readonly contiguous = true;
  private readonly base: number;
  private readonly ticket: DmaTicket | undefined;
  private readonly release: () => void;
  private shut = false;

  constructor({ bytes, address, ticket, release }: BufferParts) {
    this.bytes = bytes;
    this.length = bytes.length;
    this.address = address;
    this.base = Number(address);
    this.ticket = ticket;
    this.release = release;
  }

  get closed(): boolean {
    return this.shut;
  }

  // Plain number arithmetic, since drivers call these per command: `>>>` takes the low 32 bits of a whole number below 2^53,
  // and cuts the fraction of a quotient.
  low(offset: number): number {
    return (this.base + offset) >>> 0;
  }

  high(offset: number): number {
    return ((this.base + offset) / 0x1_0000_0000) >>> 0;
  }

  share(): DmaTicket {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the buffer was closed.');
    if (this.ticket === undefined) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', "the program's own memory has no ticket.", {
        remedy: 'Post the memory itself (a shared WebAssembly.Memory) to the other thread.',
      });
    }
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
