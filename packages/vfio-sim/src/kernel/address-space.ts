/** The process's memory as the kernel knows it: invented addresses, and what stands behind each. */

import { ByteStore } from './byte-store.js';

/** A run of bytes of a store or of a device. */
export interface Segment {
  readonly store: ByteStore | DeviceMemory;
  readonly offset: number;
  readonly length: number;
  /** The process may not write there. */
  readonly readOnly?: true;
}

/** A device's region as memory: what a mapped BAR is ([T1-27]). */
export interface DeviceMemory {
  readonly length: number;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
}

interface Area {
  readonly start: bigint;
  readonly length: number;
  readonly store: ByteStore | DeviceMemory;
  readonly offset: number;
  readonly readOnly?: true;
}

export const PAGE = 4096;
/** A page of the simulated program itself: readable only. */
const PROGRAM = 0x5000_0000n;
/** Where mmap of the simulated process begins to hand out addresses; below it there is the program alone. */
const FIRST = 0x7f00_0000_0000n;

export class AddressSpace {
  private readonly areas: Area[] = [
    { start: PROGRAM, length: PAGE, store: new ByteStore(PAGE), offset: 0, readOnly: true },
  ];
  private top = FIRST;
  private readonly foreign = new WeakMap<object, bigint>();

  /**
   * Gives a range an address. Each is followed by an unmapped page, so that running over an end is noticed.
   * @param alignment of the address, a power of two
   * @param writable whether the process may write there
   */
  add(store: ByteStore | DeviceMemory, offset: number, length: number, alignment = PAGE, writable = true): bigint {
    const mask = BigInt(alignment) - 1n;
    const start = (this.top + mask) & ~mask;
    this.areas.push({ start, length, store, offset, ...(!writable && { readOnly: true as const }) });
    this.top = start + BigInt(Math.ceil(length / PAGE) * PAGE + PAGE);
    return start;
  }

  remove(start: bigint): void {
    const index = this.areas.findIndex((area) => area.start === start);
    if (index >= 0) this.areas.splice(index, 1);
  }

  /** The address of memory that the program brought along, always the same for the same memory. */
  addressOf(buffer: ArrayBufferLike): bigint {
    const known = this.foreign.get(buffer);
    if (known !== undefined) return known;
    const address = this.add(ByteStore.over(buffer), 0, buffer.byteLength, 0x10000);
    this.foreign.set(buffer, address);
    return address;
  }

  lend(bytes: Uint8Array): { address: bigint; end: () => void } {
    const store = ByteStore.over(bytes.buffer);
    const address = this.add(store, bytes.byteOffset, bytes.byteLength);
    return { address, end: () => this.remove(address) };
  }

  /** What stands behind a range; undefined (EFAULT) if a part of it is not mapped. */
  segments(address: bigint, length: bigint): Segment[] | undefined {
    const found: Segment[] = [];
    let at = address;
    const end = address + length;
    while (at < end) {
      const area = this.at(at);
      if (area === undefined) return undefined;
      const inside = Number(at - area.start);
      const rest = Math.min(roundUp(area.length) - inside, Number(end - at));
      const { store, offset, readOnly } = area;
      // Behind the end of a file that was cut there are no pages.
      if (store instanceof ByteStore && offset + inside + rest > roundUp(store.length)) return undefined;
      found.push({ store, offset: offset + inside, length: rest, ...(readOnly && { readOnly }) });
      at += BigInt(rest);
    }
    return found;
  }

  private at(address: bigint): Area | undefined {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.areas[middle] as Area).start <= address) low = middle + 1;
      else high = middle;
    }
    const area = this.areas[low - 1];
    return area !== undefined && address < area.start + BigInt(roundUp(area.length)) ? area : undefined;
  }
}

const roundUp = (length: number): number => Math.ceil(length / PAGE) * PAGE;
