/** The type1 IOMMU of a container: which device addresses lead to which memory. Source: linux/vfio.h. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check } from '../errors/system-error.js';
import type { Mapper, MapRequest } from '../memory/mapper.js';
import type { ExitStep, SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl } from '../uapi/constants.js';
import { decodeType1Info, type Type1Info } from '../uapi/replies.js';
import { decode, encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import type { Container } from './container.js';

/** Replies with capabilities are a few hundred bytes; a kernel that wants more than this is not believed. */
const longestReply = 1 << 20;

/** Maps and unmaps on a container whose IOMMU model is type1 (1, 3 or 6). No policy: that is `Type1Space`. */
export class Type1 implements Mapper {
  readonly container: Container;

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
      this.call('VFIO_IOMMU_GET_INFO', bytes);
      const { argsz } = decode(struct, bytes);
      if (argsz <= bytes.length || argsz > longestReply) break;
      bytes = encode(struct, {}, argsz);
    }
    return decodeType1Info(bytes);
  }

  /** Throws `ERR_VFIO_MAPPING`, `ERR_VFIO_NO_MEMORY` ([T1-16] to [T1-33]). */
  map(request: MapRequest): void {
    const system = this.container.system;
    this.mapped(system.ioctl(this.container.fd, Ioctl.VFIO_IOMMU_MAP_DMA, mapBytes(request)), request);
  }

  /** As {@link map}, off the main thread: the kernel takes and clears every page, which takes long for large ones. */
  async mapAsync(request: MapRequest): Promise<void> {
    const system = this.container.system;
    this.mapped(await system.ioctlAsync(this.container.fd, Ioctl.VFIO_IOMMU_MAP_DMA, mapBytes(request)), request);
  }

  /**
   * Unmaps all mappings that lie in a range; a range that would cut one is refused with `ERR_VFIO_MAPPING` ([T1-35] to [T1-40]).
   * @returns bytes unmapped
   */
  unmap({ iova, size }: { readonly iova: bigint; readonly size: bigint | number }): bigint {
    const bytes = encode(structs.vfio_iommu_type1_dma_unmap, { iova, size: BigInt(size) });
    this.call('VFIO_IOMMU_UNMAP_DMA', bytes, { code: 'ERR_VFIO_MAPPING', details: { iova, size } });
    return decode(structs.vfio_iommu_type1_dma_unmap, bytes).size;
  }

  /** Unmaps everything ([T1-44]; on kernels before 5.12, the whole range that a version 2 container unmaps at once, [T1-38]). */
  unmapAll(): bigint {
    const bytes = this.unmapAllBytes();
    this.call('VFIO_IOMMU_UNMAP_DMA', bytes, { code: 'ERR_VFIO_MAPPING' });
    return decode(structs.vfio_iommu_type1_dma_unmap, bytes).size;
  }

  unmapAllStep(): ExitStep {
    const { fd } = this.container;
    return { call: 'ioctl', fd, request: Ioctl.VFIO_IOMMU_UNMAP_DMA, bytes: this.unmapAllBytes() };
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
    check(result, {
      what: `mapping ${size} bytes at device address 0x${iova.toString(16)}`,
      syscall: 'ioctl',
      request: 'VFIO_IOMMU_MAP_DMA',
      path: this.container.path,
      code: result === -Errno.ENOMEM ? 'ERR_VFIO_NO_MEMORY' : 'ERR_VFIO_MAPPING',
      details: { iova, size },
    });
  }

  private call(request: keyof typeof Ioctl, argument: Uint8Array, facts: CallFacts = {}): number {
    const { container } = this;
    if (container.closed) throw new VfioError('ERR_VFIO_CLOSED', 'the container was closed.', { request });
    const result = container.system.ioctl(container.fd, Ioctl[request], argument);
    return check(result, { syscall: 'ioctl', request, path: container.path, ...facts });
  }
}

function mapBytes({ iova, address, size, read, write }: MapRequest): Uint8Array {
  const flags = (read ? constants.VFIO_DMA_MAP_FLAG_READ : 0) | (write ? constants.VFIO_DMA_MAP_FLAG_WRITE : 0);
  return encode(structs.vfio_iommu_type1_dma_map, { flags, vaddr: address, iova, size: BigInt(size) });
}
