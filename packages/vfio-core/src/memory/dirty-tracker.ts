/** What devices wrote while somebody watched: of an address space as a whole. */

import { VfioError } from '../errors/error.js';
import type { BufferIndex } from './buffer-index.js';
import { DirtyPages, type DirtyRange } from './dirty-pages.js';
import type { DmaBuffer } from './dma.js';

/** The kernel's part of it. */
export interface DirtySource {
  /** Bytes that one bit stands for. */
  readonly pageSize: number;
  /** Whether pages count as written because a device wrote them. A container says it of all that is mapped ([T1-50]). */
  readonly exact: boolean;
  /** Whole mappings only. */
  read(range: DirtyRange, clear: boolean): DirtyPages;
  stop(): void;
}

/** Device addresses of one buffer. */
export interface TrackedRange {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

export interface ReadDirtyOptions {
  /** False leaves the pages written, for the next that asks. True by default. By container it makes no difference. */
  readonly clear?: boolean;
}

/** From `space.trackDirty()`. */
export class DirtyTracker {
  /** Bytes of a page. */
  readonly pageSize: number;
  /**
   * Whether pages count as written because a device wrote them. False by container: there every mapped page does, since ordinary
   * devices do not say what they write.
   */
  readonly exact: boolean;
  private readonly source: DirtySource;
  private readonly index: BufferIndex;
  private over = false;

  /** @internal */
  constructor(source: DirtySource, index: BufferIndex) {
    this.pageSize = source.pageSize;
    this.exact = source.exact;
    this.source = source;
    this.index = index;
  }

  get stopped(): boolean {
    return this.over;
  }

  /**
   * Pages that devices wrote to since they were asked for before, or since the tracker began.
   * Throws `ERR_VFIO_ARGUMENT` for what is no buffer of this space, or no part of one; `ERR_VFIO_CLOSED` once stopped.
   * @param what a buffer, or a part of one, which is widened to whole pages
   */
  read(what: DmaBuffer | TrackedRange, { clear = true }: ReadDirtyOptions = {}): DirtyPages {
    if (this.over) throw new VfioError('ERR_VFIO_CLOSED', 'the tracking of written pages was stopped.');
    const size = 'bytes' in what ? what.length : what.size;
    const { address } = what;
    const place = 'bytes' in what ? this.index.mappingOf(what) : this.index.mappingAt(address);
    if (place === undefined || !Number.isSafeInteger(size) || size < 1 || Number(address) + size > place.end) {
      const where = `${size} bytes at 0x${address.toString(16)}`;
      throw new VfioError('ERR_VFIO_ARGUMENT', `${where} are not in one buffer of this address space.`, {
        details: { address, size },
      });
    }
    const { pageSize } = this;
    const start = place.start;
    const from = Math.floor((Number(address) - start) / pageSize);
    const to = Math.ceil((Number(address) + size - start) / pageSize);
    const whole = { iova: BigInt(start), size: BigInt(place.end - start), pageSize };
    const part = {
      iova: BigInt(start + from * pageSize),
      size: BigInt((to - from) * pageSize),
      pageSize,
    };
    if (this.source.exact || part.size === whole.size) return this.source.read(part, clear);
    return slice(this.source.read(whole, clear), from, part);
  }

  /** Idempotent. */
  stop(): void {
    if (this.over) return;
    this.over = true;
    this.source.stop();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** A part of a bitmap, beginning with page `from`. */
function slice(pages: DirtyPages, from: number, part: DirtyRange): DirtyPages {
  const count = Number(part.size / BigInt(part.pageSize));
  const bitmap = new Uint8Array(8 * Math.ceil(count / 64));
  for (let page = 0; page < count; page++) {
    if (pages.has((from + page) * part.pageSize)) bitmap[page >> 3] = (bitmap[page >> 3] as number) | (1 << (page & 7));
  }
  return new DirtyPages(part, bitmap);
}
