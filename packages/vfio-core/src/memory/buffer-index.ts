/** Finds buffers by device address and by memory. */

import type { DmaBuffer, Place } from './dma.js';

interface Entry {
  readonly start: number;
  /** Where its mapping ends: pages are whole. */
  readonly mappingEnd: number;
  readonly buffer: DmaBuffer;
}

/** The open buffers of an address space. Coming and going is cheap; the order that a look-up needs is made by the first one after. */
export class BufferIndex {
  private readonly entries = new Map<bigint, Entry>();
  private sorted: Entry[] | undefined;

  get size(): number {
    return this.entries.size;
  }

  /** @param mapped bytes */
  add(buffer: DmaBuffer, address: bigint, mapped: number): void {
    const start = Number(address);
    this.entries.set(address, { start, mappingEnd: start + mapped, buffer });
    this.sorted = undefined;
  }

  delete(buffer: DmaBuffer, address: bigint): void {
    if (this.entries.get(address)?.buffer !== buffer) return;
    this.entries.delete(address);
    this.sorted = undefined;
  }

  /** A copy: buffers may close while it is walked. */
  buffers(): DmaBuffer[] {
    return Array.from(this.entries.values(), ({ buffer }) => buffer);
  }

  at(address: bigint): Place | undefined {
    const entry = this.find(address);
    const offset = entry === undefined ? 0 : Number(address) - entry.start;
    return entry === undefined || offset >= entry.buffer.length ? undefined : { buffer: entry.buffer, offset };
  }

  /** The mapping that an address lies in; its end is exclusive. */
  mappingAt(address: bigint): { readonly start: number; readonly end: number } | undefined {
    const entry = this.find(address);
    return entry === undefined ? undefined : { start: entry.start, end: entry.mappingEnd };
  }

  /** The mapping of an open buffer; undefined for one that is not in here, though another may be at its address. */
  mappingOf(buffer: DmaBuffer): { readonly start: number; readonly end: number } | undefined {
    const { address } = buffer;
    return this.at(address)?.buffer === buffer ? this.mappingAt(address) : undefined;
  }

  private find(address: bigint): Entry | undefined {
    const wanted = Number(address);
    this.sorted ??= [...this.entries.values()].sort((a, b) => a.start - b.start);
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.sorted[middle] as Entry).start <= wanted) low = middle + 1;
      else high = middle;
    }
    const entry = this.sorted[low - 1];
    return entry === undefined || wanted >= entry.mappingEnd ? undefined : entry;
  }
}

/** The device address of byte `offset` of a view, where it lies in one of these buffers. */
export function addressIn(buffers: Iterable<DmaBuffer>, view: ArrayBufferView, offset: number): bigint | undefined {
  const wanted = view.byteOffset + offset;
  for (const buffer of buffers) {
    const { bytes } = buffer;
    const at = wanted - bytes.byteOffset;
    if (bytes.buffer !== view.buffer || at < 0 || at >= bytes.length) continue;
    return (BigInt(buffer.high(at)) << 32n) | BigInt(buffer.low(at));
  }
  return undefined;
}
