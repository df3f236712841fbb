/** The two windows of this package: on mapped memory, and over positioned reads and writes. */

import { VfioError } from '../errors/error.js';
import { systemError } from '../errors/system-error.js';
import type { RegisterWindow } from './register-window.js';
import type { Fd, SystemCalls } from './system-calls.js';

const empty = new ArrayBuffer(0);
const allOnes64 = 0xffff_ffff_ffff_ffffn;
/** Offsets are handled as 32-bit numbers, so that an access stays one instruction. */
const longest = 2 ** 32;

function refuse(length: number, offset: number, bytes: number): never {
  const aligned = Number.isSafeInteger(offset) && offset % bytes === 0;
  const why = !Number.isSafeInteger(offset)
    ? 'is not a whole number'
    : aligned
      ? `does not lie inside the window of ${length} bytes`
      : 'is not aligned to its width';
  throw new VfioError('ERR_VFIO_WINDOW_RANGE', `a ${bytes * 8}-bit access at offset ${hex(offset)} ${why}.`, {
    details: { offset, width: bytes, length },
  });
}

const hex = (n: number): string => (Number.isSafeInteger(n) && n >= 0 ? `0x${n.toString(16)}` : String(n));

function checkPart(length: number, offset: number, partLength: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(partLength);
  if (whole && offset >= 0 && partLength >= 0 && offset + partLength <= length) return;
  throw new VfioError(
    'ERR_VFIO_WINDOW_RANGE',
    `a part of ${partLength} bytes at offset ${hex(offset)} does not lie inside the window of ${length} bytes.`,
    { details: { offset, partLength, length } },
  );
}

/**
 * Registers on mapped memory. Each access is one load or store of exactly its width.
 *
 * The views are made only where the start is aligned to their width: in a window that starts at 4 modulo 8 there is no
 * 64-bit access. Host byte order is used; big-endian hosts are refused where the backend loads.
 *
 * The accesses are plain, not `Atomics`: those are calls, and their store is a locked exchange, which must not be done to
 * device memory. V8 neither merges, drops nor hoists plain accesses (tests watch for the day that it does).
 */
export class MappedWindow implements RegisterWindow {
  readonly length: number;
  onClose: (() => void) | undefined = undefined;
  private u8: Uint8Array;
  private u16: Uint16Array;
  private u32: Uint32Array;
  private u64: BigUint64Array;
  private shut = false;
  private readonly parts = new Set<MappedWindow>();
  private readonly parent: MappedWindow | undefined;

  /** @param bytes the mapped memory, at most 4 GiB. Once it is detached, this window counts as closed. */
  constructor(bytes: Uint8Array, parent?: MappedWindow) {
    if (bytes.length > longest) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `a window of ${bytes.length} bytes is longer than 4 GiB.`, {
        remedy: 'Make several windows.',
      });
    }
    const { buffer, byteOffset, length } = bytes;
    this.length = length;
    this.parent = parent;
    this.u8 = bytes;
    this.u16 = byteOffset % 2 === 0 ? new Uint16Array(buffer, byteOffset, length / 2) : new Uint16Array(empty);
    this.u32 = byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, length / 4) : new Uint32Array(empty);
    this.u64 = byteOffset % 8 === 0 ? new BigUint64Array(buffer, byteOffset, length / 8) : new BigUint64Array(empty);
  }

  get closed(): boolean {
    return this.shut || (this.length > 0 && this.u8.length === 0);
  }

  // A typed array answers `undefined` outside its bounds and when detached, without touching memory, so one comparison
  // leads both to the cold method. The index is divided, not shifted: a shift would fold an offset of 4 GiB back to 0, and
  // an offset that is not a multiple of the width back to one that is. A store outside would be dropped without a word,
  // so a store compares first.
  read8(offset: number): number {
    return this.u8[offset] ?? this.absent(offset, 1);
  }

  read16(offset: number): number {
    return this.u16[offset / 2] ?? this.absent(offset, 2);
  }

  read32(offset: number): number {
    return this.u32[offset / 4] ?? this.absent(offset, 4);
  }

  read64(offset: number): bigint {
    return this.u64[offset / 8] ?? this.absent64(offset);
  }

  write8(offset: number, value: number): void {
    if (offset >>> 0 === offset && offset < this.u8.length) this.u8[offset] = value;
    else this.absent(offset, 1);
  }

  write16(offset: number, value: number): void {
    if ((offset >>> 1) * 2 === offset && offset >>> 1 < this.u16.length) this.u16[offset >>> 1] = value;
    else this.absent(offset, 2);
  }

  write32(offset: number, value: number): void {
    if ((offset >>> 2) * 4 === offset && offset >>> 2 < this.u32.length) this.u32[offset >>> 2] = value;
    else this.absent(offset, 4);
  }

  write64(offset: number, value: bigint): void {
    if ((offset >>> 3) * 8 === offset && offset >>> 3 < this.u64.length) this.u64[offset >>> 3] = value;
    else this.absent64(offset);
  }

  window(offset: number, length: number): MappedWindow {
    checkPart(this.length, offset, length);
    const part = new MappedWindow(this.closed ? new Uint8Array(0) : this.u8.subarray(offset, offset + length), this);
    if (this.closed) part.close();
    else this.parts.add(part);
    return part;
  }

  close(): void {
    if (this.shut) return;
    this.shut = true;
    for (const part of this.parts) part.close();
    this.parent?.parts.delete(this);
    this.u8 = new Uint8Array(empty);
    this.u16 = new Uint16Array(empty);
    this.u32 = new Uint32Array(empty);
    this.u64 = new BigUint64Array(empty);
    this.onClose?.();
  }

  private absent(offset: number, bytes: number): number {
    if (!this.closed) refuse(this.length, offset, bytes);
    return 2 ** (8 * bytes) - 1;
  }

  private absent64(offset: number): bigint {
    this.absent(offset, 8);
    return allOnes64;
  }
}

/**
 * Registers over pread and pwrite: for regions that cannot be mapped (configuration space, I/O ports, ROM).
 * Each access is one system call of exactly its width, little-endian as PCI is.
 *
 * Throws what the kernel answers (`ERR_VFIO_DEVICE_GONE`, `ERR_VFIO_SHORT_ACCESS`, ...), except after close.
 */
export class PositionedWindow implements RegisterWindow {
  readonly length: number;
  onClose: (() => void) | undefined = undefined;
  private shut = false;
  private readonly parts = new Set<PositionedWindow>();
  private readonly system: SystemCalls;
  private readonly fd: Fd;
  private readonly fileOffset: number;
  private readonly parent: PositionedWindow | undefined;
  private readonly view = new DataView(new ArrayBuffer(8));
  /** One view per width (index 1, 2, 4, 8), made once. */
  private readonly scratch = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((bytes) => new Uint8Array(this.view.buffer, 0, bytes));

  /** @param fileOffset where the window starts in the descriptor */
  constructor(system: SystemCalls, fd: Fd, fileOffset: number, length: number, parent?: PositionedWindow) {
    this.system = system;
    this.fd = fd;
    this.fileOffset = fileOffset;
    this.length = length;
    this.parent = parent;
  }

  get closed(): boolean {
    return this.shut;
  }

  read8(offset: number): number {
    return this.get(offset, 1) ? this.view.getUint8(0) : 0xff;
  }

  read16(offset: number): number {
    return this.get(offset, 2) ? this.view.getUint16(0, true) : 0xffff;
  }

  read32(offset: number): number {
    return this.get(offset, 4) ? this.view.getUint32(0, true) : 0xffff_ffff;
  }

  read64(offset: number): bigint {
    return this.get(offset, 8) ? this.view.getBigUint64(0, true) : allOnes64;
  }

  write8(offset: number, value: number): void {
    this.view.setUint8(0, value);
    this.put(offset, 1);
  }

  write16(offset: number, value: number): void {
    this.view.setUint16(0, value, true);
    this.put(offset, 2);
  }

  write32(offset: number, value: number): void {
    this.view.setUint32(0, value, true);
    this.put(offset, 4);
  }

  write64(offset: number, value: bigint): void {
    this.view.setBigUint64(0, value, true);
    this.put(offset, 8);
  }

  window(offset: number, length: number): PositionedWindow {
    checkPart(this.length, offset, length);
    const part = new PositionedWindow(this.system, this.fd, this.fileOffset + offset, length, this);
    if (this.shut) part.close();
    else this.parts.add(part);
    return part;
  }

  close(): void {
    if (this.shut) return;
    this.shut = true;
    for (const part of this.parts) part.close();
    this.parent?.parts.delete(this);
    this.onClose?.();
  }

  /** False once closed: the descriptor's number may belong to somebody else by then. */
  private get(offset: number, bytes: number): boolean {
    if (this.shut) return false;
    if (offset % bytes !== 0 || offset < 0 || offset + bytes > this.length) refuse(this.length, offset, bytes);
    const done = this.system.pread(this.fd, this.scratch[bytes] as Uint8Array, this.fileOffset + offset);
    if (done !== bytes) this.failed('pread', offset, bytes, done);
    return true;
  }

  private put(offset: number, bytes: number): void {
    if (this.shut) return;
    if (offset % bytes !== 0 || offset < 0 || offset + bytes > this.length) refuse(this.length, offset, bytes);
    const done = this.system.pwrite(this.fd, this.scratch[bytes] as Uint8Array, this.fileOffset + offset);
    if (done !== bytes) this.failed('pwrite', offset, bytes, done);
  }

  private failed(syscall: 'pread' | 'pwrite', offset: number, bytes: number, done: number): never {
    const details = { offset, width: bytes, fileOffset: this.fileOffset };
    if (done < 0)
      throw systemError(done, { syscall, what: `a ${bytes * 8}-bit register access at ${hex(offset)}`, details });
    throw new VfioError('ERR_VFIO_SHORT_ACCESS', `${syscall} of ${bytes} bytes at ${hex(offset)} took ${done}.`, {
      syscall,
      details,
    });
  }
}
