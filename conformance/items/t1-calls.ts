/** Calls of type1 that several items of it make. */

import { long, type World, word } from '../src/world.js';

export const PAGE = 4096;
/** A device address that edu reaches, in whole pages. */
export const at = (page: number): bigint => 0x10_0000n + BigInt(page * PAGE);
/** The last page of the 64-bit space. */
export const LAST_PAGE = 0xffff_ffff_ffff_f000n;
/** An address that no process has mapped. */
export const UNMAPPED = 0x1000n;

interface Capability {
  readonly id: number;
  readonly version: number;
  /** What follows the header. */
  readonly body: Uint8Array;
}

export interface Info {
  readonly result: number;
  /** The structure's bytes as the kernel left them. */
  readonly bytes: Uint8Array;
  readonly argsz: number;
  readonly flags: number;
  readonly pageSizes: bigint;
  readonly capOffset: number;
  readonly chain: readonly Capability[];
}

/** IOMMU_GET_INFO with a buffer of 512 bytes, of which `argsz` are announced. What the kernel does not write stays 0xee. */
export function info(w: World, container: number, argsz = 512): Info {
  const bytes = new Uint8Array(512).fill(0xee);
  new DataView(bytes.buffer).setUint32(0, argsz, true);
  const result = w.ioctl(container, 0x3b70, bytes);
  const flags = word(bytes, 4);
  const capOffset = word(bytes, 16);
  const chain: Capability[] = [];
  for (let offset = argsz >= 64 && flags & 2 ? capOffset : 0; offset !== 0; offset = word(bytes, offset + 4)) {
    const header = word(bytes, offset);
    chain.push({ id: header & 0xffff, version: header >>> 16, body: bytes.subarray(offset + 8) });
  }
  return { result, bytes, argsz: word(bytes, 0), flags, pageSizes: long(bytes, 8), capOffset, chain };
}

export function capability(w: World, container: number, id: number): Uint8Array {
  const found = info(w, container).chain.find((entry) => entry.id === id);
  if (found === undefined) throw new Error(`no capability ${id} in the chain`);
  return found.body;
}

/** Usable device addresses: first and last of each range. */
export function ranges(w: World, container: number): [bigint, bigint][] {
  const body = capability(w, container, 1);
  return Array.from({ length: word(body, 0) }, (_, i) => [long(body, 8 + 16 * i), long(body, 16 + 16 * i)]);
}

export const available = (w: World, container: number): number => word(capability(w, container, 3), 0);

/** A bitmap of the process for the two calls below. */
export interface Bitmap {
  readonly bytes: Uint8Array;
  /** Bytes that a bit stands for; a page by default. */
  readonly page?: number;
  /** Announced instead of the bitmap's size. */
  readonly size?: number;
}

function withBitmap(
  w: World,
  fd: number,
  request: number,
  header: readonly [number, number],
  range: readonly [bigint, bigint],
  bitmap: Bitmap,
): { readonly result: number; readonly size: bigint } {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, header[0], true);
  view.setUint32(4, header[1], true);
  const rest = [...range, BigInt(bitmap.page ?? PAGE), BigInt(bitmap.size ?? bitmap.bytes.length)];
  for (const [index, value] of rest.entries()) view.setBigUint64(8 + 8 * index, value, true);
  const result = w.system.ioctl(fd, request, bytes, { pointers: [{ at: 40, bytes: bitmap.bytes }] });
  return { result, size: view.getBigUint64(16, true) };
}

/** UNMAP_DMA with a bitmap behind it. */
export const unmapWith = (
  w: World,
  container: number,
  iova: bigint,
  size: number,
  bitmap: Bitmap,
  flags = 1,
  argsz = 48,
): { readonly result: number; readonly size: bigint } =>
  withBitmap(w, container, 0x3b72, [argsz, flags], [iova, BigInt(size)], bitmap);

/** IOMMU_DIRTY_PAGES, GET_BITMAP. */
export const dirtyBitmap = (
  w: World,
  container: number,
  iova: bigint,
  size: number | bigint,
  bitmap: Bitmap,
  flags = 4,
  argsz = 48,
): number => withBitmap(w, container, 0x3b75, [argsz, flags], [iova, BigInt(size)], bitmap).result;

/** IOMMU_DIRTY_PAGES without a range. START is 1, STOP 2. */
export function track(w: World, container: number, flags: number, argsz = 8): number {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(0, argsz, true);
  new DataView(bytes.buffer).setUint32(4, flags, true);
  return w.ioctl(container, 0x3b75, bytes);
}

/** Has edu's DMA engine move bytes between its buffer and `iova`. Source: QEMU, docs/specs/edu. */
export async function dma(
  w: World,
  device: number,
  direction: 'from memory' | 'to memory',
  iova: bigint,
  length: number,
): Promise<void> {
  const store = (register: number, value: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    w.is(w.system.pwrite(device, bytes, register), 4, `store at ${register}`);
  };
  const busy = () => {
    const bytes = new Uint8Array(4);
    w.is(w.system.pread(device, bytes, 0x98), 4, 'load of the command');
    return (word(bytes, 0) & 1) !== 0;
  };
  w.setConfig(device, 4, 2, w.config(device, 4, 2) | 4);
  const buffer = 0x4_0000;
  const [from, to] = direction === 'from memory' ? [Number(iova), buffer] : [buffer, Number(iova)];
  store(0x80, from);
  store(0x88, to);
  store(0x90, length);
  store(0x98, direction === 'from memory' ? 1 : 3);
  w.is(await w.until(() => !busy()), true, 'the transfer ended');
}

/** Runs with module parameters of type1 set otherwise, and puts them back. */
export async function withParameter(
  w: World,
  name: string,
  value: string,
  run: () => void | Promise<void>,
): Promise<void> {
  const before = w.parameter('vfio_iommu_type1', name) ?? '';
  w.setParameter('vfio_iommu_type1', name, value);
  try {
    await run();
  } finally {
    w.setParameter('vfio_iommu_type1', name, before);
  }
}
