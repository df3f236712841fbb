/** The type1 IOMMU of a container: which device addresses lead to which memory. Source: linux/vfio.h. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check, systemError } from '../errors/system-error.js';
import { checkDirtyRange, DirtyPages, type DirtyRange } from '../memory/dirty-pages.js';
import type { Mapper, MapRequest } from '../memory/mapper.js';
import type { ExitStep, IoctlPlaces, SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl } from '../uapi/constants.js';
import { decodeType1Info, type Type1Info } from '../uapi/replies.js';
import { decode, encode, StructBytes } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import type { Container } from './container.js';

/** Replies with capabilities are a few hundred bytes; a kernel that wants more than this is not believed. */
const longestReply = 1 << 20;

/** Maps and unmaps on a container whose IOMMU model is type1 (1, 3 or 6). No policy: that is `Type1Space`. */
export class Type1 implements Mapper {
  readonly container: Container;
  private readonly mapCall = new StructBytes(structs.vfio_iommu_type1_dma_map);
  private readonly unmapCall = new StructBytes(structs.vfio_iommu_type1_dma_unmap);

  constructor(container: Container) {
    this.container = container;
  }

  get system(): SystemCalls {
    return this.container.system;
  }

  /** Page sizes, usable ranges, room left ([T1-9] to [T1-15]). */
  info(): Type1Info {
    const struct = structs.vfio_iommu_type1_info;
    let bytes = encode(struct);
    // Once to ask for the length of the chain, once to have it; once more if a device joined in between.
    for (let round = 0; round < 3; round++) {
      this.call('VFIO_IOMMU_GET_INFO', bytes, {
        codes: { EINVAL: 'ERR_VFIO_ARGUMENT' },
        means: { EINVAL: 'the container has no IOMMU model yet' },
      });
      const { argsz } = decode(struct, bytes);
      if (argsz <= bytes.length) return decodeType1Info(bytes);
      if (argsz > longestReply) break;
      bytes = encode(struct, {}, argsz);
    }
    // Without the chain the ranges would be missing, and addresses be given out that devices cannot use.
    throw new VfioError('ERR_VFIO_MALFORMED', 'the kernel’s description of the IOMMU does not come to an end.', {
      syscall: 'ioctl',
      request: 'VFIO_IOMMU_GET_INFO',
      path: this.container.path,
      details: { argsz: decode(struct, bytes).argsz, room: bytes.length },
    });
  }

  /** Throws `ERR_VFIO_MAPPING`, `ERR_VFIO_NO_MEMORY` ([T1-16] to [T1-33]). */
  map(request: MapRequest): void {
    const { system } = this.usable('VFIO_IOMMU_MAP_DMA');
    const bytes = this.mapCall.set(mapValues(request));
    this.mapped(system.ioctl(this.container.fd, Ioctl.VFIO_IOMMU_MAP_DMA, bytes), request);
  }

  /** As {@link map}, off the main thread: the kernel takes and clears every page, which takes long for large ones. */
  async mapAsync(request: MapRequest): Promise<void> {
    const { system } = this.usable('VFIO_IOMMU_MAP_DMA');
    const bytes = encode(structs.vfio_iommu_type1_dma_map, mapValues(request));
    this.mapped(await system.ioctlAsync(this.container.fd, Ioctl.VFIO_IOMMU_MAP_DMA, bytes), request);
  }

  /**
   * Unmaps all mappings that lie in a range; a range that would cut one is refused with `ERR_VFIO_MAPPING` ([T1-35] to [T1-40]).
   * @returns bytes unmapped
   */
  unmap({ iova, size }: { readonly iova: bigint; readonly size: bigint | number }): bigint {
    const request = 'VFIO_IOMMU_UNMAP_DMA';
    const { system, fd, path } = this.usable(request);
    const result = system.ioctl(fd, Ioctl[request], this.unmapCall.set({ iova, size: BigInt(size) }));
    if (result >= 0) return this.unmapCall.get('size');
    throw systemError(result, { syscall: 'ioctl', request, path, code: 'ERR_VFIO_MAPPING', details: { iova, size } });
  }

  /** Unmaps everything ([T1-44]; on kernels before 5.12, the whole range that a version 2 container unmaps at once, [T1-38]). */
  unmapAll(): bigint {
    const bytes = this.unmapAllBytes();
    this.call('VFIO_IOMMU_UNMAP_DMA', bytes, { code: 'ERR_VFIO_MAPPING' });
    return decode(structs.vfio_iommu_type1_dma_unmap, bytes).size;
  }

  /**
   * As {@link unmap}, and tells what devices wrote there: of mappings that end, this is the last chance ([T1-46]). Tracking must be on,
   * and the range be mapped as one.
   */
  unmapReadingDirty(range: DirtyRange): { readonly unmapped: bigint; readonly dirty: DirtyPages } {
    const struct = structs.vfio_iommu_type1_dma_unmap;
    const { iova, size } = range;
    const bitmap = new Uint8Array(checkDirtyRange(range));
    const bytes = encode(
      struct,
      { flags: constants.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, iova, size },
      struct.size + structs.vfio_bitmap.size,
    );
    bytes.set(describeBitmap(range, bitmap), struct.size);
    const places = { pointers: [{ at: struct.size + structs.vfio_bitmap.fields.data.offset, bytes: bitmap }] };
    this.call('VFIO_IOMMU_UNMAP_DMA', bytes, { code: 'ERR_VFIO_MAPPING', details: { iova, size } }, places);
    return { unmapped: decode(struct, bytes).size, dirty: new DirtyPages(range, bitmap) };
  }

  /**
   * Marks the memory behind mappings as about to move to another address, or to another process that gets this container. They stay, and
   * so do their pages, for devices; but each needs {@link replaceAddress} before a device can be attached ([T1-45], [T1-7]).
   * Needs extension 10 (`VFIO_UPDATE_VADDR`, since 5.12), else `ERR_VFIO_NOT_SUPPORTED`.
   * @param range whole mappings; all of them without
   * @returns bytes so marked
   */
  invalidateAddresses(range?: { readonly iova: bigint; readonly size: bigint | number }): bigint {
    const struct = structs.vfio_iommu_type1_dma_unmap;
    this.needAddressUpdates();
    const bytes =
      range === undefined
        ? encode(struct, { flags: constants.VFIO_DMA_UNMAP_FLAG_VADDR | constants.VFIO_DMA_UNMAP_FLAG_ALL })
        : encode(struct, { flags: constants.VFIO_DMA_UNMAP_FLAG_VADDR, iova: range.iova, size: BigInt(range.size) });
    this.call('VFIO_IOMMU_UNMAP_DMA', bytes, {
      code: 'ERR_VFIO_MAPPING',
      means: { EINVAL: 'a mapping was so marked before, or reaches over an end of the range' },
      details: { ...range },
    });
    return decode(struct, bytes).size;
  }

  /**
   * Says where the memory behind a mapping is now, after {@link invalidateAddresses}. It must be the same memory ([T1-45]).
   * Throws `ERR_VFIO_MAPPING` for what is no mapping exactly, or was not marked.
   */
  replaceAddress({
    iova,
    size,
    address,
  }: {
    readonly iova: bigint;
    readonly size: number;
    readonly address: bigint;
  }): void {
    this.needAddressUpdates();
    const flags = constants.VFIO_DMA_MAP_FLAG_VADDR;
    const bytes = encode(structs.vfio_iommu_type1_dma_map, { flags, vaddr: address, iova, size: BigInt(size) });
    this.call('VFIO_IOMMU_MAP_DMA', bytes, {
      what: `moving the memory behind ${size} bytes at device address 0x${iova.toString(16)}`,
      code: 'ERR_VFIO_MAPPING',
      codes: { ENOMEM: 'ERR_VFIO_MEMLOCK' },
      means: {
        ENOENT: 'nothing is mapped there',
        EINVAL: 'it is not one mapping exactly, or was not marked before',
        ENOMEM: 'the limit on locked memory (RLIMIT_MEMLOCK) of this process is too small',
      },
      details: { iova, size, address },
    });
  }

  /** Begins to keep track of what devices write ([T1-47], [T1-48]). `ERR_VFIO_NOT_SUPPORTED` before 5.8, and by way of an iommufd. */
  startDirtyTracking(): void {
    this.dirtyPages(constants.VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
  }

  stopDirtyTracking(): void {
    this.dirtyPages(constants.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
  }

  /**
   * Pages that devices may have written to, of a range whose ends are ends of mappings: with devices that do not say it, all that are
   * mapped ([T1-49], [T1-50]). Of a range of several mappings kernels say more than that from the second time on; ask for one at a time.
   * @param range in pages of the smallest size
   */
  readDirty(range: DirtyRange): DirtyPages {
    const head = structs.vfio_iommu_type1_dirty_bitmap;
    const body = structs.vfio_iommu_type1_dirty_bitmap_get;
    const { iova, size } = range;
    const bitmap = new Uint8Array(checkDirtyRange(range));
    const bytes = encode(head, { flags: constants.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP }, head.size + body.size);
    const at = head.size + body.fields.bitmap.offset;
    bytes.set(encode(body, { iova, size }), head.size);
    bytes.set(describeBitmap(range, bitmap), at);
    const places = { pointers: [{ at: at + structs.vfio_bitmap.fields.data.offset, bytes: bitmap }] };
    const means = { EINVAL: 'tracking is off, or an end of the range is no end of a mapping' };
    this.call('VFIO_IOMMU_DIRTY_PAGES', bytes, { code: 'ERR_VFIO_MAPPING', means, details: { ...range } }, places);
    return new DirtyPages(range, bitmap);
  }

  unmapAllStep(): ExitStep {
    const { fd } = this.container;
    return { call: 'ioctl', fd, request: Ioctl.VFIO_IOMMU_UNMAP_DMA, bytes: this.unmapAllBytes() };
  }

  private dirtyPages(flags: number): void {
    this.call('VFIO_IOMMU_DIRTY_PAGES', encode(structs.vfio_iommu_type1_dirty_bitmap, { flags }), {
      what: 'tracking of written pages',
      codes: { ENOTTY: 'ERR_VFIO_NOT_SUPPORTED', EACCES: 'ERR_VFIO_NOT_SUPPORTED' },
      means: {
        ENOTTY: 'the kernel is too old (before 5.8), or an iommufd stands in the place of the container',
        EACCES: 'a container of type1 version 1 has none',
      },
    });
  }

  private needAddressUpdates(): void {
    if (this.container.extension(constants.VFIO_UPDATE_VADDR) > 0) return;
    throw new VfioError(
      'ERR_VFIO_NOT_SUPPORTED',
      'the kernel cannot move the memory behind mappings of this container.',
      {
        remedy: 'It takes Linux 5.12 or later, type1 (no iommufd in its place), and no mediated device.',
        syscall: 'ioctl',
        request: 'VFIO_CHECK_EXTENSION',
        path: this.container.path,
        answer: '0',
      },
    );
  }

  private unmapAllBytes(): Uint8Array {
    const struct = structs.vfio_iommu_type1_dma_unmap;
    if (this.container.extension(constants.VFIO_UNMAP_ALL) > 0) {
      return encode(struct, { flags: constants.VFIO_DMA_UNMAP_FLAG_ALL });
    }
    // Up to and without the last page of the 64-bit space, which kernels of that time cannot handle ([T1-22]); nothing of ours is there.
    return encode(struct, { iova: 0n, size: 2n ** 64n - BigInt(this.container.system.pageSize) });
  }

  private mapped(result: number, { iova, size }: MapRequest): void {
    // The words for a refusal cost as much as the call: only where there is one.
    if (result >= 0) return;
    check(result, {
      what: `mapping ${size} bytes at device address 0x${iova.toString(16)}`,
      syscall: 'ioctl',
      request: 'VFIO_IOMMU_MAP_DMA',
      path: this.container.path,
      code: result === -Errno.ENOMEM ? 'ERR_VFIO_NO_MEMORY' : 'ERR_VFIO_MAPPING',
      details: { iova, size },
    });
  }

  private usable(request: string): Container {
    if (this.container.closed) throw new VfioError('ERR_VFIO_CLOSED', 'the container was closed.', { request });
    return this.container;
  }

  private call(request: keyof typeof Ioctl, argument: Uint8Array, facts: CallFacts = {}, places?: IoctlPlaces): number {
    const container = this.usable(request);
    const result = container.system.ioctl(container.fd, Ioctl[request], argument, places);
    return check(result, { syscall: 'ioctl', request, path: container.path, ...facts });
  }
}

function mapValues({ iova, address, size, read, write }: MapRequest) {
  const flags = (read ? constants.VFIO_DMA_MAP_FLAG_READ : 0) | (write ? constants.VFIO_DMA_MAP_FLAG_WRITE : 0);
  return { flags, vaddr: address, iova, size: BigInt(size) };
}

/** `struct vfio_bitmap`, without its address. */
const describeBitmap = ({ pageSize }: DirtyRange, bitmap: Uint8Array): Uint8Array =>
  encode(structs.vfio_bitmap, { pgsize: BigInt(pageSize), size: BigInt(bitmap.length) });
