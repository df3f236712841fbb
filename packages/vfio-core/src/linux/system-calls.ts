/** The system calls of Linux, through the addon. */

import { isImmovable } from '../memory/immovable.js';
import type {
  DeviceMapping,
  EventWatch,
  ExitStep,
  Fd,
  FileStatus,
  IoctlPlaces,
  MemoryMapping,
  MemoryRequest,
  SystemCalls,
} from '../seam/system-calls.js';
import { type Addon, loadAddon } from './addon.js';
import { LinuxDeviceMemory, LinuxMemory, mapped } from './mappings.js';
import * as files from './small-files.js';

const EINVAL = 22;
/** A blocked thread looks this often (ms) whether it is to end: `worker.terminate()` cannot interrupt a system call. */
const pollSlice = 250;

const nothing = (): void => {};

/** One environment's system calls: the main thread's or a Worker's. The addon is loaded by the first call that needs it. */
export class LinuxSystemCalls implements SystemCalls {
  readonly name = 'linux';
  private loaded: Addon | undefined;
  private page = 0;
  private readonly immovable = new WeakSet<ArrayBufferLike>();

  private get addon(): Addon {
    this.loaded ??= loadAddon();
    return this.loaded;
  }

  get pageSize(): number {
    if (this.page === 0) this.page = this.addon.pageSize();
    return this.page;
  }

  open(path: string, flags: number, mode = 0o644): Fd {
    return this.addon.open(path, flags, mode);
  }

  close(fd: Fd): number {
    return this.addon.close(fd);
  }

  ioctl(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): number {
    return this.addon.ioctl(fd, request, argument, places);
  }

  async ioctlAsync(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): Promise<number> {
    return this.addon.ioctlAsync(fd, request, argument, places);
  }

  pread(fd: Fd, into: Uint8Array, offset: number): number {
    return this.addon.pread(fd, into, offset);
  }

  pwrite(fd: Fd, from: Uint8Array, offset: number): number {
    return this.addon.pwrite(fd, from, offset);
  }

  mapDevice(fd: Fd, offset: number, length: number, protection: number): DeviceMapping | number {
    const addon = this.addon;
    return mapped(addon, addon.mapDevice(fd, offset, length, protection), LinuxDeviceMemory);
  }

  memory(request: MemoryRequest): MemoryMapping | number {
    const addon = this.addon;
    const result =
      request.kind === 'anonymous'
        ? addon.mapAnonymous(request.length)
        : addon.mapFile(request.fd, request.offset, request.length);
    return mapped(addon, result, LinuxMemory);
  }

  addressOf(bytes: ArrayBufferLike): bigint | number {
    // What does not move never does, but it can end: its length is 0 then. To find out costs ten times as much as a small mapping.
    if (bytes.byteLength === 0 || !this.immovable.has(bytes)) {
      if (!isImmovable(bytes)) return -EINVAL;
      this.immovable.add(bytes);
    }
    const address = this.addon.addressOf(new Uint8Array(bytes));
    return address % BigInt(this.pageSize) === 0n ? address : -EINVAL;
  }

  memfd(name: string, hugePageSize = 0): Fd {
    if (hugePageSize === 0) return this.addon.memfd(name, 0);
    const bits = Math.log2(hugePageSize);
    // Six bits say the size ([linux/memfd.h]).
    return Number.isInteger(bits) && bits > 0 && bits < 64 ? this.addon.memfd(name, bits) : -EINVAL;
  }

  truncate(fd: Fd, bytes: number): number {
    return this.addon.truncate(fd, bytes);
  }

  punchHole(fd: Fd, offset: number, length: number): number {
    return this.addon.punchHole(fd, offset, length);
  }

  eventfd(initial: number): Fd {
    return this.addon.eventfd(initial);
  }

  eventfdRead(fd: Fd): number {
    return this.addon.eventfdRead(fd);
  }

  eventfdWrite(fd: Fd, count: number): number {
    return this.addon.eventfdWrite(fd, count);
  }

  watch(fd: Fd, onCount: (count: number) => void): EventWatch | number {
    const addon = this.addon;
    let handle = addon.watch(fd, onCount);
    if (handle < 0) return handle;
    return {
      ref: () => {
        if (handle >= 0) addon.watchRef(handle);
      },
      unref: () => {
        if (handle >= 0) addon.watchUnref(handle);
      },
      close: () => {
        if (handle < 0) return;
        const closing = handle;
        handle = -1;
        addon.watchClose(closing);
      },
    };
  }

  poll(fd: Fd, timeout: number): number {
    if (timeout >= 0 && timeout <= pollSlice) return this.addon.poll(fd, Math.ceil(timeout));
    const end = timeout < 0 ? Number.POSITIVE_INFINITY : this.now() + timeout;
    for (;;) {
      const left = Math.max(0, Math.ceil(Math.min(pollSlice, end - this.now())));
      const ready = this.addon.poll(fd, left);
      if (ready !== 0 || this.now() >= end) return ready;
    }
  }

  readFile(path: string): string | number {
    return files.readFile(path);
  }

  writeFile(path: string, text: string): number {
    return files.writeFile(path, text);
  }

  list(path: string): string[] | number {
    return files.list(path);
  }

  readLink(path: string): string | number {
    return files.readLink(path);
  }

  status(path: string): FileStatus | number {
    return files.status(path);
  }

  unlink(path: string): number {
    return files.unlink(path);
  }

  now(): number {
    return performance.now();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  onExit(phase: number, step: ExitStep): number {
    switch (step.call) {
      case 'pwrite':
        return this.addon.exitPwrite(phase, step.fd, step.bytes, step.offset);
      case 'ioctl':
        return this.addon.exitIoctl(phase, step.fd, step.request, step.bytes);
      case 'munmap':
        return this.addon.exitMunmap(phase, step.address, step.length);
      case 'unlink':
        return this.addon.exitUnlink(phase, step.path);
      case 'close':
        return this.addon.exitClose(phase, step.fd);
    }
  }

  cancelExit(handle: number): void {
    this.addon.cancelExit(handle);
  }

  // x86-64 shows stores to others in program order, so there the doorbell needs nothing before it; arm64 does not.
  get storeBarrier(): () => void {
    return process.arch === 'x64' ? nothing : this.addon.storeBarrier;
  }
}
