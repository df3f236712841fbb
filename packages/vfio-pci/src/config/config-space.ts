/** Configuration space by name: of a device, or of bytes captured from one. */

import { type DeviceChannel, RegionIndex, type RegisterWindow, VfioError } from 'vfio-core';
import {
  type CapabilityName,
  capabilityName,
  capabilityTable,
  type ExtendedCapabilityName,
  extendedCapabilityName,
  extendedTable,
  type TableOf,
  TYPE0_HEADER,
  TYPE1_HEADER,
} from '../layouts/index.js';
import { bindRegisters, type RegistersOf, type RegisterTable } from '../registers/index.js';
import { BytesWindow } from './bytes-window.js';
import { type Chain, type ChainEntry, walkExtended, walkStandard } from './chain.js';
import { describeConfig } from './describe.js';

/** A capability in its place. */
export interface Capability<N extends string = string> {
  readonly id: number;
  /** `MSI-X`, `PCIe`, ...; `id 0x7f` where the id is not known. */
  readonly name: N | string;
  /** Bytes from the start of configuration space. */
  readonly offset: number;
  readonly extended: boolean;
  /** Of extended capabilities, and of PM and PCIe. */
  readonly version?: number;
  /** Its registers; those of the header alone where it has no table. Throws `ERR_VFIO_MALFORMED` where it reaches past the end of the space. */
  readonly registers: RegistersOf<TableOf<N>>;
}

/** 0 to 2^24 - 1: base class, subclass, programming interface. */
const CLASS = 0x08;

/**
 * Configuration space of a PCI function. The same decoding works on a live device (`device.config`) and on captured bytes
 * (`ConfigSpace.from(bytes)`). Offsets are bytes and aligned to the access width; an access outside throws
 * `ERR_VFIO_WINDOW_RANGE`, a write to captured bytes `ERR_VFIO_NOT_SUPPORTED`.
 *
 * On a device VFIO answers for part of it: ids, BARs, INTx and MSI registers are emulated, capabilities that the kernel hides are left
 * out of the lists, and writes to read-only fields are dropped without a word ([CFG-6]).
 */
export class ConfigSpace {
  /** Bytes: 256, or 4096 with extended capabilities; captured bytes may be as few as 64. */
  readonly size: number;
  /** The registers of the header, endpoint layout. The first 16 bytes and the interrupt pin are the same for bridges. */
  readonly header: RegistersOf<typeof TYPE0_HEADER>;

  /**
   * @param window on the whole space, 64 bytes or more
   * @param address for messages
   */
  constructor(
    readonly window: RegisterWindow,
    readonly address?: string,
  ) {
    if (window.length < TYPE0_HEADER.size) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `Configuration space has 64 bytes at least, not ${window.length}.`, {
        details: { length: window.length },
      });
    }
    this.size = window.length;
    this.header = bindRegisters(window, TYPE0_HEADER);
  }

  /** Decodes bytes captured from a device (64, 256 or 4096 of them), which are copied. Throws `ERR_VFIO_ARGUMENT` for fewer than 64. */
  static from(bytes: Uint8Array, address?: string): ConfigSpace {
    return new ConfigSpace(new BytesWindow(Uint8Array.from(bytes)), address);
  }

  /** The configuration space of an open device. Every access is one read or write of its descriptor. */
  static of(channel: DeviceChannel, address?: string): ConfigSpace {
    const { size } = channel.region(RegionIndex.CONFIG);
    return new ConfigSpace(channel.window(RegionIndex.CONFIG, 0, size, 'positioned'), address);
  }

  get vendorId(): number {
    return this.header.VENDOR_ID.read();
  }

  get deviceId(): number {
    return this.header.DEVICE_ID.read();
  }

  get command(): number {
    return this.header.COMMAND.read();
  }

  get status(): number {
    return this.header.STATUS.read();
  }

  /** 24 bits: base class, subclass, programming interface. `0x010802` is an NVMe controller. */
  get classCode(): number {
    return this.window.read32(CLASS) >>> 8;
  }

  get revision(): number {
    return this.header.REVISION.read();
  }

  /** 0 for an endpoint, 1 for a bridge. */
  get headerType(): number {
    return this.header.HEADER_TYPE.LAYOUT.read();
  }

  /** 0 for a bridge, which has none here. */
  get subsystemVendorId(): number {
    return this.headerType === 0 ? this.header.SUBSYSTEM_VENDOR_ID.read() : 0;
  }

  /** 0 for a bridge, which has none here. */
  get subsystemId(): number {
    return this.headerType === 0 ? this.header.SUBSYSTEM_ID.read() : 0;
  }

  /** 1 to 4 for INTA to INTD, 0 for none. */
  get interruptPin(): number {
    return this.header.INTERRUPT_PIN.read();
  }

  /** The header of a bridge. Throws `ERR_VFIO_NOT_SUPPORTED` for anything else. */
  get bridge(): RegistersOf<typeof TYPE1_HEADER> {
    if (this.headerType !== 1) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `${this.address ?? 'This function'} is no bridge.`, {
        details: { headerType: this.headerType },
      });
    }
    return bindRegisters(this.window, TYPE1_HEADER);
  }

  read8(offset: number): number {
    return this.window.read8(offset);
  }

  read16(offset: number): number {
    return this.window.read16(offset);
  }

  read32(offset: number): number {
    return this.window.read32(offset);
  }

  write8(offset: number, value: number): void {
    this.window.write8(offset, value);
  }

  write16(offset: number, value: number): void {
    this.window.write16(offset, value);
  }

  write32(offset: number, value: number): void {
    this.window.write32(offset, value);
  }

  /** A table on a part of this space: for capabilities that this package has no table for. */
  registers<T extends RegisterTable>(table: T, options: { readonly offset?: number } = {}): RegistersOf<T> {
    return bindRegisters(this.window, table, options);
  }

  /** The standard capabilities in the order of the list. Throws `ERR_VFIO_MALFORMED` for a list that does not hold together. */
  capabilities(): Capability[] {
    return intact(walkStandard(this.window)).map((entry) => standardCapability(this.window, entry));
  }

  /** The extended capabilities, from 0x100 on. Empty where the space has 256 bytes. Throws as {@link capabilities}. */
  extendedCapabilities(): Capability[] {
    return intact(walkExtended(this.window)).map((entry) => extendedCapability(this.window, entry));
  }

  /**
   * The first capability of this name, standard or extended; undefined where there is none.
   *
   * ```ts
   * const vectors = device.config.capability('MSI-X')?.registers.CONTROL.TABLE_SIZE.read();
   * ```
   */
  capability<N extends CapabilityName | ExtendedCapabilityName>(name: N): Capability<N> | undefined {
    const found =
      this.capabilities().find((one) => one.name === name) ??
      this.extendedCapabilities().find((one) => one.name === name);
    return found as Capability<N> | undefined;
  }

  /** All bytes, as they read now. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.size);
    const view = new DataView(bytes.buffer);
    const words = this.size & ~3;
    for (let offset = 0; offset < words; offset += 4) view.setUint32(offset, this.window.read32(offset), true);
    for (let offset = words; offset < this.size; offset++) bytes[offset] = this.window.read8(offset);
    return bytes;
  }

  /** In words, as `lspci -v` has it. A broken list is told, not thrown. */
  toString(): string {
    return describeConfig(this);
  }
}

function intact(chain: Chain): readonly ChainEntry[] {
  if (chain.broken !== undefined) throw chain.broken;
  return chain.entries;
}

/** @internal */
export function standardCapability(window: RegisterWindow, entry: ChainEntry): Capability {
  const name = capabilityName(entry.id);
  const version = name === 'PM' ? entry.control & 7 : name === 'PCIe' ? entry.control & 0xf : undefined;
  // Conventional capabilities end with the conventional space, also where more follows.
  const limit = Math.min(window.length, 0x100);
  return place(window, entry, name, false, version, capabilityTable(entry.id, entry.control), limit);
}

/** @internal */
export const extendedCapability = (window: RegisterWindow, entry: ChainEntry): Capability =>
  place(window, entry, extendedCapabilityName(entry.id), true, entry.control, extendedTable(entry.id), window.length);

function place(
  window: RegisterWindow,
  { id, offset }: ChainEntry,
  name: string,
  extended: boolean,
  version: number | undefined,
  table: RegisterTable,
  limit: number,
): Capability {
  let bound: RegistersOf<RegisterTable> | undefined;
  return {
    id,
    name,
    offset,
    extended,
    ...(version === undefined ? {} : { version }),
    get registers() {
      if (offset + table.size > limit) {
        throw new VfioError(
          'ERR_VFIO_MALFORMED',
          `Capability ${name} at 0x${offset.toString(16)} needs ${table.size} bytes and reaches past 0x${limit.toString(16)}.`,
          { details: { id, name, offset, size: table.size, limit } },
        );
      }
      bound ??= bindRegisters(window, table, { offset });
      return bound;
    },
  };
}
