/** The memory behind a mapping, wherever it comes from. */

import { VfioError } from '../errors/error.js';
import { systemError } from '../errors/system-error.js';
import type { SystemCalls } from '../seam/system-calls.js';
import type { DeviceRange, FileRange, MapSource } from './dma.js';

export interface Backing {
  /** Empty for another device's registers, which are reached through windows. */
  readonly bytes: Uint8Array;
  /** User address. */
  readonly address: bigint;
  /** Bytes, whole pages. */
  readonly size: number;
  /** Where another thread finds it; undefined for memory without a descriptor of ours. */
  readonly file: { readonly fd: number; readonly offset: number } | undefined;
  /** Pages of memory are locked; a copy of a mapping locks none again, and registers have none. */
  readonly kind: 'memory' | 'copy' | 'registers';
  /** Its pages may be lent from the page of zeros as long as nobody wrote them. */
  readonly mayBeLent: boolean;
  /** Calls `step` before the memory goes, if it can go by itself; gives a function that takes the step out again. */
  readonly beforeItGoes?: (step: () => void) => () => void;
  /** Once no device can reach it. */
  release(): void;
}

const nothing = (): void => {};

/** Throws `ERR_VFIO_ARGUMENT`, or what mapping it for this process answered. */
export function backingOf(system: SystemCalls, source: MapSource, pageSize: number): Backing {
  if (typeof source !== 'object' || source === null) throw noMemory(source);
  if ('fd' in source) return fileBacking(system, source, pageSize);
  if ('device' in source) return deviceBacking(source, pageSize);
  return programBacking(system, source, pageSize);
}

function programBacking(
  system: SystemCalls,
  source: { readonly buffer: ArrayBufferLike } | ArrayBufferLike,
  pageSize: number,
): Backing {
  const buffer = 'buffer' in source ? source.buffer : source;
  if (!/ (?:Shared)?ArrayBuffer]$/.test(Object.prototype.toString.call(buffer))) throw noMemory(source);
  const bytes = ArrayBuffer.isView(source)
    ? new Uint8Array(buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(buffer);
  const start = system.addressOf(buffer);
  if (typeof start === 'number' || bytes.length === 0 || (bytes.byteOffset | bytes.length) % pageSize !== 0) {
    const why =
      typeof start === 'number'
        ? 'it lies in the ordinary heap, not page-aligned, or it can grow or move'
        : `its start and its length must be multiples of ${pageSize} bytes`;
    throw new VfioError('ERR_VFIO_ARGUMENT', `this memory cannot be given to a device: ${why}.`, {
      remedy: 'Pass a WebAssembly.Memory that does not grow (initial = maximum), or use allocate().',
      details: { pageSize, length: bytes.length },
    });
  }
  return {
    bytes,
    address: start + BigInt(bytes.byteOffset),
    size: bytes.length,
    file: undefined,
    kind: 'memory',
    mayBeLent: true,
    release: nothing,
  };
}

function fileBacking(system: SystemCalls, { fd, offset = 0, length }: FileRange, pageSize: number): Backing {
  if (!Number.isInteger(fd) || fd < 0) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `${String(fd)} is no descriptor of an open file.`);
  }
  checkRange(offset, length, pageSize);
  const mapping = system.memory({ kind: 'file', fd, offset, length });
  if (typeof mapping === 'number') {
    throw systemError(mapping, {
      what: `mapping ${length} bytes at ${offset} of descriptor ${fd}`,
      syscall: 'mmap',
      details: { fd, offset, length },
    });
  }
  const { bytes, address } = mapping;
  checkPlace(address, pageSize, () => mapping.unmap());
  return {
    bytes,
    address,
    size: length,
    // The descriptor is the program's: by the time of a ticket its number may be another file's.
    file: undefined,
    kind: 'memory',
    mayBeLent: false,
    release: () => mapping.unmap(),
  };
}

function deviceBacking({ device, region, offset = 0, length }: DeviceRange, pageSize: number): Backing {
  if (typeof device?.onClose !== 'function') throw noMemory(device);
  // One that is closing may still answer, and tells nobody any more when it goes.
  if (device.closed) throw new VfioError('ERR_VFIO_CLOSED', `${device.address} was closed.`);
  const size = length ?? device.channel.region(region).size - offset;
  checkRange(offset, size, pageSize);
  const mapping = device.channel.mapRange(region, offset, size);
  checkPlace(mapping.address, pageSize, () => mapping.close());
  return {
    bytes: new Uint8Array(0),
    address: mapping.address,
    size,
    file: undefined,
    kind: 'registers',
    mayBeLent: false,
    beforeItGoes: (step) => device.onClose('windows', step),
    release: () => mapping.close(),
  };
}

/** Where the IOMMU's pages are larger than the system's, what the system maps may begin amid one ([T1-19]). */
function checkPlace(address: bigint, pageSize: number, release: () => void): void {
  if (address % BigInt(pageSize) === 0n) return;
  release();
  throw new VfioError('ERR_VFIO_MAPPING', `the system put it where no page of the IOMMU (${pageSize} bytes) begins.`, {
    remedy: 'Use memory of allocate(), which begins where one does.',
    details: { address, pageSize },
  });
}

const noMemory = (source: unknown): VfioError =>
  new VfioError('ERR_VFIO_ARGUMENT', `${String(source)} is no memory that can be mapped.`, {
    remedy: 'Pass a WebAssembly.Memory, a view of its buffer, { fd, length }, or { device, region }.',
  });

function checkRange(offset: number, length: number, pageSize: number): void {
  const fits = [offset, length].every((value) => Number.isSafeInteger(value) && value >= 0 && value % pageSize === 0);
  if (fits && length > 0) return;
  throw new VfioError('ERR_VFIO_ARGUMENT', `${length} bytes at ${offset} are not whole pages of ${pageSize} bytes.`, {
    details: { offset, length, pageSize },
  });
}
