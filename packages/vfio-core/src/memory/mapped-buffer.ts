/** What all DMA buffers have in common: they end, and are shared. */

import { VfioError } from '../errors/error.js';
import type { DmaAddress, DmaBuffer, DmaTicket } from './dma.js';
import { BufferLife } from './life.js';

/** What every buffer is made of. */
export interface MappedParts {
  readonly bytes: Uint8Array;
  /** By default that of `bytes`; registers of another device have no bytes here. */
  readonly length?: number;
  /** Without its `life`, for a buffer that this thread owns. Undefined for memory that has no descriptor of ours. */
  readonly ticket: DmaTicket | undefined;
  /** Unmaps from the device's reach, then frees. */
  readonly release: () => void;
}

/** {@link DmaBuffer}, but for how the memory lies in device addresses. */
export abstract class MappedBuffer implements DmaBuffer {
  bytes: Uint8Array;
  readonly length: number;
  abstract readonly contiguous: boolean;
  private readonly start: bigint;
  private readonly ticket: DmaTicket | undefined;
  private readonly release: () => void;
  private life: BufferLife | undefined;
  protected shut = false;

  protected constructor({ bytes, length = bytes.length, ticket, release }: MappedParts, address: bigint) {
    this.bytes = bytes;
    this.length = length;
    this.start = address;
    this.ticket = ticket;
    this.release = release;
    this.life = ticket?.life === undefined ? undefined : new BufferLife(ticket.life);
  }

  abstract low(offset: number): number;
  abstract high(offset: number): number;

  get closed(): boolean {
    return this.shut || this.life?.ended === true;
  }

  get address(): DmaAddress {
    if (this.closed) this.refuse();
    return this.start;
  }

  /** Whether a view of it is open, in whichever thread. */
  get viewed(): boolean {
    return this.life?.viewed ?? false;
  }

  share(): DmaTicket {
    if (this.closed) this.refuse();
    if (this.ticket === undefined) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', "the program's own memory has no ticket.", {
        remedy:
          'Post the memory itself (a shared WebAssembly.Memory) to the other thread, or use memory of allocate().',
      });
    }
    this.life ??= new BufferLife();
    return { ...this.ticket, life: this.life.shared };
  }

  close(): void {
    if (this.shut) return;
    this.shut = true;
    // An owner's ticket says nothing of its life: that comes with sharing.
    if (this.ticket?.life === undefined) this.life?.end();
    try {
      this.release();
    } finally {
      this.bytes = new Uint8Array(0);
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** No address is to be had. */
  protected refuse(offset = 0): never {
    if (!this.closed) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `byte ${offset} lies outside of a buffer of ${this.length} bytes.`);
    }
    throw new VfioError('ERR_VFIO_CLOSED', 'the buffer was closed: its device address may be that of another by now.', {
      remedy: 'Keep a buffer open until every command on it has completed.',
    });
  }
}
