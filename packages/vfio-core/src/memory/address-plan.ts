/** Where in device addresses a mapping goes: the wishes of its maker, the page sizes of the IOMMU, and what is free. */

import { VfioError } from '../errors/error.js';
import type { AddressRange, DmaDirection, MapOptions } from './dma.js';
import { IovaAllocator } from './iova-allocator.js';
import type { MapperInfo } from './mapper.js';
import { noAddresses } from './mapping-errors.js';

/** What kernels before 5.4, which do not say it, can be relied on to translate: 39 bits are the fewest of common IOMMUs. */
const unsaid: readonly AddressRange[] = [{ start: 0n, end: 2n ** 39n - 1n }];
/** Page sizes of IOMMUs beyond this are bits of a bitmap that says "any". */
const largestPage = 2 ** 30;

const directions: readonly DmaDirection[] = ['both', 'device-reads', 'device-writes'];

const refuse = (what: string): VfioError => new VfioError('ERR_VFIO_ARGUMENT', what);

const isPower = (value: number): boolean =>
  typeof value === 'number' && value >= 1 && value <= 2 ** 52 && Number.isInteger(Math.log2(value));

/** The addresses of one space. Empty until the IOMMU has said what there is. */
export class AddressPlan {
  private iovas: IovaAllocator | undefined;
  private pageSizes = 0n;
  private page: number;
  private readonly systemPage: number;

  /** @param pageSize the system's, in bytes */
  constructor(pageSize: number) {
    this.page = pageSize;
    this.systemPage = pageSize;
  }

  /** Bytes; the granularity of mappings. */
  get pageSize(): number {
    return this.page;
  }

  /** Whether the IOMMU has said what there is. */
  get known(): boolean {
    return this.iovas !== undefined;
  }

  get ranges(): readonly AddressRange[] {
    return this.iovas?.ranges ?? [];
  }

  get largestFree(): bigint {
    return this.iovas?.largestFree ?? 0n;
  }

  /** What the IOMMU says now. What was taken stays taken. */
  update({ pageSizes, ranges = unsaid }: MapperInfo): void {
    this.pageSizes = pageSizes;
    if (this.iovas !== undefined) {
      this.iovas.setRanges(ranges);
      return;
    }
    this.page = Math.max(this.page, Number(pageSizes & -pageSizes));
    this.iovas = new IovaAllocator(ranges, this.page);
  }

  /** Throws `ERR_VFIO_ARGUMENT` for wishes that nothing can fulfil. */
  check(bytes: number, options: MapOptions, hugePages: number): void {
    const pageSize = this.page;
    const { alignment, at, below, direction = 'both' } = options;
    if (!Number.isSafeInteger(bytes) || bytes < 1) throw refuse(`${bytes} is not a number of bytes: 1 or more, whole.`);
    if (alignment !== undefined && !isPower(alignment)) {
      throw refuse(`an alignment of ${alignment} is not a power of two (a number).`);
    }
    if (hugePages !== 0 && (!isPower(hugePages) || hugePages <= this.systemPage || hugePages < pageSize)) {
      throw refuse(
        `huge pages of ${hugePages} bytes: a size is a power of two, larger than the system's pages, mostly 2 ** 21 or 2 ** 30.`,
      );
    }
    for (const address of [at, below]) {
      if (address !== undefined && typeof address !== 'bigint')
        throw refuse(`${address} is no address: write ${address}n.`);
    }
    if (at !== undefined && (at < 0n || at % BigInt(pageSize) !== 0n)) {
      throw refuse(`a device address of 0x${at.toString(16)} is not a multiple of ${pageSize}.`);
    }
    if (!directions.includes(direction)) throw refuse(`${direction} is no direction: ${directions.join(', ')}.`);
  }

  /**
   * Throws `ERR_VFIO_NO_IOVA`.
   * @param size bytes, whole pages
   */
  take(size: number, options: MapOptions): bigint {
    const iovas = this.iovas as IovaAllocator;
    const iova = this.find(iovas, BigInt(size), options);
    if (iova === undefined) throw noAddresses(size, options, iovas);
    return iova;
  }

  free(iova: bigint): void {
    this.iovas?.free(iova);
  }

  private find(iovas: IovaAllocator, size: bigint, options: MapOptions): bigint | undefined {
    const { at, below, alignment, shortLived = false } = options;
    if (at !== undefined) return iovas.take(at, size) ? at : undefined;
    const wishes = { shortLived, ...(below === undefined ? {} : { below }) };
    if (alignment !== undefined) return iovas.allocate(size, { ...wishes, alignment: BigInt(alignment) });
    // Aligned to the largest page that it fills, so that the IOMMU can use such; anywhere, where there is no such place.
    const natural = this.naturalAlignment(size);
    const aligned = natural > this.page ? iovas.allocate(size, { ...wishes, alignment: BigInt(natural) }) : undefined;
    return aligned ?? iovas.allocate(size, wishes);
  }

  private naturalAlignment(size: bigint): number {
    let page = largestPage;
    while (page > this.page && (BigInt(page) > size || (this.pageSizes & BigInt(page)) === 0n)) page /= 2;
    return page;
  }
}
