/** A window on captured bytes: reads like a device, takes no writes. */

import { type RegisterWindow, VfioError } from 'vfio-core';

/** Little-endian, as PCI is. Reads obey the rules of every window; writes throw `ERR_VFIO_NOT_SUPPORTED`. */
export class BytesWindow implements RegisterWindow {
  readonly length: number;
  private readonly view: DataView;
  private shut = false;

  constructor(
    bytes: Uint8Array,
    private readonly parent?: BytesWindow,
  ) {
    this.length = bytes.length;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get closed(): boolean {
    return this.shut || this.parent?.closed === true;
  }

  read8(offset: number): number {
    return this.reads(offset, 1) ? this.view.getUint8(offset) : 0xff;
  }

  read16(offset: number): number {
    return this.reads(offset, 2) ? this.view.getUint16(offset, true) : 0xffff;
  }

  read32(offset: number): number {
    return this.reads(offset, 4) ? this.view.getUint32(offset, true) : 0xffff_ffff;
  }

  read64(offset: number): bigint {
    return this.reads(offset, 8) ? this.view.getBigUint64(offset, true) : 0xffff_ffff_ffff_ffffn;
  }

  write8(offset: number): void {
    this.refuse(offset, 1);
  }

  write16(offset: number): void {
    this.refuse(offset, 2);
  }

  write32(offset: number): void {
    this.refuse(offset, 4);
  }

  write64(offset: number): void {
    this.refuse(offset, 8);
  }

  window(offset: number, length: number): RegisterWindow {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (!whole || offset < 0 || length < 0 || offset + length > this.length) {
      throw this.outside(`a part of ${length} bytes at offset ${offset}`, { offset, partLength: length });
    }
    return new BytesWindow(new Uint8Array(this.view.buffer, this.view.byteOffset + offset, length), this);
  }

  close(): void {
    this.shut = true;
  }

  private reads(offset: number, width: number): boolean {
    if (this.closed) return false;
    const fits = Number.isSafeInteger(offset) && offset >= 0 && offset % width === 0 && offset + width <= this.length;
    if (!fits) throw this.outside(`a ${width * 8}-bit access at offset ${offset}`, { offset, width });
    return true;
  }

  private refuse(offset: number, width: number): never {
    throw new VfioError(
      'ERR_VFIO_NOT_SUPPORTED',
      'these are captured bytes, and not a device: they cannot be written.',
      {
        remedy: 'Open the device: PciDevice.open(address).',
        details: { offset, width },
      },
    );
  }

  private outside(what: string, details: Record<string, unknown>): VfioError {
    const summary = `${what} does not lie inside the window of ${this.length} bytes, or is not aligned to its width.`;
    return new VfioError('ERR_VFIO_WINDOW_RANGE', summary, { details: { ...details, length: this.length } });
  }
}
