/**
 * Memory that is not tied to where it is mapped: a memfd, a file on hugetlbfs, anonymous memory.
 *
 * The bytes live in extents. While an extent is mapped the program holds a view of its buffer; when the last mapping goes, the
 * buffer is transferred, which detaches the program's views (a later access finds nothing, as after a real munmap) and keeps the
 * contents. What a device has pinned is named by store and offset, and so survives all of that.
 */

import { EINVAL, ENOMEM } from './errno.js';

interface Extent {
  readonly offset: number;
  buffer: ArrayBufferLike;
  /** Mappings that look at it. */
  users: number;
}

/** A mapped part of a store. */
export interface StoreView {
  readonly bytes: Uint8Array;
  /** Detaches the bytes if nobody else maps them. */
  end(): void;
}

export class ByteStore {
  private extents: Extent[] = [];
  private last: Extent | undefined;

  /** @param length bytes */
  constructor(public length: number) {}

  /** A store over memory that somebody else owns and that stays where it is. */
  static over(buffer: ArrayBufferLike): ByteStore {
    const store = new ByteStore(buffer.byteLength);
    store.extents = [{ offset: 0, buffer, users: 1 }];
    return store;
  }

  /**
   * Maps a range for the program. A range may lie inside one that is mapped already, and then shares its bytes; it may not cover more than a
   * mapped one, because a JavaScript buffer cannot grow in place (-ENOMEM).
   */
  map(offset: number, length: number): StoreView | number {
    if (offset < 0 || length <= 0 || offset + length > this.length) return -EINVAL;
    const around = this.extents.find((extent) => extent.offset <= offset && endOf(extent) >= offset + length);
    const extent = around ?? this.join(offset, length);
    if (extent === undefined) return -ENOMEM;
    extent.users++;
    const bytes = new Uint8Array(extent.buffer, offset - extent.offset, length);
    let ended = false;
    return {
      bytes,
      end: () => {
        if (ended) return;
        ended = true;
        if (--extent.users === 0 && extent.buffer instanceof ArrayBuffer) extent.buffer = detach(extent.buffer);
      },
    };
  }

  read(offset: number, into: Uint8Array): void {
    const first = this.at(offset);
    const inside = offset - (first?.offset ?? 0);
    if (first !== undefined && inside + into.length <= first.buffer.byteLength) {
      into.set(new Uint8Array(first.buffer, inside, into.length));
      return;
    }
    into.fill(0);
    for (const extent of this.extents) {
      const start = Math.max(offset, extent.offset);
      const end = Math.min(offset + into.length, endOf(extent));
      if (start < end) into.set(new Uint8Array(extent.buffer, start - extent.offset, end - start), start - offset);
    }
  }

  write(offset: number, from: Uint8Array): void {
    let done = 0;
    while (done < from.length) {
      const extent = this.at(offset + done) ?? this.populate(offset + done, from.length - done);
      const inside = offset + done - extent.offset;
      const length = Math.min(from.length - done, extent.buffer.byteLength - inside);
      new Uint8Array(extent.buffer, inside, length).set(from.subarray(done, done + length));
      done += length;
    }
  }

  /** Gives a range back; it reads zero afterwards. */
  punch(offset: number, length: number): void {
    this.last = undefined;
    const kept: Extent[] = [];
    for (const extent of this.extents) {
      const start = Math.max(offset, extent.offset);
      const end = Math.min(offset + length, endOf(extent));
      if (start >= end) {
        kept.push(extent);
      } else if (extent.users > 0) {
        new Uint8Array(extent.buffer, start - extent.offset, end - start).fill(0);
        kept.push(extent);
      } else {
        kept.push(...outside(extent, start, end));
      }
    }
    this.extents = kept;
  }

  truncate(length: number): void {
    if (length < this.length) this.punch(length, this.length - length);
    this.length = length;
  }

  /** The extent that holds a byte. */
  private at(offset: number): Extent | undefined {
    const { last } = this;
    if (last !== undefined && last.offset <= offset && offset < endOf(last)) return last;
    let low = 0;
    let high = this.extents.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.extents[middle] as Extent).offset <= offset) low = middle + 1;
      else high = middle;
    }
    const found = this.extents[low - 1];
    if (found === undefined || offset >= endOf(found)) return undefined;
    this.last = found;
    return found;
  }

  /** Fresh zeroed memory in a hole, up to the next extent. */
  private populate(offset: number, length: number): Extent {
    const next = this.extents.find((extent) => extent.offset > offset)?.offset ?? Number.POSITIVE_INFINITY;
    return this.insert({ offset, buffer: new ArrayBuffer(Math.min(length, next - offset)), users: 0 });
  }

  /** One extent for a range, made of what is there; undefined if a part of it is mapped. */
  private join(offset: number, length: number): Extent | undefined {
    const end = offset + length;
    const touched = this.extents.filter((extent) => extent.offset < end && endOf(extent) > offset);
    if (touched.some((extent) => extent.users > 0)) return undefined;
    const joined: Extent = { offset, buffer: new ArrayBuffer(length), users: 0 };
    // Only what is there is touched: a fresh page of 1 GiB is as much memory as was written to it.
    if (touched.length > 0) this.read(offset, new Uint8Array(joined.buffer));
    const rest = touched.flatMap((extent) => outside(extent, offset, end));
    this.extents = this.extents.filter((extent) => !touched.includes(extent)).concat(rest);
    return this.insert(joined);
  }

  private insert(extent: Extent): Extent {
    this.last = undefined;
    this.extents.push(extent);
    this.extents.sort((a, b) => a.offset - b.offset);
    return extent;
  }
}

const endOf = (extent: Extent): number => extent.offset + extent.buffer.byteLength;

/** The parts of an extent before `start` and after `end`, as extents of their own. */
function outside(extent: Extent, start: number, end: number): Extent[] {
  const parts: Extent[] = [];
  if (extent.offset < start) {
    parts.push({ offset: extent.offset, buffer: extent.buffer.slice(0, start - extent.offset), users: 0 });
  }
  if (endOf(extent) > end) parts.push({ offset: end, buffer: extent.buffer.slice(end - extent.offset), users: 0 });
  return parts;
}

/** The same bytes in another buffer; every view of the old one is left with nothing. */
function detach(buffer: ArrayBuffer): ArrayBuffer {
  return structuredClone(buffer, { transfer: [buffer] });
}
