/** System calls on a simulation with literal numbers: nothing here comes from the tables that are tested elsewhere. */

import type { DeviceMapping, MemoryMapping, SystemCalls } from 'vfio-core';

export const CONFIG = 7 * 2 ** 40;

/** A structure of 32-bit words, `argsz` first. */
export function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    view.setUint32(4 * index, value >>> 0, true);
  });
  return bytes;
}

export const word = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
export const long = (bytes: Uint8Array, at: number): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);

export class Raw {
  constructor(readonly system: SystemCalls) {}

  container(): number {
    return this.system.open('/dev/vfio/vfio', 2);
  }

  group(name: number | string): number {
    return this.system.open(`/dev/vfio/${name}`, 2);
  }

  status(group: number): number {
    const bytes = words(8, 0);
    const result = this.system.ioctl(group, 0x3b67, bytes);
    return result < 0 ? result : word(bytes, 4);
  }

  setContainer(group: number, container: number): number {
    return this.system.ioctl(group, 0x3b68, new Uint8Array(4), { fds: [{ at: 0, fd: container }] });
  }

  setIommu(container: number, type: number): number {
    return this.system.ioctl(container, 0x3b66, type);
  }

  deviceFd(group: number, name: string): number {
    return this.system.ioctl(group, 0x3b6a, new TextEncoder().encode(`${name}\0`));
  }

  /** The whole way to an open device. */
  device(name: string, group: number | string = 0, type = 1): { container: number; group: number; device: number } {
    const container = this.container();
    const fd = this.group(group);
    this.setContainer(fd, container);
    this.setIommu(container, type);
    return { container, group: fd, device: this.deviceFd(fd, name) };
  }

  memory(length: number): MemoryMapping {
    const mapping = this.system.memory({ kind: 'anonymous', length });
    if (typeof mapping === 'number') throw new Error(`memory: ${mapping}`);
    return mapping;
  }

  map(container: number, iova: bigint, address: bigint, size: number | bigint, flags = 3): number {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 32, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, address, true);
    view.setBigUint64(16, iova, true);
    view.setBigUint64(24, BigInt(size), true);
    return this.system.ioctl(container, 0x3b71, bytes);
  }

  /** @returns bytes unmapped, or a negative errno */
  unmap(container: number, iova: bigint, size: number | bigint, flags = 0): number {
    const bytes = new Uint8Array(24);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 24, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, iova, true);
    view.setBigUint64(16, BigInt(size), true);
    const result = this.system.ioctl(container, 0x3b72, bytes);
    return result < 0 ? result : Number(view.getBigUint64(16, true));
  }

  irqs(device: number, flags: number, index: number, start: number, count: number, data: number[] = []): number {
    const boolean = (flags & 2) !== 0;
    const size = 20 + data.length * (boolean ? 1 : 4);
    const bytes = new Uint8Array(size);
    bytes.set(words(size, flags, index, start, count));
    const view = new DataView(bytes.buffer);
    data.forEach((value, n) => {
      if (boolean) view.setUint8(20 + n, value);
      else view.setInt32(20 + 4 * n, value, true);
    });
    return this.system.ioctl(device, 0x3b6e, bytes);
  }

  window(device: number, offset: number, length: number): DeviceMapping {
    const mapping = this.system.mapDevice(device, offset, length, 3);
    if (typeof mapping === 'number') throw new Error(`mapDevice: ${mapping}`);
    return mapping;
  }

  config(device: number, offset: number, width: number): number {
    const bytes = new Uint8Array(width);
    const got = this.system.pread(device, bytes, CONFIG + offset);
    return got < 0 ? got : bytes.reduce((value, byte, index) => value + byte * 2 ** (8 * index), 0);
  }

  setConfig(device: number, offset: number, width: number, value: number): number {
    const bytes = Uint8Array.from({ length: width }, (_, index) => Math.floor(value / 2 ** (8 * index)) & 0xff);
    return this.system.pwrite(device, bytes, CONFIG + offset);
  }

  /** MEM and BM on. */
  busMaster(device: number): void {
    this.setConfig(device, 4, 2, 6);
  }
}
