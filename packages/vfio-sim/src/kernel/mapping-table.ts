/** Mappings in the order of their device addresses. */

import type { Segment } from './address-space.js';

/** What it takes to have a place in the table. */
interface Placed {
  readonly iova: bigint;
  /** First address behind it. */
  readonly end: bigint;
}

export interface Mapping extends Placed {
  readonly flags: number;
  readonly pinned: readonly Segment[];
  /** Bytes counted as locked. */
  readonly locked: number;
  /** The process's address of it was declared void ([T1-45]). */
  void: boolean;
  /** Pages written since somebody asked, bit 0 for the first page; kept while pages are tracked. */
  dirty: bigint;
}

export class MappingTable<M extends Placed = Mapping> {
  private readonly mappings: M[] = [];
  private last: M | undefined;

  [Symbol.iterator](): IterableIterator<M> {
    return this.mappings[Symbol.iterator]();
  }

  /** `mapping` overlaps no other. */
  add(mapping: M): void {
    this.mappings.splice(this.placeFor(mapping.iova), 0, mapping);
  }

  remove(mapping: M): void {
    this.mappings.splice(this.mappings.indexOf(mapping), 1);
    this.last = undefined;
  }

  overlapping(iova: bigint, end: bigint): M[] {
    const found: M[] = [];
    for (let index = Math.max(0, this.placeFor(iova) - 1); index < this.mappings.length; index++) {
      const mapping = this.mappings[index] as M;
      if (mapping.iova >= end) break;
      if (mapping.end > iova) found.push(mapping);
    }
    return found;
  }

  at(address: bigint): M | undefined {
    const { last } = this;
    if (last !== undefined && last.iova <= address && address < last.end) return last;
    const mapping = this.mappings[this.placeFor(address) - 1];
    if (mapping === undefined || address >= mapping.end) return undefined;
    this.last = mapping;
    return mapping;
  }

  /** Index of the first mapping that begins behind `iova`. */
  private placeFor(iova: bigint): number {
    let low = 0;
    let high = this.mappings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.mappings[middle] as M).iova <= iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
