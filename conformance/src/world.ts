/**
 * The small world that items act in: system calls with literal numbers, and a machine with a few devices. Nothing here comes
 * from the tables and classes that the items are to witness.
 */

import type { DeviceMapping, MemoryMapping, SystemCalls } from 'vfio-core';
import { atLeast, type Version } from './kernel.js';

/** Negative errnos, as the seam returns them. Source: asm-generic/errno-base.h, asm-generic/errno.h. */
export const E = {
  PERM: -1,
  NOENT: -2,
  IO: -5,
  E2BIG: -7,
  BADF: -9,
  AGAIN: -11,
  NOMEM: -12,
  ACCES: -13,
  FAULT: -14,
  BUSY: -16,
  EXIST: -17,
  NODEV: -19,
  INVAL: -22,
  MFILE: -24,
  NOTTY: -25,
  NOSPC: -28,
  SPIPE: -29,
  BADFD: -77,
  MSGSIZE: -90,
  OPNOTSUPP: -95,
  ADDRINUSE: -98,
  OVERFLOW: -75,
} as const;

/** The machine: every target has it. All functions are bound to vfio-pci when an item starts. */
export const machine = {
  /** QEMU's edu, alone in its group. */
  edu: '0000:01:00.0',
  /** Two functions of one group: edu, and an NVMe controller that the host's driver can take. */
  pair: ['0000:02:00.0', '0000:02:00.1'],
  /** An NVMe controller, alone in its group. */
  nvme: '0000:03:00.0',
  /** A PCI Express port with nothing behind it, on `pcieport`. */
  port: '0000:00:13.0',
  /** A VGA adapter behind a port. No driver has it when an item starts. */
  vga: '0000:05:00.0',
  /** An NVMe controller that can make virtual functions. No driver has it when an item starts. */
  sriov: '0000:06:00.0',
  /** Simulation only: an accelerator that newer kernels do not let vfio-pci have. No driver has it when an item starts. */
  qat: '0000:07:00.0',
} as const;

/** What goes on in another process. */
export interface Elsewhere {
  readonly done: () => boolean;
  /** Sends it a signal that would end it. */
  readonly signal: () => void;
}

/** Offset of the configuration region in a device's file: region 7. */
const CONFIG = 7 * 2 ** 40;

/** A structure of little-endian 32-bit words. */
export function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value >>> 0, true);
  return bytes;
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
export const word = (bytes: Uint8Array, at: number): number => viewOf(bytes).getUint32(at, true);
export const long = (bytes: Uint8Array, at: number): bigint => viewOf(bytes).getBigUint64(at, true);

/** A second process, without CAP_SYS_RAWIO, that inherits descriptors, does one call and ends. */
export interface Heir {
  /** open(2), read-write: 0 or the errno. */
  readonly open: (path: string) => number;
  /** ioctl(2) of an inherited descriptor. `{ fd }` is a pointer to the number that this descriptor has there. */
  readonly ioctl: (fd: number, request: number, argument?: number | Uint8Array | { readonly fd: number }) => number;
}

/** What only a real kernel's world has. */
export interface RealSurroundings {
  /** Runs a program as root: what it printed. Throws where it fails. */
  readonly command: (name: string, ...args: readonly string[]) => string;
  /** A call that the seam does not have, on a descriptor: its result or the errno. `ioctl32` is the entry of 32-bit programs. */
  readonly call: (fd: number, name: 'ioctl32' | 'lseek' | 'read', ...numbers: readonly number[]) => number;
}

/** What a target brings beyond system calls. */
export interface Surroundings {
  readonly version: Version;
  /** What it is, for messages: `simulation 6.1`, `kernel 6.1.0-41-amd64`. */
  readonly name: string;
  /** The address of a page that the process can read and not write, whose first 32-bit word is above 4096. */
  readonly readOnlyAddress: number;
  /** Bytes locked by this process (VmLck). */
  readonly locked: () => number;
  /** setrlimit(RLIMIT_MEMLOCK) of this process, bytes. */
  readonly limitLocked: (bytes: number) => void;
  /** Plays a second process that ends by itself: opens the path read-write and gives back the descriptor's number or the errno. */
  readonly openElsewhere: (path: string) => number;
  readonly heir: Heir;
  /** Lines of the kernel's log. */
  readonly log: () => readonly string[];
  /** Another process takes a function from its driver, which may take a while. */
  readonly unbindElsewhere: (address: string) => Elsewhere;
  /** See {@link World.killHolder}. */
  readonly killHolder: (fds: readonly number[], meanwhile: () => void) => Promise<void>;
  /** While another process resets the function: calls `attempt` until it fails, and gives back the last result. */
  readonly duringReset: (address: string, attempt: () => number) => Promise<number>;
  /** An error on the link of a function; a fatal one resets the link. */
  readonly linkError: (address: string, fatal: boolean) => void;
  /** Waits until nothing is left of what went on elsewhere. */
  readonly settle: () => void;
  /** Absent in the simulation. */
  readonly real?: RealSurroundings;
}

export class World {
  private readonly fds = new Set<number>();
  private readonly memories: MemoryMapping[] = [];
  private readonly windows: DeviceMapping[] = [];
  /** Functions that are there when the item starts; the pair is not everywhere. */
  private readonly present: readonly string[];

  constructor(
    readonly system: SystemCalls,
    readonly around: Surroundings,
  ) {
    this.present = [machine.edu, ...machine.pair, machine.nvme].filter((address) => this.isThere(address));
  }

  since(version: Version): boolean {
    return atLeast(this.around.version, version);
  }

  // Checks.

  /** Throws unless both are the same; numbers below 0 are named. */
  is(actual: unknown, wanted: unknown, what: string): void {
    const show = (value: unknown): string => {
      const known = Object.entries(E).find(([, number]) => number === value);
      if (known !== undefined) return known[0] === 'E2BIG' ? 'E2BIG' : `E${known[0]}`;
      return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)) ?? 'undefined';
    };
    if (show(actual) !== show(wanted)) throw new Error(`${what}: ${show(actual)}, expected ${show(wanted)}`);
  }

  /** Throws unless `value` is no errno; gives it back. */
  ok(value: number, what: string): number {
    if (value < 0) this.is(value, 0, what);
    return value;
  }

  // Descriptors.

  /** open(2), read-write by default. What it gives is closed when the item ends. */
  open(path: string, flags = 2): number {
    return this.keep(this.system.open(path, flags));
  }

  keep(fd: number): number {
    if (fd >= 0) this.fds.add(fd);
    return fd;
  }

  close(fd: number): number {
    this.fds.delete(fd);
    return this.system.close(fd);
  }

  eventfd(): number {
    return this.keep(this.system.eventfd(0));
  }

  /** Hands these descriptors over to a process that has nothing else; once `meanwhile` has run it is killed. */
  async killHolder(fds: readonly number[], meanwhile: () => void): Promise<void> {
    for (const fd of fds) this.fds.delete(fd);
    await this.around.killHolder(fds, meanwhile);
  }

  // Container and group.

  container(): number {
    return this.ok(this.open('/dev/vfio/vfio'), 'open of /dev/vfio/vfio');
  }

  /** IOMMU group of a function; -1 where it has none. */
  groupOf(address: string): number {
    const link = this.system.readLink(`/sys/bus/pci/devices/${address}/iommu_group`);
    return typeof link === 'number' ? -1 : Number(link.split('/').at(-1));
  }

  groupPath(address: string): string {
    const number = this.groupOf(address);
    const name = this.system.readFile(`/sys/kernel/iommu_groups/${number}/name`);
    const noiommu = typeof name === 'string' && name.trim() === 'vfio-noiommu';
    return `/dev/vfio/${noiommu ? 'noiommu-' : ''}${number}`;
  }

  group(address: string): number {
    return this.ok(this.open(this.groupPath(address)), `open of ${this.groupPath(address)}`);
  }

  ioctl(fd: number, request: number, argument?: number | Uint8Array): number {
    return this.system.ioctl(fd, request, argument);
  }

  extension(container: number, number: number): number {
    return this.ioctl(container, 0x3b65, number);
  }

  setIommu(container: number, type: number): number {
    return this.ioctl(container, 0x3b66, type);
  }

  /** GET_STATUS: flags, or the errno. */
  status(group: number): number {
    const bytes = words(8, 0);
    const result = this.ioctl(group, 0x3b67, bytes);
    return result < 0 ? result : word(bytes, 4);
  }

  setContainer(group: number, container: number): number {
    return this.system.ioctl(group, 0x3b68, new Uint8Array(4), { fds: [{ at: 0, fd: container }] });
  }

  unsetContainer(group: number): number {
    return this.ioctl(group, 0x3b69);
  }

  deviceFd(group: number, name: string): number {
    return this.keep(this.ioctl(group, 0x3b6a, new TextEncoder().encode(`${name}\0`)));
  }

  /** The whole way to a container with a model: the descriptors. */
  ready(address: string, type = 3): { readonly container: number; readonly group: number } {
    const container = this.container();
    const group = this.group(address);
    this.is(this.setContainer(group, container), 0, 'SET_CONTAINER');
    this.is(this.setIommu(container, type), 0, `SET_IOMMU(${type})`);
    return { container, group };
  }

  /** The whole way to an open device. */
  device(address: string, type = 3): { readonly container: number; readonly group: number; readonly device: number } {
    const { container, group } = this.ready(address, type);
    return { container, group, device: this.ok(this.deviceFd(group, address), 'GET_DEVICE_FD') };
  }

  // The device.

  /** Configuration space as the user has it: up to 32 bits. */
  config(device: number, offset: number, width: 1 | 2 | 4): number {
    const bytes = new Uint8Array(4);
    this.is(this.system.pread(device, bytes.subarray(0, width), CONFIG + offset), width, `config read at ${offset}`);
    return word(bytes, 0);
  }

  setConfig(device: number, offset: number, width: 1 | 2 | 4, value: number): void {
    const bytes = words(value).subarray(0, width);
    this.is(this.system.pwrite(device, bytes, CONFIG + offset), width, `config write at ${offset}`);
  }

  /** DEVICE_GET_INFO: flags, or the errno. */
  deviceFlags(device: number): number {
    const bytes = words(16, 0, 0, 0);
    const result = this.ioctl(device, 0x3b6b, bytes);
    return result < 0 ? result : word(bytes, 4);
  }

  /** GET_IRQ_INFO: flags of an index, or the errno. */
  irqFlags(device: number, index: number): number {
    const bytes = words(16, 0, index, 0);
    const result = this.ioctl(device, 0x3b6d, bytes);
    return result < 0 ? result : word(bytes, 4);
  }

  /** SET_IRQS with eventfds (-1 for none) or, without, with no data. */
  setIrqs(device: number, flags: number, index: number, start: number, count: number, fds?: readonly number[]): number {
    const bytes = words(20 + 4 * (fds?.length ?? 0), flags, index, start, count, ...(fds ?? []));
    return this.ioctl(device, 0x3b6e, bytes);
  }

  // Memory and mappings.

  /** Zeroed private memory, unmapped when the item ends. */
  memory(length: number): MemoryMapping {
    const mapping = this.system.memory({ kind: 'anonymous', length });
    if (typeof mapping === 'number') throw new Error(`memory of ${length} bytes: ${mapping}`);
    this.memories.push(mapping);
    return mapping;
  }

  /** Shared memory of a memfd, which {@link SystemCalls.truncate} can cut. */
  shared(length: number): { readonly fd: number; readonly memory: MemoryMapping } {
    const fd = this.keep(this.ok(this.system.memfd('conformance'), 'memfd'));
    this.is(this.system.truncate(fd, length), 0, 'truncate');
    const memory = this.system.memory({ kind: 'file', fd, offset: 0, length });
    if (typeof memory === 'number') throw new Error(`mmap of a memfd: ${memory}`);
    this.memories.push(memory);
    return { fd, memory };
  }

  window(device: number, offset: number, length: number, protection = 3): DeviceMapping {
    const mapping = this.system.mapDevice(device, offset, length, protection);
    if (typeof mapping === 'number') throw new Error(`mmap of the device: ${mapping}`);
    this.windows.push(mapping);
    return mapping;
  }

  /** MAP_DMA. Flags: 1 the device reads, 2 it writes. */
  map(container: number, iova: bigint, address: bigint, size: number | bigint, flags = 3, argsz = 32): number {
    const bytes = new Uint8Array(32);
    const view = viewOf(bytes);
    view.setUint32(0, argsz, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, address, true);
    view.setBigUint64(16, iova, true);
    view.setBigUint64(24, BigInt(size), true);
    return this.ioctl(container, 0x3b71, bytes);
  }

  /** UNMAP_DMA: the result, and what the kernel wrote into `size`. */
  unmap(
    container: number,
    iova: bigint,
    size: number | bigint,
    flags = 0,
    argsz = 24,
  ): { readonly result: number; readonly size: bigint } {
    const bytes = new Uint8Array(24);
    const view = viewOf(bytes);
    view.setUint32(0, argsz, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, iova, true);
    view.setBigUint64(16, BigInt(size), true);
    const result = this.ioctl(container, 0x3b72, bytes);
    return { result, size: view.getBigUint64(16, true) };
  }

  // The host's side, through sysfs.

  /** Configuration space of a function as the hardware has it. */
  hardware(address: string): DataView {
    const bytes = new Uint8Array(256);
    const fd = this.ok(this.open(`/sys/bus/pci/devices/${address}/config`, 0), 'config of sysfs');
    this.is(this.system.pread(fd, bytes, 0), 256, 'read of config');
    this.close(fd);
    return viewOf(bytes);
  }

  /** Writes 16 bits into the hardware's configuration space. */
  setHardware(address: string, offset: number, value: number): void {
    const fd = this.ok(this.open(`/sys/bus/pci/devices/${address}/config`), 'config of sysfs');
    this.is(this.system.pwrite(fd, words(value).subarray(0, 2), offset), 2, 'write of config');
    this.close(fd);
  }

  /** Offset of a capability in configuration space. */
  capability(address: string, id: number): number {
    const config = this.hardware(address);
    let at = config.getUint8(0x34);
    while (at !== 0 && config.getUint8(at) !== id) at = config.getUint8(at + 1);
    if (at === 0) throw new Error(`${address} has no capability ${id}`);
    return at;
  }

  /** Waits until `holds`, at the most a minute, and says whether it does. */
  async until(holds: () => boolean, seconds = 60): Promise<boolean> {
    for (const start = this.system.now(); !holds(); await this.system.sleep(50))
      if (this.system.now() - start > 1000 * seconds) return false;
    return true;
  }

  driverOf(address: string): string | undefined {
    const link = this.system.readLink(`/sys/bus/pci/devices/${address}/driver`);
    return typeof link === 'number' ? undefined : link.split('/').at(-1);
  }

  /** Takes a function from its driver. 0 or an errno. */
  unbind(address: string): number {
    return this.written(this.system.writeFile(`/sys/bus/pci/devices/${address}/driver/unbind`, address));
  }

  /** Gives a free function to `driver` by driver_override. 0 or the errno of the probe. */
  bind(address: string, driver: string): number {
    const base = `/sys/bus/pci/devices/${address}`;
    this.ok(this.system.writeFile(`${base}/driver_override`, driver), 'driver_override');
    const result = this.written(this.system.writeFile(`/sys/bus/pci/drivers/${driver}/bind`, address));
    this.ok(this.system.writeFile(`${base}/driver_override`, '\n'), 'driver_override');
    return result;
  }

  /** Takes a function out of the machine; {@link end} brings it back. 0 or the errno. */
  remove(address: string): number {
    return this.written(this.system.writeFile(`/sys/bus/pci/devices/${address}/remove`, '1'));
  }

  /** Looks for functions that are not known yet. */
  rescan(): void {
    this.ok(this.system.writeFile('/sys/bus/pci/rescan', '1'), 'rescan');
  }

  private written(result: number): number {
    return Math.min(result, 0);
  }

  /** Value of a module parameter. */
  parameter(module: string, name: string): string | undefined {
    const text = this.system.readFile(`/sys/module/${module}/parameters/${name}`);
    return typeof text === 'string' ? text.trim() : undefined;
  }

  setParameter(module: string, name: string, value: string): void {
    this.ok(this.system.writeFile(`/sys/module/${module}/parameters/${name}`, value), `${module}.${name}`);
  }

  /** What only a kernel's world has; for variants with `kernelOnly`. */
  get real(): RealSurroundings {
    if (this.around.real === undefined) throw new Error('there is no real kernel here');
    return this.around.real;
  }

  /** Unmaps and closes everything that the item has open. */
  closeAll(): void {
    for (const mapping of [...this.windows.splice(0), ...this.memories.splice(0)]) mapping.unmap();
    for (const fd of [...this.fds].reverse()) this.close(fd);
  }

  private isThere(address: string): boolean {
    return typeof this.system.status(`/sys/bus/pci/devices/${address}`) !== 'number';
  }

  /** Ends the item: unmaps, closes, and hands every function back to vfio-pci. */
  end(): void {
    this.closeAll();
    this.around.settle();
    if (!this.present.every((address) => this.isThere(address))) this.rescan();
    for (const address of [machine.vga, machine.sriov])
      if (this.driverOf(address) !== undefined) this.ok(this.unbind(address), `unbind ${address}`);
    for (const address of this.present) {
      const driver = this.driverOf(address);
      if (driver === 'vfio-pci') continue;
      if (driver !== undefined) this.ok(this.unbind(address), `unbind ${address}`);
      this.ok(this.bind(address, 'vfio-pci'), `bind ${address}`);
    }
  }
}
