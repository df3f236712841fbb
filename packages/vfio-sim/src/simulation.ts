/** `simulation({...})`: a machine in software that answers the system calls of VFIO. */

import {
  type DeviceMapping,
  type EventWatch,
  type ExitStep,
  type Fd,
  type FileStatus,
  type IoctlPlaces,
  isImmovable,
  type MemoryMapping,
  type MemoryRequest,
  type SystemCalls,
  VfioError,
} from 'vfio-core';
import { PAGE } from './kernel/address-space.js';
import { UserArgument } from './kernel/argument.js';
import type { Bus } from './kernel/bus.js';
import { ByteStore } from './kernel/byte-store.js';
import { EBADF, EDEADLK, EINVAL, ENODEV } from './kernel/errno.js';
import { EventFd } from './kernel/eventfd.js';
import { ExitList } from './kernel/exit-list.js';
import type { OpenFile } from './kernel/fds.js';
import { FileSystem } from './kernel/fs/root.js';
import type { DmaFault } from './kernel/log.js';
import type { Machine } from './kernel/machine.js';
import { MemoryFile } from './kernel/memory.js';
import { Pump } from './kernel/pump.js';
import { Type1 } from './kernel/type1.js';
import { Watches } from './kernel/watches.js';
import { buildMachine } from './machine-from-options.js';
import type { DeviceModel } from './model/contract.js';
import type { CapabilityOptions, SimulationOptions } from './options.js';
import { SimulatedDevice } from './simulated-device.js';

/** A mapping of the simulated IOMMU. */
export interface IommuMapping {
  /** The IOMMU group that it belongs to. */
  readonly group: number;
  readonly iova: bigint;
  /** Bytes. */
  readonly size: number;
  /** Devices may read. */
  readonly read: boolean;
  /** Devices may write. */
  readonly write: boolean;
}

/** A machine in software; pass it as `backend`. */
export class Simulation implements SystemCalls {
  readonly name = 'simulation';
  readonly pageSize = PAGE;
  private readonly machine: Machine;
  private readonly bus: Bus;
  private readonly files: FileSystem;
  private readonly watches = new Watches();
  private readonly pump: Pump;
  private readonly exits: ExitList;
  private readonly handles = new Map<string, SimulatedDevice>();

  constructor(options: SimulationOptions = {}) {
    const { machine, bus, tree } = buildMachine(options);
    this.machine = machine;
    this.bus = bus;
    this.files = new FileSystem(machine, bus, tree);
    this.pump = new Pump(
      machine.time,
      () => this.watches.dispatch(),
      () => this.watches.any,
    );
    this.exits = new ExitList(this, (address) => {
      const all = [...machine.memory.mappings, ...machine.deviceMappings];
      all.find((mapping) => mapping.address === address)?.unmap();
    });
    for (const slot of bus.slots.values()) this.handles.set(slot.address, new SimulatedDevice(slot, bus));
  }

  // What tests look at.

  /** A device by its address, unplugged ones too. Throws `ERR_VFIO_NO_DEVICE` where there was none. */
  device<Model extends DeviceModel = DeviceModel>(address: string): SimulatedDevice<Model> {
    const found = this.handles.get(address);
    if (found !== undefined) return found as SimulatedDevice<Model>;
    throw new VfioError('ERR_VFIO_NO_DEVICE', `the simulated machine has no device ${address}`, {
      details: { address, present: [...this.handles.keys()] },
    });
  }

  /** Lines of the kernel log, DMA faults included. */
  get log(): readonly string[] {
    return this.machine.log.lines;
  }

  /** DMA accesses that were refused. */
  get faults(): readonly DmaFault[] {
    return this.machine.log.faults;
  }

  /** Descriptors that are open, with what stands behind each. */
  get openFds(): readonly { readonly fd: Fd; readonly path: string }[] {
    return this.machine.fds.entries();
  }

  /** Memory that is pinned for devices, bytes (VmLck). */
  get lockedBytes(): number {
    return this.machine.lockedBytes;
  }

  /** Memory and device registers that the program has mapped. */
  get userMappings(): readonly { readonly address: bigint; readonly length: number }[] {
    const all = [...this.machine.memory.mappings, ...this.machine.deviceMappings];
    return all.map(({ address, length }) => ({ address, length }));
  }

  /** What the IOMMU translates. */
  get mappings(): readonly IommuMapping[] {
    return [...this.bus.groups.values()].flatMap(({ number, container, owner }) => {
      const list = container?.model instanceof Type1 ? container.model.list : (owner?.hwpt?.list ?? []);
      return list.map((mapping) => ({ group: number, ...mapping }));
    });
  }

  /** Gives the process rights or takes them, as capset(2) does. What it has open stays open. */
  grant(rights: Omit<CapabilityOptions, 'openGroups'>): void {
    Object.assign(this.machine.rights, rights);
  }

  /** Sets RLIMIT_MEMLOCK of the process, in bytes. What is locked stays locked. */
  limitLocked(bytes: number): void {
    this.machine.memlock = bytes;
  }

  /** Plays the process's end, SIGKILL or exit: the exit steps if it was an orderly one, then everything is closed. */
  endProcess(how: 'exit' | 'kill' = 'exit'): void {
    if (how === 'exit') this.exits.play();
    this.exits.clear();
    this.watches.clear();
    this.machine.fds.closeAll();
    for (const mapping of this.machine.deviceMappings) mapping.unmap();
    for (const mapping of this.machine.memory.mappings) mapping.unmap();
  }

  /** Switches the machine off: files behind disks are closed. Idempotent. */
  powerOff(): void {
    this.endProcess('kill');
    for (const { function: fn } of this.bus.slots.values()) fn.model?.close?.();
    this.pump.close();
  }

  [Symbol.dispose](): void {
    this.powerOff();
  }

  // Files and descriptors.

  open(path: string, flags: number, _mode?: number): Fd {
    checkPath(path);
    const file = this.files.open(path, flags);
    if (typeof file === 'number') return file;
    file.access = flags & 3;
    return this.machine.fds.add(file);
  }

  /** close(2); without a descriptor, {@link powerOff}. */
  close(fd?: Fd): number {
    if (fd === undefined) {
      this.powerOff();
      return 0;
    }
    return this.machine.fds.close(fd);
  }

  ioctl(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): number {
    const file = this.file(fd);
    if (file === undefined) return -EBADF;
    const given = UserArgument.from(argument, places, this.machine.memory.space);
    const result = file.ioctl(request, given);
    given.end();
    return result;
  }

  ioctlAsync(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): Promise<number> {
    return this.later(0, () => this.ioctl(fd, request, argument, places));
  }

  pread(fd: Fd, into: Uint8Array, offset: number): number {
    checkBytes(into, 'into');
    return offset < 0 ? -EINVAL : (this.file(fd)?.pread(into, offset) ?? -EBADF);
  }

  pwrite(fd: Fd, from: Uint8Array, offset: number): number {
    checkBytes(from, 'from');
    return offset < 0 ? -EINVAL : (this.file(fd)?.pwrite(from, offset) ?? -EBADF);
  }

  readFile(path: string): string | number {
    checkPath(path);
    return this.files.readFile(path);
  }

  writeFile(path: string, text: string): number {
    checkPath(path);
    return this.files.writeFile(path, text);
  }

  list(path: string): string[] | number {
    checkPath(path);
    return this.files.list(path);
  }

  readLink(path: string): string | number {
    checkPath(path);
    return this.files.readLink(path);
  }

  status(path: string): FileStatus | number {
    checkPath(path);
    return this.files.status(path);
  }

  unlink(path: string): number {
    checkPath(path);
    return this.files.unlink(path);
  }

  // Memory.

  mapDevice(fd: Fd, offset: number, length: number, protection: number): DeviceMapping | number {
    return this.file(fd)?.mapDevice(offset, length, protection) ?? -EBADF;
  }

  memory(request: MemoryRequest): MemoryMapping | number {
    const { memory, fds } = this.machine;
    if (request.kind === 'anonymous') return memory.anonymous(request.length);
    return memory.file(fds.get(request.fd), request.offset, request.length);
  }

  addressOf(bytes: ArrayBufferLike): bigint | number {
    return isImmovable(bytes) ? this.machine.memory.space.addressOf(bytes) : -EINVAL;
  }

  memfd(name: string, hugePageSize = PAGE): Fd {
    const { memory, fds } = this.machine;
    if (hugePageSize <= 0 || !Number.isInteger(Math.log2(hugePageSize))) return -EINVAL;
    if (hugePageSize !== PAGE && memory.hugePagesOf(hugePageSize) === undefined) return -ENODEV;
    const store = new ByteStore(0);
    return fds.add(new MemoryFile(`/memfd:${name}`, store, hugePageSize, memory, () => memory.drop(store)));
  }

  truncate(fd: Fd, bytes: number): number {
    return this.file(fd)?.truncate(bytes) ?? -EBADF;
  }

  punchHole(fd: Fd, offset: number, length: number): number {
    const file = this.file(fd);
    if (file === undefined) return -EBADF;
    return file instanceof MemoryFile ? file.punch(offset, length) : -EINVAL;
  }

  // Events.

  eventfd(initial: number): Fd {
    return this.machine.fds.add(new EventFd(initial, () => this.watches.any && this.pump.kick()));
  }

  eventfdRead(fd: Fd): number {
    const file = this.eventFd(fd);
    return typeof file === 'number' ? file : file.take();
  }

  eventfdWrite(fd: Fd, count: number): number {
    const file = this.eventFd(fd);
    return typeof file === 'number' ? file : file.add(count);
  }

  watch(fd: Fd, onCount: (count: number) => void): EventWatch | number {
    const file = this.eventFd(fd);
    return typeof file === 'number' ? file : this.watches.add(file, onCount, this.pump);
  }

  /** `-35` (EDEADLK) where a real one would block for ever: no time-out, and no device has anything left to do. */
  poll(fd: Fd, timeout: number): number {
    const { time } = this.machine;
    const file = this.eventFd(fd);
    if (typeof file === 'number') return file;
    const deadline = timeout < 0 ? Number.POSITIVE_INFINITY : time.current + timeout;
    for (;;) {
      if (file.count > 0) return 1;
      if (time.runDue()) continue;
      const next = Math.min(time.next, deadline);
      if (next === Number.POSITIVE_INFINITY) return -EDEADLK;
      time.advance(next);
      if (file.count > 0) return 1;
      if (time.current >= deadline) return 0;
    }
  }

  // Time.

  now(): number {
    this.machine.time.poll();
    return this.machine.time.current;
  }

  sleep(ms: number): Promise<void> {
    return this.later(ms, () => {});
  }

  onExit(phase: number, step: ExitStep): number {
    return this.exits.add(phase, step);
  }

  cancelExit(handle: number): void {
    this.exits.cancel(handle);
  }

  /** Nothing is reordered here. */
  readonly storeBarrier = (): void => {};

  private file(fd: Fd): OpenFile | undefined {
    if (typeof fd !== 'number') throw new TypeError('fd: a number');
    return this.machine.fds.get(fd);
  }

  private eventFd(fd: Fd): EventFd | number {
    const file = this.file(fd);
    if (file === undefined) return -EBADF;
    return file instanceof EventFd ? file : -EINVAL;
  }

  private later<T>(delay: number, work: () => T): Promise<T> {
    this.pump.hold();
    return new Promise((resolve, reject) => {
      this.machine.time.schedule(delay, () => {
        this.pump.release();
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

function checkBytes(bytes: Uint8Array, name: string): void {
  if (!ArrayBuffer.isView(bytes)) throw new TypeError(`${name}: a Uint8Array`);
}

function checkPath(path: string): void {
  if (typeof path !== 'string' || path.includes('\0')) throw new TypeError('path: a string without NUL');
}

/** Makes a machine in software; pass it as `backend`. Throws `ERR_VFIO_ARGUMENT` for a machine that cannot be. */
export const simulation = (options: SimulationOptions = {}): Simulation => new Simulation(options);
