/** The type1 IOMMU model: mappings of device addresses to pinned memory, section 4 of the behaviours. */

import { PAGE, type Segment } from './address-space.js';
import { addCapabilities, type UserArgument } from './argument.js';
import { ByteStore } from './byte-store.js';
import { EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC, ENOTTY, EPERM } from './errno.js';
import type { DmaFault } from './log.js';
import type { Machine } from './machine.js';
import type { DmaDomain } from './pci/function.js';

/** Values of SET_IOMMU and of CHECK_EXTENSION. Source: linux/vfio.h. */
export const Extension = { TYPE1: 1, TYPE1v2: 3, DMA_CC: 4, TYPE1_NESTING: 6, NOIOMMU: 8, UNMAP_ALL: 9 } as const;

const READ = 1;
const WRITE = 2;
const UNMAP_ALL = 2;
const TOP = 1n << 64n;
/** Page sizes of an Intel IOMMU with large pages: 4 KiB, 2 MiB, 1 GiB. */
const PAGE_SIZES = 0x4020_1000n;

interface Mapping {
  readonly iova: bigint;
  readonly end: bigint;
  readonly flags: number;
  readonly pinned: readonly Segment[];
  /** Bytes counted as locked. */
  readonly locked: number;
}

/** One mapping, as {@link Type1.list} shows it. */
export interface MappingFacts {
  readonly iova: bigint;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
}

export class Type1 implements DmaDomain {
  private readonly mappings: Mapping[] = [];
  private last: Mapping | undefined;
  private available: number;

  constructor(
    private readonly machine: Machine,
    private readonly type: number,
  ) {
    this.available = machine.parameters.vfio_iommu_type1.dma_entry_limit;
  }

  /** CHECK_EXTENSION; `set` says whether a container has this model ([CTR-8]). */
  static extension(machine: Machine, number: number, set: boolean): number {
    if (number === Extension.TYPE1 || number === Extension.TYPE1v2) return 1;
    if (number === Extension.TYPE1_NESTING) return machine.kernel.since('7.2') ? 0 : 1; // [CTR-21]
    if (number === Extension.DMA_CC) return set ? 1 : 0;
    if (number === Extension.UNMAP_ALL) return machine.kernel.since('5.12') ? 1 : 0;
    return 0;
  }

  /** Whether a group may come under this model: 0 or a negative errno ([T1-2]). */
  static admits(machine: Machine): number {
    const safe = machine.iommu?.interruptRemapping || machine.parameters.vfio_iommu_type1.allow_unsafe_interrupts;
    if (safe) return 0;
    machine.log.add(
      'vfio_iommu_type1_attach_group: No interrupt remapping support.  Use the module param "allow_unsafe_interrupts" to enable VFIO IOMMU support on this platform',
    );
    return -EPERM;
  }

  get list(): MappingFacts[] {
    return this.mappings.map(({ iova, end, flags }) => ({
      iova,
      size: Number(end - iova),
      read: (flags & READ) !== 0,
      write: (flags & WRITE) !== 0,
    }));
  }

  /** Usable device addresses: all that the IOMMU translates but the MSI window ([T1-14]). */
  get ranges(): [bigint, bigint][] {
    const top = (1n << BigInt(this.machine.iommu?.addressBits ?? 48)) - 1n;
    return [
      [0n, 0xfedf_ffffn],
      [0xfef0_0000n, top],
    ];
  }

  ioctl(request: number, argument: UserArgument): number {
    if (request === 0x3b70) return this.getInfo(argument);
    if (request === 0x3b71) return this.map(argument);
    if (request === 0x3b72) return this.unmap(argument);
    return -ENOTTY;
  }

  resolve(address: bigint, write: boolean): Segment | DmaFault['reason'] {
    const mapping = this.find(address);
    if (mapping === undefined) return 'unmapped';
    if ((mapping.flags & (write ? WRITE : READ)) === 0) return 'protection';
    let inside = Number(address - mapping.iova);
    for (const segment of mapping.pinned) {
      if (inside < segment.length) {
        return { store: segment.store, offset: segment.offset + inside, length: segment.length - inside };
      }
      inside -= segment.length;
    }
    return 'unmapped';
  }

  /** The last group left: everything goes ([T1-8]). */
  clear(): void {
    for (const mapping of this.mappings.splice(0)) this.unpin(mapping);
    this.last = undefined;
  }

  private getInfo(argument: UserArgument): number {
    const view = argument.view(16);
    if (view === undefined) return -EFAULT;
    const size = view.getUint32(0, true);
    if (size < 16) return -EINVAL;
    const { kernel } = this.machine;
    const chained = kernel.since('5.4');
    view.setUint32(4, 1, true);
    view.setBigUint64(8, kernel.since('5.4') ? PAGE_SIZES : 0xffff_ffff_ffff_f000n, true);
    if (!chained) return 0;
    if (size >= 20 && argument.view(20)) view.setUint32(16, 0, true);
    const chain: { id: number; version: number; body: Uint8Array }[] = [];
    if (kernel.since('5.8')) chain.push({ id: 2, version: 1, body: words64(0n, BigInt(PAGE), 0x1000_0000n) });
    if (kernel.since('5.10'))
      chain.push({ id: 3, version: 1, body: Uint8Array.from(words64(BigInt(this.available)).subarray(0, 4)) });
    const { ranges } = this;
    chain.push({ id: 1, version: 1, body: words64(BigInt(ranges.length), ...ranges.flat()) });
    addCapabilities(argument, { size: 24, offsetField: 16, flag: 2 }, chain, kernel.since('6.6') ? 8 : 1);
    return 0;
  }

  private map(argument: UserArgument): number {
    const view = argument.view(32);
    if (view === undefined) return -EFAULT;
    const flags = view.getUint32(4, true);
    if (view.getUint32(0, true) < 32 || (flags & ~(READ | WRITE)) !== 0) return -EINVAL;
    const vaddr = view.getBigUint64(8, true);
    const iova = view.getBigUint64(16, true);
    const size = view.getBigUint64(24, true);
    if (flags === 0) return -EINVAL;
    if (size === 0n || ((size | iova | vaddr) & BigInt(PAGE - 1)) !== 0n) return -EINVAL;
    if (iova + size > TOP || vaddr + size > TOP) return -EINVAL;
    const end = iova + size;
    if (this.overlapping(iova, end).length > 0) return -EEXIST;
    const { kernel } = this.machine;
    if (kernel.since('5.1') && this.available === 0) return -ENOSPC;
    if (kernel.since('5.4') && !this.ranges.some(([first, last]) => iova >= first && end - 1n <= last)) return -EINVAL;
    const pinned = this.machine.memory.space.segments(vaddr, size);
    if (pinned === undefined) return -EFAULT;
    const locked = pinned.reduce((sum, { store, length }) => sum + (store instanceof ByteStore ? length : 0), 0);
    if (!this.lock(locked)) return -ENOMEM;
    const mapping = { iova, end, flags, pinned, locked };
    this.mappings.splice(this.placeFor(iova), 0, mapping);
    this.available--;
    return 0;
  }

  private unmap(argument: UserArgument): number {
    const view = argument.view(24);
    if (view === undefined) return -EFAULT;
    const flags = view.getUint32(4, true);
    const all = (flags & UNMAP_ALL) !== 0 && this.machine.kernel.since('5.12');
    if (view.getUint32(0, true) < 24 || (flags & ~(all ? UNMAP_ALL : 0)) !== 0) return -EINVAL;
    const iova = view.getBigUint64(8, true);
    let size = view.getBigUint64(16, true);
    const pageMask = BigInt(PAGE - 1);
    if ((iova & pageMask) !== 0n) return -EINVAL;
    if (all) {
      if (iova !== 0n || size !== 0n) return -EINVAL;
      size = TOP;
    } else if (size === 0n || (size & pageMask) !== 0n) return -EINVAL;
    else if (iova + size > TOP && this.machine.kernel.since('4.10')) return -EINVAL;
    const end = iova + size;
    const touched = this.overlapping(iova, end);
    const version2 = this.type !== Extension.TYPE1;
    if (version2 && touched.some((mapping) => mapping.iova < iova || mapping.end > end)) return -EINVAL;
    let unmapped = 0n;
    for (const mapping of touched) {
      // v1 stops at a mapping that begins before the range ([T1-41]) and takes whole ones that end behind it ([T1-42]).
      if (mapping.iova < iova) break;
      this.mappings.splice(this.mappings.indexOf(mapping), 1);
      this.unpin(mapping);
      this.available++;
      unmapped += mapping.end - mapping.iova;
    }
    this.last = undefined;
    view.setBigUint64(16, unmapped, true);
    return 0;
  }

  private lock(bytes: number): boolean {
    const { machine } = this;
    const total = machine.lockedBytes + bytes;
    if (total > machine.memlock && !machine.rights.ipcLock) {
      machine.log.add(`vfio_pin_pages_remote: RLIMIT_MEMLOCK (${machine.memlock}) exceeded`);
      return false;
    }
    machine.lockedBytes = total;
    return true;
  }

  private unpin(mapping: Mapping): void {
    this.machine.lockedBytes -= mapping.locked;
  }

  private overlapping(iova: bigint, end: bigint): Mapping[] {
    const found: Mapping[] = [];
    for (let index = Math.max(0, this.placeFor(iova) - 1); index < this.mappings.length; index++) {
      const mapping = this.mappings[index] as Mapping;
      if (mapping.iova >= end) break;
      if (mapping.end > iova) found.push(mapping);
    }
    return found;
  }

  private find(address: bigint): Mapping | undefined {
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
      if ((this.mappings[middle] as Mapping).iova <= iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function words64(...values: bigint[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    view.setBigUint64(8 * index, value, true);
  });
  return bytes;
}
