/** The type1 IOMMU model: mappings of device addresses to pinned memory, section 4 of the behaviours. */

import { PAGE, type Segment } from './address-space.js';
import type { UserArgument } from './argument.js';
import { ByteStore } from './byte-store.js';
import { bitmapAt, holds, report, type UserBitmap } from './dirty-bitmap.js';
import { EACCES, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTTY, EOVERFLOW, EPERM } from './errno.js';
import { type AddressRange, bottomOf, pageSizes, reservedFor, smallest, topOf, usableRanges } from './iommu-reach.js';
import type { DmaFault } from './log.js';
import type { Machine } from './machine.js';
import { type Mapping, MappingTable } from './mapping-table.js';
import type { DmaDomain } from './pci/function.js';
import { getInfo } from './type1-info.js';

/** Values of SET_IOMMU and of CHECK_EXTENSION. Source: linux/vfio.h. */
export const Extension = {
  TYPE1: 1,
  TYPE1v2: 3,
  DMA_CC: 4,
  TYPE1_NESTING: 6,
  NOIOMMU: 8,
  UNMAP_ALL: 9,
  UPDATE_VADDR: 10,
} as const;

const READ = 1;
const WRITE = 2;
const MAP_VADDR = 4;
const UNMAP_DIRTY = 1;
const UNMAP_ALL = 2;
const UNMAP_VADDR = 4;
const TOP = 1n << 64n;

/** One mapping, as {@link Type1.list} shows it. */
export interface MappingFacts {
  readonly iova: bigint;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
}

/** A group as far as this model looks at it. */
interface Member {
  readonly members: readonly { readonly address: string }[];
}

export class Type1 implements DmaDomain {
  private readonly mappings = new MappingTable();
  private readonly groups = new Set<Member>();
  private available: number;
  private tracking = false;

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
    if (number === Extension.DMA_CC) return set && machine.iommu?.coherent ? 1 : 0;
    if (number === Extension.UNMAP_ALL) return machine.kernel.since('5.12') ? 1 : 0;
    if (number === Extension.UPDATE_VADDR) return set && machine.kernel.since('5.12') ? 1 : 0; // [T1-45]
    return 0;
  }

  get list(): MappingFacts[] {
    return [...this.mappings].map(({ iova, end, flags }) => ({
      iova,
      size: Number(end - iova),
      read: (flags & READ) !== 0,
      write: (flags & WRITE) !== 0,
    }));
  }

  ioctl(request: number, argument: UserArgument): number {
    const { ranges, available } = this;
    if (request === 0x3b70) return getInfo(this.machine, argument, { ranges, available });
    if (request === 0x3b71) return this.map(argument);
    if (request === 0x3b72) return this.unmap(argument);
    if (request === 0x3b75 && this.machine.kernel.since('5.8')) return this.dirtyPages(argument);
    return -ENOTTY;
  }

  /** Takes a group in: 0 or a negative errno. */
  attach(group: Member): number {
    const { machine, mappings } = this;
    if ([...mappings].some((mapping) => mapping.void)) return -EBUSY; // [T1-7]
    if (this.type === Extension.TYPE1_NESTING && !machine.iommu?.nesting) return -EINVAL; // [T1-4]
    const reserved = reservedFor(machine, addressesOf([group]));
    const conflict = reserved.some(([first, last]) => mappings.overlapping(first, last + 1n).length > 0);
    if (conflict && machine.kernel.since('5.4')) return -EINVAL; // [T1-6]
    const { interruptRemapping } = machine.iommu ?? {};
    if (!interruptRemapping && !machine.parameters.vfio_iommu_type1.allow_unsafe_interrupts) {
      machine.log.add(
        'vfio_iommu_type1_attach_group: No interrupt remapping support.  Use the module param "allow_unsafe_interrupts" to enable VFIO IOMMU support on this platform',
      );
      return -EPERM; // [T1-2]
    }
    this.groups.add(group);
    return 0;
  }

  /** Lets a group go; with the last one everything goes ([T1-8]). */
  detach(group: Member): void {
    this.groups.delete(group);
    if (this.groups.size === 0) for (const mapping of [...this.mappings]) this.remove(mapping);
  }

  resolve(address: bigint, write: boolean): Segment | DmaFault['reason'] {
    const mapping = this.mappings.at(address);
    if (mapping === undefined) return 'unmapped';
    if ((mapping.flags & (write ? WRITE : READ)) === 0) return 'protection';
    let inside = Number(address - mapping.iova);
    for (const { store, offset, length } of mapping.pinned) {
      if (inside < length) return { store, offset: offset + inside, length: length - inside };
      inside -= length;
    }
    return 'unmapped';
  }

  private get ranges(): AddressRange[] {
    return usableRanges(this.machine, addressesOf(this.groups));
  }

  /** Bytes that addresses and sizes are multiples of. */
  private get granule(): bigint {
    return smallest(pageSizes(this.machine));
  }

  private map(argument: UserArgument): number {
    const view = argument.view(32);
    if (view === undefined) return -EFAULT;
    const { kernel } = this.machine;
    const flags = view.getUint32(4, true);
    const known = READ | WRITE | (kernel.since('5.12') ? MAP_VADDR : 0);
    if (view.getUint32(0, true) < 32 || (flags & ~known) !== 0) return -EINVAL;
    const vaddr = view.getBigUint64(8, true);
    const iova = view.getBigUint64(16, true);
    const size = view.getBigUint64(24, true);
    const wraps = iova + size > TOP || vaddr + size > TOP;
    if (kernel.since('6.18') && size !== 0n && wraps) return -EOVERFLOW; // [T1-20], [T1-21]
    const setVaddr = (flags & MAP_VADDR) !== 0;
    if (((flags & (READ | WRITE)) !== 0) === setVaddr) return -EINVAL;
    if (size === 0n || ((size | iova | vaddr) & (this.granule - 1n)) !== 0n || wraps) return -EINVAL;
    const [first] = this.mappings.overlapping(iova, iova + size);
    if (setVaddr) return this.setVaddr(first, iova, size);
    if (first !== undefined) return -EEXIST;
    if (kernel.since('5.1') && this.available === 0) return -ENOSPC;
    const end = iova + size;
    if (kernel.since('5.4') && !this.ranges.some(([low, high]) => iova >= low && end - 1n <= high)) return -EINVAL;
    return this.pin(vaddr, iova, end, flags);
  }

  /** [T1-45]: a void mapping gets an address again. The pages are pinned, so nothing else changes. */
  private setVaddr(mapping: Mapping | undefined, iova: bigint, size: bigint): number {
    if (mapping === undefined) return -ENOENT;
    if (!mapping.void || mapping.iova !== iova || mapping.end !== iova + size) return -EINVAL;
    mapping.void = false;
    return 0;
  }

  private pin(vaddr: bigint, iova: bigint, end: bigint, flags: number): number {
    const { machine } = this;
    const pinned = machine.memory.space.segments(vaddr, end - iova);
    if (pinned === undefined) return -EFAULT;
    if ((flags & WRITE) !== 0 && pinned.some(({ readOnly }) => readOnly)) return -EFAULT;
    const locked = pinned.reduce((sum, { store, length }) => sum + (store instanceof ByteStore ? length : 0), 0);
    if (!this.lock(locked)) return -ENOMEM;
    if (end > topOf(machine) || iova < bottomOf(machine)) {
      // [T1-32]: Intel's driver, asked to translate more bits than it has.
      machine.lockedBytes -= locked;
      return -EFAULT;
    }
    this.mappings.add({ iova, end, flags, pinned, locked, void: false, dirty: 0n });
    this.available--;
    return 0;
  }

  /** Counts pages as locked; the limit counts whole pages ([T1-29]). */
  private lock(bytes: number): boolean {
    const { machine } = this;
    const limit = Math.floor(machine.memlock / PAGE) * PAGE;
    const total = machine.lockedBytes + bytes;
    if (bytes > 0 && total > limit && !machine.rights.ipcLock) {
      const name = machine.kernel.since('4.10') ? 'vfio_pin_pages_remote' : 'vfio_pin_pages';
      machine.log.add(`${name}: RLIMIT_MEMLOCK (${limit}) exceeded`);
      return false;
    }
    machine.lockedBytes = total;
    return true;
  }

  private remove(mapping: Mapping): void {
    this.mappings.remove(mapping);
    this.machine.lockedBytes -= mapping.locked;
    this.available++;
  }

  private unmap(argument: UserArgument): number {
    const view = argument.view(24);
    if (view === undefined) return -EFAULT;
    const { kernel } = this.machine;
    const flags = view.getUint32(4, true);
    const known = (kernel.since('5.8') ? UNMAP_DIRTY : 0) | (kernel.since('5.12') ? UNMAP_ALL | UNMAP_VADDR : 0);
    if (view.getUint32(0, true) < 24 || (flags & ~known) !== 0) return -EINVAL;
    const iova = view.getBigUint64(8, true);
    const size = view.getBigUint64(16, true);
    let bitmap: UserBitmap | undefined;
    if ((flags & UNMAP_DIRTY) !== 0) {
      if ((flags & ~UNMAP_DIRTY) !== 0 || view.getUint32(0, true) < 48) return -EINVAL;
      if (argument.view(48) === undefined) return -EFAULT;
      bitmap = bitmapAt(view, 24);
      if (!holds(bitmap, size)) return -EINVAL;
    }
    const all = (flags & UNMAP_ALL) !== 0;
    const mask = this.granule - 1n;
    if ((iova & mask) !== 0n) return -EINVAL;
    if (all ? iova !== 0n || size !== 0n : size === 0n || (size & mask) !== 0n) return -EINVAL;
    if (iova + size > TOP && kernel.since('4.10')) return kernel.since('6.18') ? -EOVERFLOW : -EINVAL; // [T1-36]
    if (bitmap !== undefined && (!this.tracking || bitmap.pageSize !== this.granule)) return -EINVAL;
    const unmapped = this.leave(iova, all ? TOP : iova + size, (flags & UNMAP_VADDR) !== 0, bitmap);
    if (typeof unmapped === 'number') return unmapped;
    view.setBigUint64(16, unmapped, true);
    return 0;
  }

  /** Removes the mappings of a range, or declares their process addresses void: how many bytes that were, or a negative errno. */
  private leave(iova: bigint, end: bigint, declareVoid: boolean, bitmap: UserBitmap | undefined): bigint | number {
    const touched = this.mappings.overlapping(iova, end);
    const version2 = this.type !== Extension.TYPE1;
    if (version2 && touched.some((mapping) => mapping.iova < iova || mapping.end > end)) return -EINVAL;
    // v1 stops at a mapping that begins before the range ([T1-41]) and takes whole ones that end behind it ([T1-42]).
    if ((touched[0]?.iova ?? iova) < iova) return 0n;
    if (declareVoid && touched.some((mapping) => mapping.void)) return -EINVAL;
    let bytes = 0n;
    for (const mapping of touched) {
      if (bitmap !== undefined) {
        const status = report(this.machine.memory.space, bitmap, mapping, iova);
        if (status < 0) return status;
      }
      if (declareVoid) mapping.void = true;
      else this.remove(mapping);
      bytes += mapping.end - mapping.iova;
    }
    return bytes;
  }

  /** IOMMU_DIRTY_PAGES, section 4.5 of the behaviours. */
  private dirtyPages(argument: UserArgument): number {
    if (this.type === Extension.TYPE1) return -EACCES;
    const view = argument.view(8);
    if (view === undefined) return -EFAULT;
    const [size, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (size < 8 || ![1, 2, 4].includes(flags)) return -EINVAL;
    if (flags !== 4) {
      if (flags === 1 && !this.tracking) for (const mapping of this.mappings) mapping.dirty = 0n;
      this.tracking = flags === 1;
      return 0;
    }
    if (size < 48) return -EINVAL;
    return argument.view(48) === undefined ? -EFAULT : this.dirtyBitmap(view);
  }

  private dirtyBitmap(view: DataView): number {
    const iova = view.getBigUint64(8, true);
    const size = view.getBigUint64(16, true);
    const bitmap = bitmapAt(view, 24);
    const end = iova + size;
    if (this.machine.kernel.since('6.18') ? end > TOP : end >= TOP) {
      return this.machine.kernel.since('6.18') ? -EOVERFLOW : -EINVAL;
    }
    const { granule } = this;
    if (!holds(bitmap, size) || bitmap.pageSize !== granule || ((iova | size) & (granule - 1n)) !== 0n) return -EINVAL;
    const touched = this.mappings.overlapping(iova, end);
    if (!this.tracking || touched.some((mapping) => mapping.iova < iova || mapping.end > end)) return -EINVAL;
    for (const mapping of touched) {
      const status = report(this.machine.memory.space, bitmap, mapping, iova);
      if (status < 0) return status;
    }
    return 0;
  }
}

const addressesOf = (groups: Iterable<Member>): string[] =>
  [...groups].flatMap(({ members }) => members.map(({ address }) => address));
