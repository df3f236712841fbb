/** A DMA buffer that lies in one piece of device addresses. */

import { MappedBuffer, type MappedParts } from './mapped-buffer.js';

export interface BufferParts extends MappedParts {
  readonly address: bigint;
}

/** {@link DmaBuffer} over any memory; contiguous for the device. Its addresses lie below 2^53, so that they are exact as numbers. */
export class ContiguousBuffer extends MappedBuffer {
  readonly contiguous = true;
  private readonly base: number;

  constructor(parts: BufferParts) {
    super(parts, parts.address);
    this.base = Number(parts.address);
  }

  // Plain number arithmetic, since drivers call these per command: `>>>` takes the low 32 bits of a whole number below 2^53,
  // and cuts the fraction of a quotient. Whoever asks for the high half asks for the low one too: that one refuses.
  low(offset: number): number {
    if (this.shut) this.refuse();
    return (this.base + offset) >>> 0;
  }

  high(offset: number): number {
    return ((this.base + offset) / 0x1_0000_0000) >>> 0;
  }
}
