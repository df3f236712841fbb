/** Finds and loads the native addon. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { VfioError } from '../errors/error.js';

/** A mapping as the addon hands it out. `handle` is for {@link Addon.unmap}. */
export interface NativeMapping {
  readonly handle: number;
  readonly buffer: ArrayBuffer;
  readonly address: bigint;
}

/** `undefined` where the runtime allows no foreign memory in an ArrayBuffer. */
export type MapResult = NativeMapping | number | undefined;

/** The addon's functions, as in `native/*.cc`. Results below 0 are negative errnos. */
export interface Addon {
  pageSize(): number;
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument?: number | Uint8Array, places?: object): number;
  ioctlAsync(fd: number, request: number, argument?: number | Uint8Array, places?: object): Promise<number>;
  pread(fd: number, into: Uint8Array, offset: number): number;
  pwrite(fd: number, from: Uint8Array, offset: number): number;
  memfd(name: string, hugePageBits: number): number;
  truncate(fd: number, bytes: number): number;
  punchHole(fd: number, offset: number, length: number): number;
  eventfd(initial: number): number;
  eventfdRead(fd: number): number;
  eventfdWrite(fd: number, count: number): number;
  poll(fd: number, timeout: number): number;
  mapDevice(fd: number, offset: number, length: number, protection: number): MapResult;
  mapAnonymous(length: number): MapResult;
  mapFile(fd: number, offset: number, length: number): MapResult;
  unmap(handle: number): void;
  faulted(handle: number): boolean;
  remap(handle: number): number;
  addressOf(bytes: Uint8Array): bigint;
  watch(fd: number, onCount: (count: number) => void): number;
  watchRef(handle: number): void;
  watchUnref(handle: number): void;
  watchClose(handle: number): void;
  exitPwrite(phase: number, fd: number, bytes: Uint8Array, offset: number): number;
  exitIoctl(phase: number, fd: number, request: number, bytes: Uint8Array): number;
  exitMunmap(phase: number, address: bigint, length: number): number;
  exitUnlink(phase: number, path: string): number;
  exitClose(phase: number, fd: number): number;
  cancelExit(handle: number): void;
  storeBarrier(): void;
}

const instead = 'Pass a backend, for example the simulation: { backend: simulation({ ... }) }.';

/** The addon's file for this machine, whether or not it is there. Two folders below the package, built or not. */
export const addonPath = (): string =>
  fileURLToPath(new URL(`../../prebuilds/${process.platform}-${process.arch}/vfio-core.node`, import.meta.url));

/** Loads the addon into this thread. Throws `ERR_VFIO_NO_BACKEND` where it cannot. */
export function loadAddon(): Addon {
  const machine = `${process.platform} on ${process.arch}`;
  if (process.platform !== 'linux') {
    throw new VfioError('ERR_VFIO_NO_BACKEND', `VFIO is part of Linux, and this is ${machine}.`, { remedy: instead });
  }
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
    throw new VfioError('ERR_VFIO_NO_BACKEND', `big-endian machines are not supported, and this is ${machine}.`, {
      remedy: instead,
    });
  }
  const path = addonPath();
  if (!existsSync(path)) {
    throw new VfioError('ERR_VFIO_NO_BACKEND', `the native part of vfio-core for ${machine} is missing.`, {
      path,
      remedy: `The npm package brings it for Linux on x64; in a checkout of the sources, npm run build makes it where a C++ compiler, make and Python are installed. ${instead}`,
    });
  }
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new VfioError('ERR_VFIO_NO_BACKEND', `the native part of vfio-core for ${machine} did not load: ${cause}.`, {
      path,
      cause,
      remedy: `With Node's permission model, allow it: --allow-addons. ${instead}`,
    });
  }
}
