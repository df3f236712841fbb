/** Mapped registers: each access of a window is one access of the model. */

import { type DeviceMapping, type RegisterWindow, VfioError } from 'vfio-core';
import { type DeviceMemory, PAGE } from './address-space.js';
import type { DeviceFile } from './device.js';
import { EINVAL } from './errno.js';

/** A mapping of a part of a BAR. Holds the device file open, as a real one does ([DEV-26]). */
export class ModelMapping implements DeviceMapping, DeviceMemory {
  readonly window: RegisterWindow;
  readonly address: bigint;
  open = true;
  /** Pages that a touch found dead; they stay so until they are mapped again ([DEV-27]). */
  private dead: Set<number> | undefined;

  constructor(
    private readonly file: DeviceFile,
    private readonly bar: number,
    private readonly offset: number,
    readonly length: number,
    readonly writable: boolean,
  ) {
    file.hold();
    this.address = file.device.machine.memory.space.add(this, 0, length, PAGE, writable);
    this.window = new ModelWindow(this, 0, length);
    file.device.machine.deviceMappings.add(this);
  }

  get faulted(): boolean {
    return this.dead !== undefined;
  }

  remap(): number {
    if (!this.open) return -EINVAL;
    this.dead = undefined;
    return 0;
  }

  unmap(): void {
    if (!this.open) return;
    this.open = false;
    this.window.close();
    const { machine } = this.file.device;
    machine.memory.space.remove(this.address);
    machine.deviceMappings.delete(this);
    this.file.release();
  }

  /** Whether a touch of this byte reaches the device; if not, its page is dead from now on. */
  private alive(offset: number): boolean {
    const page = Math.floor(offset / PAGE);
    if (this.dead?.has(page)) return false;
    const { device } = this.file;
    if (device.memoryEnabled && device.function.present) return true;
    this.dead ??= new Set();
    this.dead.add(page);
    return false;
  }

  load(offset: number, width: 1 | 2 | 4): number {
    if (!this.alive(offset)) return width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
    return this.file.device.function.bars.read(this.bar, this.offset + offset, width);
  }

  store(offset: number, width: 1 | 2 | 4, value: number): void {
    if (this.alive(offset)) this.file.device.function.bars.write(this.bar, this.offset + offset, width, value);
  }

  load64(offset: number): bigint {
    if (!this.alive(offset)) return 0xffff_ffff_ffff_ffffn;
    return this.file.device.function.bars.read64(this.bar, this.offset + offset);
  }

  store64(offset: number, value: bigint): void {
    if (this.alive(offset)) this.file.device.function.bars.write64(this.bar, this.offset + offset, value);
  }

  // Another device reaches these registers by DMA ([T1-27]), whatever became of the program's mapping: the bus carries pieces of 8, 4, 2
  // and 1 byte, and reads all-ones where nobody answers.

  read(offset: number, into: Uint8Array): void {
    const { bars } = this.file.device.function;
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    forEachPiece(offset, into.length, (at, inside, width) => {
      const place = this.offset + at;
      if (width === 8) view.setBigUint64(inside, bars.read64(this.bar, place), true);
      else if (width === 4) view.setUint32(inside, bars.read(this.bar, place, 4), true);
      else if (width === 2) view.setUint16(inside, bars.read(this.bar, place, 2), true);
      else view.setUint8(inside, bars.read(this.bar, place, 1));
    });
  }

  write(offset: number, from: Uint8Array): void {
    const { bars } = this.file.device.function;
    const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
    forEachPiece(offset, from.length, (at, inside, width) => {
      const place = this.offset + at;
      if (width === 8) bars.write64(this.bar, place, view.getBigUint64(inside, true));
      else if (width === 4) bars.write(this.bar, place, 4, view.getUint32(inside, true));
      else if (width === 2) bars.write(this.bar, place, 2, view.getUint16(inside, true));
      else bars.write(this.bar, place, 1, view.getUint8(inside));
    });
  }
}

/** Naturally aligned pieces of a range: where each lies, where in the range, and how wide it is. */
function forEachPiece(
  offset: number,
  length: number,
  access: (at: number, inside: number, width: 1 | 2 | 4 | 8) => void,
): void {
  for (let inside = 0; inside < length; ) {
    const at = offset + inside;
    const width = ([8, 4, 2, 1] as const).find((one) => at % one === 0 && one <= length - inside) ?? 1;
    access(at, inside, width);
    inside += width;
  }
}

export class ModelWindow implements RegisterWindow {
  onClose: (() => void) | undefined = undefined;
  private shut = false;
  private readonly parts = new Set<ModelWindow>();

  constructor(
    private readonly mapping: ModelMapping,
    private readonly start: number,
    readonly length: number,
    private readonly parent?: ModelWindow,
  ) {}

  get closed(): boolean {
    return this.shut;
  }

  read8(offset: number): number {
    this.check(offset, 1);
    return this.shut ? 0xff : this.mapping.load(this.start + offset, 1);
  }

  read16(offset: number): number {
    this.check(offset, 2);
    return this.shut ? 0xffff : this.mapping.load(this.start + offset, 2);
  }

  read32(offset: number): number {
    this.check(offset, 4);
    return this.shut ? 0xffff_ffff : this.mapping.load(this.start + offset, 4);
  }

  read64(offset: number): bigint {
    this.check(offset, 8);
    return this.shut ? 0xffff_ffff_ffff_ffffn : this.mapping.load64(this.start + offset);
  }

  write8(offset: number, value: number): void {
    this.check(offset, 1, true);
    if (!this.shut) this.mapping.store(this.start + offset, 1, value & 0xff);
  }

  write16(offset: number, value: number): void {
    this.check(offset, 2, true);
    if (!this.shut) this.mapping.store(this.start + offset, 2, value & 0xffff);
  }

  write32(offset: number, value: number): void {
    this.check(offset, 4, true);
    if (!this.shut) this.mapping.store(this.start + offset, 4, value >>> 0);
  }

  write64(offset: number, value: bigint): void {
    this.check(offset, 8, true);
    if (!this.shut) this.mapping.store64(this.start + offset, BigInt.asUintN(64, value));
  }

  window(offset: number, length: number): RegisterWindow {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new VfioError(
        'ERR_VFIO_WINDOW_RANGE',
        `window of ${length} bytes at ${offset} in one of ${this.length} bytes`,
      );
    }
    const part = new ModelWindow(this.mapping, this.start + offset, length, this);
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

  private check(offset: number, width: number, write = false): void {
    if (!(offset >= 0 && offset + width <= this.length) || offset % width !== 0) {
      const why =
        offset % width === 0 ? `lies outside of the window of ${this.length} bytes` : 'is not aligned to its width';
      throw new VfioError(
        'ERR_VFIO_WINDOW_RANGE',
        `a ${8 * width}-bit access at offset 0x${offset.toString(16)} ${why}.`,
        { details: { offset, width, length: this.length } },
      );
    }
    if (write && !this.mapping.writable) {
      throw new VfioError('ERR_VFIO_REGISTER_ACCESS', 'store through a mapping that may only be read');
    }
  }
}
