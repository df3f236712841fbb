/**
 * The first seam: system calls. Everything above it is TypeScript; below it is either Linux
 * (`vfio-core/linux`, a thin native addon) or a kernel in software (`vfio-sim`).
 *
 * There is no policy here. One rule holds for every call: it returns its result, or a **negative errno**
 * (`-22` for EINVAL), exactly as the kernel would. No call throws for what the kernel answers; wrong
 * argument types throw a `TypeError`.
 */

import type { RegisterWindow } from './register-window.js';

/** A file descriptor; 0 or more. */
export type Fd = number;

/** Flags of {@link SystemCalls.open}; the numbers are those of Linux on x86-64 and arm64. */
export const OpenFlag = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  closeOnExec: 0o2000000,
} as const;

/** Protection of a mapping, as in mmap(2). */
export const Protection = { read: 1, write: 2 } as const;

/**
 * Things in an ioctl's bytes that only the backend can know: user addresses and descriptors.
 * A backend writes them into a copy-in of the bytes, at their place, before the call.
 */
export interface IoctlPlaces {
  /** At byte `at` stands a 64-bit user address: that of `bytes`. What the kernel writes there comes back into `bytes`. */
  readonly pointers?: readonly { readonly at: number; readonly bytes: Uint8Array }[];
  /** At byte `at` stands a 32-bit file descriptor. */
  readonly fds?: readonly { readonly at: number; readonly fd: Fd }[];
}

/** Ordinary memory of the process, mapped from somewhere, page-granular. */
export interface MemoryMapping {
  /** The bytes. Length 0 (detached) after {@link unmap}: later accesses read `undefined`, and never touch freed memory. */
  readonly bytes: Uint8Array;
  /** The address as ioctl structures want it. Real on Linux, invented in the simulation. */
  readonly address: bigint;
  /** Length in bytes. */
  readonly length: number;
  /** Detaches the bytes and unmaps. Idempotent. */
  unmap(): void;
}

/** A mapped part of a device's region. */
export interface DeviceMapping {
  readonly window: RegisterWindow;
  readonly address: bigint;
  readonly length: number;
  /**
   * True once a touch of this mapping raised SIGBUS (device gone, asleep, or memory decoding off).
   * The touched page reads all-ones from then on, and stores to it go nowhere.
   */
  readonly faulted: boolean;
  /**
   * Maps the same part again at the same address and takes the mark away: {@link window} and its parts reach the device again.
   * Whether the device answers is not asked; the next touch may fault, and mark, anew. The descriptor must still be open.
   * @returns 0; -22 after {@link unmap}; else what mmap(2) answers, and then pages and mark are as before
   */
  remap(): number;
  /** Detaches the window and unmaps. Idempotent. */
  unmap(): void;
}

/** What {@link SystemCalls.memory} maps. `length` is a multiple of the page size in use. */
export type MemoryRequest =
  /** Fresh zeroed private memory. */
  | { readonly kind: 'anonymous'; readonly length: number }
  /** A range of a memfd or of a file on hugetlbfs, shared. */
  | { readonly kind: 'file'; readonly fd: Fd; readonly offset: number; readonly length: number };

/** What lstat(2) says. */
export interface FileStatus {
  readonly type: 'file' | 'directory' | 'link' | 'character device' | 'block device' | 'other';
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A step that the backend plays without JavaScript: at process exit and when a Worker ends. */
export type ExitStep =
  | { readonly call: 'pwrite'; readonly fd: Fd; readonly bytes: Uint8Array; readonly offset: number }
  | { readonly call: 'ioctl'; readonly fd: Fd; readonly request: number; readonly bytes: Uint8Array }
  | { readonly call: 'munmap'; readonly address: bigint; readonly length: number }
  | { readonly call: 'unlink'; readonly path: string }
  | { readonly call: 'close'; readonly fd: Fd };

/** Watches an eventfd in the event loop; see {@link SystemCalls.watch}. */
export interface EventWatch {
  /** Keep the process alive while this watch is active. A new watch does not. */
  ref(): void;
  unref(): void;
  /** Stop. Idempotent; no callback after it. Does not close the eventfd. */
  close(): void;
}

/**
 * System calls, without policy. Implementations: `linux()` of `vfio-core/linux`, `simulation()` of `vfio-sim`.
 * All calls return a negative errno on failure.
 */
export interface SystemCalls {
  /** `linux` or `simulation`. For messages and reports only: no code may decide by it. */
  readonly name: string;
  /** Bytes of an ordinary page. */
  readonly pageSize: number;

  open(path: string, flags: number, mode?: number): Fd;
  close(fd: Fd): number;

  /**
   * ioctl(2). `argument` is a number (passed by value), or the structure's bytes, which the kernel may overwrite.
   * @returns the kernel's return value (0 or more), or a negative errno
   */
  ioctl(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): number;
  /** The same off the main thread, for calls that take long (device open, reset, large maps). `argument` belongs to the call until it ends. */
  ioctlAsync(fd: Fd, request: number, argument?: number | Uint8Array, places?: IoctlPlaces): Promise<number>;

  /** pread(2) of `into.length` bytes at `offset` (below 2^53). @returns bytes read */
  pread(fd: Fd, into: Uint8Array, offset: number): number;
  /** pwrite(2). @returns bytes written */
  pwrite(fd: Fd, from: Uint8Array, offset: number): number;

  /** Maps part of a device's region, shared. `offset` is the descriptor's (region index * 2^40 + offset), page-aligned. */
  mapDevice(fd: Fd, offset: number, length: number, protection: number): DeviceMapping | number;
  /** Maps memory. */
  memory(request: MemoryRequest): MemoryMapping | number;
  /**
   * The address of memory that the program already has and that does not move (a WebAssembly memory).
   * `-22` where it is not page-aligned or can move.
   */
  addressOf(bytes: ArrayBufferLike): bigint | number;
  /**
   * An anonymous shared memory file, close-on-exec.
   * @param hugePageSize bytes of the huge pages that it is made of; ordinary pages without. `-19` (ENODEV) where there are none of that size
   */
  memfd(name: string, hugePageSize?: number): Fd;
  truncate(fd: Fd, bytes: number): number;
  /** Gives a page-aligned range of a memfd back; it reads zero afterwards. */
  punchHole(fd: Fd, offset: number, length: number): number;

  /** eventfd(2), non-blocking, close-on-exec. */
  eventfd(initial: number): Fd;
  /** Takes the counter (and sets it to 0): its value, or `-11` (EAGAIN) when it is 0. */
  eventfdRead(fd: Fd): number;
  /** Adds `count` (1 or more) to the counter. */
  eventfdWrite(fd: Fd, count: number): number;
  /**
   * Calls `onCount` in the event loop with the counter's value, taken, each time that it is above 0.
   * A callback that throws does not stop the watch (the error surfaces as an uncaught exception).
   */
  watch(fd: Fd, onCount: (count: number) => void): EventWatch | number;
  /**
   * Blocks this thread until `fd` is readable. For Workers.
   * @param timeout in ms; -1 waits for ever
   * @returns 1 readable, 0 time is up
   */
  poll(fd: Fd, timeout: number): number;

  /** Small files: sysfs, procfs. Text is Latin-1/UTF-8 as found, with its newline. */
  readFile(path: string): string | number;
  writeFile(path: string, text: string): number;
  /** Names in a directory, unsorted. */
  list(path: string): string[] | number;
  readLink(path: string): string | number;
  /** lstat(2). */
  status(path: string): FileStatus | number;
  unlink(path: string): number;

  /** A coarse monotonic clock in ms. Virtual in the simulation, where each call lets time and devices go on. */
  now(): number;
  /** Resolves after `ms` of this backend's time. Keeps the process alive. */
  sleep(ms: number): Promise<void>;

  /**
   * Registers a step to be played at process exit and at a Worker's end, in the order of `phase` (low first; within a
   * phase, last registered first).
   * @returns a handle for {@link cancelExit}
   */
  onExit(phase: number, step: ExitStep): number;
  cancelExit(handle: number): void;

  /**
   * Orders stores to memory before a later store to a device register (doorbell). Nothing on x86-64, where stores keep
   * their order; a native barrier on arm64, where they do not.
   */
  readonly storeBarrier: () => void;
}
