/** Calls of iommufd and of device files, with literal numbers. */

import type { MemoryMapping } from 'vfio-core';
import { E, long, type World, word, words } from './world.js';

/** Bytes of 32-bit words, then of 64-bit ones. */
export function structure(head: readonly number[], ...values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(4 * head.length + 8 * values.length);
  bytes.set(words(...head));
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(4 * head.length + 8 * index, value, true);
  return bytes;
}

/** IOAS_MAP flags. */
export const FIXED = 1;
export const WRITEABLE = 2;
export const READABLE = 4;
/** 2^64 - 1. */
export const ALL = 0xffff_ffff_ffff_ffffn;

/** An open /dev/iommu. */
export class Iommufd {
  readonly fd: number;

  constructor(private readonly w: World) {
    this.fd = w.ok(w.open('/dev/iommu'), 'open of /dev/iommu');
  }

  call(number: number, bytes: Uint8Array): number {
    return this.w.ioctl(this.fd, 0x3b00 + number, bytes);
  }

  destroy(id: number): number {
    return this.call(0x80, words(8, id));
  }

  /** A new address space: its number. */
  ioas(): number {
    const bytes = words(12, 0, 0);
    this.w.is(this.call(0x81, bytes), 0, 'IOAS_ALLOC');
    return word(bytes, 8);
  }

  /** IOAS_IOVA_RANGES with room for so many: what it gives, and what it tells. */
  ranges(ioas: number, room = 16): { result: number; count: number; alignment: bigint; ranges: [bigint, bigint][] } {
    const memory = this.w.memory(4096);
    const bytes = structure([32, ioas, room, 0], memory.address, 0n);
    const result = this.call(0x84, bytes);
    const count = word(bytes, 8);
    const ranges = Array.from({ length: Math.min(room, count) }, (_, i): [bigint, bigint] => [
      long(memory.bytes, 16 * i),
      long(memory.bytes, 16 * i + 8),
    ]);
    return { result, count, alignment: long(bytes, 24), ranges };
  }

  allow(ioas: number, ...ranges: readonly (readonly [bigint, bigint])[]): number {
    const memory = this.w.memory(4096);
    memory.bytes.set(structure([], ...ranges.flat()));
    return this.call(0x82, structure([24, ioas, ranges.length, 0], memory.address));
  }

  /** IOAS_MAP at a fixed address. */
  map(
    ioas: number,
    iova: bigint,
    address: bigint,
    length: number | bigint,
    flags = FIXED | WRITEABLE | READABLE,
  ): number {
    return this.call(0x85, structure([40, flags, ioas, 0], address, BigInt(length), iova));
  }

  /** IOAS_MAP where the kernel likes: the address, or the errno. */
  place(ioas: number, address: bigint, length: number | bigint): bigint | number {
    const bytes = structure([40, WRITEABLE | READABLE, ioas, 0], address, BigInt(length), 0n);
    const result = this.call(0x85, bytes);
    return result < 0 ? result : long(bytes, 32);
  }

  unmap(ioas: number, iova: bigint, length: number | bigint): { readonly result: number; readonly length: bigint } {
    const bytes = structure([24, ioas], iova, BigInt(length));
    const result = this.call(0x86, bytes);
    return { result, length: long(bytes, 16) };
  }

  copy(
    to: { readonly ioas: number; readonly iova: bigint },
    from: { readonly ioas: number; readonly iova: bigint },
    length: number | bigint,
    flags = FIXED | WRITEABLE | READABLE,
  ): number {
    return this.call(0x83, structure([40, flags, to.ioas, from.ioas], BigInt(length), to.iova, from.iova));
  }

  /** OPTION: the result and the value. Operation 0 sets, 1 gets. */
  option(option: number, operation: number, object: number, value = 0n): { result: number; value: bigint } {
    const bytes = structure([24, option, operation, object], value);
    const result = this.call(0x87, bytes);
    return { result, value: long(bytes, 16) };
  }

  /** VFIO_IOAS: the number that GET (0) gives, 0 for SET (1) and CLEAR (2), or the errno. */
  vfioIoas(operation: number, ioas = 0): number {
    const bytes = words(12, ioas, operation);
    const result = this.call(0x88, bytes);
    return result === 0 && operation === 0 ? word(bytes, 4) : result;
  }

  /** HWPT_ALLOC: the number, or the errno. */
  hwpt(device: number, parent: number, flags = 0): number {
    const bytes = structure([48, flags, device, parent, 0, 0, 0, 0], 0n, 0n);
    const result = this.call(0x89, bytes);
    return result < 0 ? result : word(bytes, 16);
  }

  /** GET_HW_INFO: capabilities, or the errno. */
  capabilities(device: number): bigint | number {
    const bytes = structure([40, 0, device, 0], 0n, 0n, 0n);
    const result = this.call(0x8a, bytes);
    return result < 0 ? result : long(bytes, 32);
  }

  /** HWPT_GET_DIRTY_BITMAP. */
  dirty(hwpt: number, iova: bigint, length: bigint, pageSize: bigint, bitmap: MemoryMapping): number {
    return this.call(0x8c, structure([48, hwpt, 0, 0], iova, length, pageSize, bitmap.address));
  }
}

/** Name of a function's device file, `vfio0` for example. */
export function cdevName(w: World, address: string): string {
  const names = w.system.list(`/sys/bus/pci/devices/${address}/vfio-dev`);
  if (typeof names === 'number') w.is(names, 0, `vfio-dev of ${address}`);
  return (names as string[])[0] as string;
}

export function cdev(w: World, address: string): number {
  const path = `/dev/vfio/devices/${cdevName(w, address)}`;
  return w.ok(w.open(path), `open of ${path}`);
}

/** BIND_IOMMUFD: the device's number, or the errno. */
export function bind(w: World, device: number, iommufd: number, argsz = 16, flags = 0): number {
  const bytes = words(argsz, flags, iommufd, 0);
  const result = w.ioctl(device, 0x3b76, bytes);
  return result < 0 ? result : word(bytes, 12);
}

/** ATTACH_IOMMUFD_PT: the number of the HWPT in use, or the errno. */
export function attach(w: World, device: number, id: number, argsz = 12, flags = 0): number {
  const bytes = words(argsz, flags, id);
  const result = w.ioctl(device, 0x3b77, bytes);
  return result < 0 ? result : word(bytes, 8);
}

export const detach = (w: World, device: number, argsz = 8, flags = 0): number =>
  w.ioctl(device, 0x3b78, words(argsz, flags));

/** A device that is bound. */
export interface Bound {
  readonly iommufd: Iommufd;
  /** The device's descriptor. */
  readonly device: number;
  /** Its number in the iommufd. */
  readonly id: number;
}

export function bound(w: World, address: string, iommufd = new Iommufd(w)): Bound {
  const device = cdev(w, address);
  return { iommufd, device, id: w.ok(bind(w, device, iommufd.fd), 'BIND_IOMMUFD') };
}

/** A device that is bound and attached to a new address space. */
export function attached(
  w: World,
  address: string,
  iommufd = new Iommufd(w),
): Bound & { readonly ioas: number; readonly hwpt: number } {
  const one = bound(w, address, iommufd);
  const ioas = iommufd.ioas();
  return { ...one, ioas, hwpt: w.ok(attach(w, one.device, ioas), 'ATTACH_IOMMUFD_PT') };
}

/** Bytes that are pinned by iommufd for this process (VmPin). */
export function pinned(w: World): number {
  const status = w.system.readFile('/proc/self/status');
  const match = typeof status === 'string' ? /VmPin:\s+(\d+)/.exec(status) : null;
  if (match === null) w.is(E.NOENT, 0, 'VmPin');
  return Number(match?.[1]) * 1024;
}
