/**
 * Physical Region Pages: how a command says where its data is.
 * Source: NVM Express Base 1.4, section 4.3 (Physical Region Page Entry and List).
 *
 * PRP1 is the address of the first byte, anywhere in its page. Every further entry is the start of a page. One more page
 * fits into PRP2; with more, PRP2 is the address of a list of them. Each slot has a list of its own, made once, so that an
 * I/O allocates nothing.
 */

import type { DmaBuffer } from 'vfio-core';
import { MOST_BLOCKS, SMALLEST_BLOCK } from './commands.js';

/** Bytes of a PRP entry. */
export const PRP_BYTES = 8;

/**
 * Bytes of one slot's list, for transfers of up to `maxTransfer` bytes from any offset in a page. A power of two, so that no
 * list crosses a page: a list that does would have to be chained.
 */
export function listBytes(maxTransfer: number, pageSize: number): number {
  const needed = Math.ceil(maxTransfer / pageSize) * PRP_BYTES;
  return Math.min(pageSize, 2 ** Math.ceil(Math.log2(Math.max(needed, PRP_BYTES))));
}

/**
 * The largest transfer, bytes: its list fits into one page, whatever the offset of its first byte, and a command can say how
 * many blocks it has, whatever their size.
 */
export const largestTransfer = (pageSize: number): number =>
  Math.min((pageSize / PRP_BYTES) * pageSize, MOST_BLOCKS * SMALLEST_BLOCK);

/** The PRP lists of all slots of a queue. */
export class PrpLists {
  private readonly words: Uint32Array;
  private readonly wordsPerSlot: number;
  private readonly pageMask: number;

  /**
   * @param memory the lists, one after the other; need not be contiguous
   * @param bytesPerSlot of {@link listBytes}
   * @param pageSize memory page size of the controller (CC.MPS), in bytes
   */
  constructor(
    private readonly memory: DmaBuffer,
    private readonly bytesPerSlot: number,
    private readonly pageSize: number,
  ) {
    this.words = new Uint32Array(memory.bytes.buffer, memory.bytes.byteOffset, memory.length >>> 2);
    this.wordsPerSlot = bytesPerSlot >>> 2;
    this.pageMask = pageSize - 1;
  }

  /**
   * Writes PRP1 and PRP2 into a command for `bytes` bytes at `offset` of `buffer`. The caller has checked that the range is
   * inside the buffer, starts at a multiple of 4, and is no longer than the queue's largest transfer.
   *
   * @param entries the submission queue, `at` the command's first word in it
   */
  point(entries: Uint32Array, at: number, slot: number, buffer: DmaBuffer, offset: number, bytes: number): void {
    const low = buffer.low(offset);
    entries[at + 6] = low;
    entries[at + 7] = buffer.high(offset);
    const first = this.pageSize - (low & this.pageMask);
    if (bytes <= first) {
      entries[at + 8] = 0;
      entries[at + 9] = 0;
      return;
    }
    if (bytes <= first + this.pageSize) {
      entries[at + 8] = buffer.low(offset + first);
      entries[at + 9] = buffer.high(offset + first);
      return;
    }
    const { words, pageSize } = this;
    let word = slot * this.wordsPerSlot;
    for (let page = offset + first; page < offset + bytes; page += pageSize) {
      words[word] = buffer.low(page);
      words[word + 1] = buffer.high(page);
      word += 2;
    }
    const list = slot * this.bytesPerSlot;
    entries[at + 8] = this.memory.low(list);
    entries[at + 9] = this.memory.high(list);
  }
}
