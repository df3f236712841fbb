/** Memory of the process that may be pinned for devices, page by page, however many address spaces show it. */

import { PAGE, type Segment } from '../address-space.js';
import { ByteStore } from '../byte-store.js';
import { EFAULT, ENOMEM } from '../errno.js';
import type { Machine } from '../machine.js';

/** Who is charged for pinned pages: nobody (CAP_IPC_LOCK), the user, or the process as type1 does ([IFD-27]). */
export type Accounting = 'none' | 'user' | 'process';

interface PinnedPage {
  readonly segment: Segment;
  users: number;
}

/** Where pages come from. */
export interface PageSource {
  /** Address of the first page, as far as it has one: device addresses are aligned alike. */
  readonly base: bigint;
  /** A page by its number; undefined where there is none. */
  readonly page: (number: number) => Segment | undefined;
  /** It is a file, and does not depend on the process. */
  readonly isFile: boolean;
}

/** Memory of the process from the page of this address on. */
export function processPages({ memory: { space } }: Machine, address: bigint): PageSource {
  const base = address - (address % BigInt(PAGE));
  const page = (number: number) => space.segments(base + BigInt(number) * BigInt(PAGE), BigInt(PAGE))?.[0];
  return { base, page, isFile: false };
}

export class Pages {
  private readonly pinned = new Map<number, PinnedPage>();

  constructor(
    private readonly machine: Machine,
    private readonly source: PageSource,
    /** Devices may write there. */
    readonly writable: boolean,
    private readonly accounting: Accounting,
  ) {}

  get isFile(): boolean {
    return this.source.isFile;
  }

  /** Address in the process of a byte. */
  addressOf(byte: bigint): bigint {
    return this.source.base + byte;
  }

  /** Pins the pages of some bytes: what stands behind them from the first page's beginning on, or a negative errno. */
  pin(start: bigint, length: bigint): Segment[] | number {
    const { first, last } = pagesOf(start, length);
    const fresh = this.read(first, last);
    if (typeof fresh === 'number') return fresh;
    if (!this.charge(fresh.size)) return -ENOMEM;
    for (const [page, segment] of fresh) this.pinned.set(page, { segment, users: 0 });
    const segments: Segment[] = [];
    for (let page = first; page <= last; page++) {
      const found = this.pinned.get(page) as PinnedPage;
      found.users++;
      append(segments, found.segment);
    }
    return segments;
  }

  unpin(start: bigint, length: bigint): void {
    const { first, last } = pagesOf(start, length);
    let gone = 0;
    for (let page = first; page <= last; page++) {
      const found = this.pinned.get(page) as PinnedPage;
      if (--found.users > 0) continue;
      this.pinned.delete(page);
      gone++;
    }
    this.charge(-gone);
  }

  /** Those pages that are not pinned yet. Device memory cannot be ([IFD-26]). */
  private read(first: number, last: number): Map<number, Segment> | number {
    const found = new Map<number, Segment>();
    for (let page = first; page <= last; page++) {
      if (this.pinned.has(page)) continue;
      const segment = this.source.page(page);
      if (segment === undefined || !(segment.store instanceof ByteStore)) return -EFAULT;
      if (segment.readOnly && this.writable) return -EFAULT;
      found.set(page, segment);
    }
    return found;
  }

  /** Counts pages as pinned, and as locked where somebody is charged; whole pages of the limit. */
  private charge(pages: number): boolean {
    const { machine, accounting } = this;
    const bytes = pages * PAGE;
    const limit = Math.floor(machine.memlock / PAGE) * PAGE;
    if (accounting === 'user') {
      if (bytes > 0 && machine.userLockedBytes + bytes > limit) return false;
      machine.userLockedBytes += bytes;
    } else if (accounting === 'process') {
      if (bytes > 0 && machine.lockedBytes + bytes > limit) return false;
      machine.lockedBytes += bytes;
    }
    machine.pinnedBytes += bytes;
    return true;
  }
}

function pagesOf(start: bigint, length: bigint): { first: number; last: number } {
  const page = BigInt(PAGE);
  return { first: Number(start / page), last: Number((start + length - 1n) / page) };
}

/** One more piece, joined to the last one where it goes on there. */
function append(segments: Segment[], next: Segment): void {
  const before = segments.at(-1);
  if (before !== undefined && before.store === next.store && before.offset + before.length === next.offset) {
    segments[segments.length - 1] = { ...before, length: before.length + next.length };
  } else segments.push(next);
}
