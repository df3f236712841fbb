/** A region of a device: a BAR, the ROM, configuration space, VGA. */

import { type DeviceChannel, RegionIndex, type RegisterWindow, VfioError } from 'vfio-core';
import { bindRegisters, type RegistersOf, type RegisterTable } from './registers/index.js';

/** How a window reaches its registers: mapped into memory, through read and write calls, or mapped where that works. */
export type WindowAccess = 'auto' | 'mapped' | 'positioned';

const regionNames = new Map<number, string>(Object.entries(RegionIndex).map(([name, index]) => [index, name]));

/**
 * A region of an open device. Offsets and lengths are bytes. Windows made here are closed with the device.
 * An access outside the region throws `ERR_VFIO_WINDOW_RANGE`.
 */
export class Region {
  readonly index: number;
  /** `BAR0`, `ROM`, `CONFIG`, ... */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Some of it can be mapped into memory. */
  readonly mappable: boolean;
  readonly readable: boolean;
  readonly writable: boolean;

  constructor(
    private readonly channel: DeviceChannel,
    index: number,
  ) {
    const info = channel.region(index);
    this.index = index;
    this.name = regionNames.get(index) ?? `region ${index}`;
    this.size = info.size;
    this.mappable = info.mappable;
    this.readable = info.readable;
    this.writable = info.writable;
  }

  /**
   * A window on part of the region, by default on all of it from `offset` on.
   * `mapped` throws `ERR_VFIO_NOT_SUPPORTED` where the part cannot be mapped.
   */
  window(offset = 0, length = this.size - offset, options: { readonly access?: WindowAccess } = {}): RegisterWindow {
    this.check(offset, length);
    return this.channel.window(this.index, offset, length, options.access ?? 'auto');
  }

  /**
   * A register table on this region. One window is opened for it, which closes with the device. Throws `ERR_VFIO_WINDOW_RANGE`
   * where the table does not fit.
   * @param options.offset bytes from the region's start to the table's; 0 by default
   */
  registers<T extends RegisterTable>(
    table: T,
    options: { readonly offset?: number; readonly access?: WindowAccess } = {},
  ): RegistersOf<T> {
    const { offset = 0, ...access } = options;
    this.check(offset, table.size);
    return bindRegisters(this.window(offset, table.size, access), table);
  }

  /** Fills `into` from `offset` on, through the descriptor. */
  read(offset: number, into: Uint8Array): void {
    this.check(offset, into.length);
    this.channel.read(this.index, offset, into);
  }

  /** Writes `from` at `offset`, through the descriptor. */
  write(offset: number, from: Uint8Array): void {
    this.check(offset, from.length);
    this.channel.write(this.index, offset, from);
  }

  toString(): string {
    const does = [this.readable ? 'read' : '', this.writable ? 'write' : '', this.mappable ? 'map' : ''].filter(
      Boolean,
    );
    return `${this.name}: ${this.size} bytes (${does.join(', ')})`;
  }

  private check(offset: number, length: number): void {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (whole && offset >= 0 && length >= 0 && offset + length <= this.size) return;
    throw new VfioError(
      'ERR_VFIO_WINDOW_RANGE',
      `${length} bytes at offset ${offset} do not lie inside ${this.name}, which has ${this.size} bytes.`,
      { details: { region: this.index, offset, length, size: this.size } },
    );
  }
}
