/** `endpoint({...})`: configuration space of an ordinary PCI function, from the few facts that matter. */

import { VfioError } from 'vfio-core';
import type { BarDescription, FunctionDescription } from './contract.js';

/** A capability's bytes after its header of two bytes (standard) or four (extended). */
export interface CapabilityBytes {
  readonly id: number;
  /** Version of an extended capability; 1 by default. */
  readonly version?: number;
  readonly body: Uint8Array;
}

/** What {@link endpoint} takes. */
export interface EndpointOptions {
  /** Vendor id, 16 bits. */
  readonly vendor: number;
  /** Device id, 16 bits. */
  readonly device: number;
  /** Class code, 24 bits: base class, sub-class, programming interface (`0x010802` is an NVMe controller). */
  readonly class: number;
  readonly revision?: number;
  readonly subsystemVendor?: number;
  readonly subsystemDevice?: number;
  /** In order of index; a 64-bit one takes two. `undefined` leaves an index out. */
  readonly bars?: readonly (BarDescription | undefined)[];
  /**
   * MSI-X vectors, 1 to 2048. As a number, the table gets a BAR of its own in the first free place; else `bar`, `table` and `pending` say where
   * it stands (byte offsets, multiples of 8).
   */
  readonly msix?:
    | number
    | { readonly vectors: number; readonly bar: number; readonly table: number; readonly pending: number };
  /** MSI vectors: 1, 2, 4, 8, 16 or 32. */
  readonly msi?: number;
  /** INTx pin, 1 (INTA, the default) to 4, or 0 for none. */
  readonly pin?: number;
  /** With a PCI Express capability, function-level reset and 4096 bytes of configuration space (the default), or a conventional function. */
  readonly express?: boolean;
  /** With a power management capability. By default as `express`. */
  readonly powerManagement?: boolean;
  /** Expansion ROM contents. */
  readonly rom?: Uint8Array;
  /** Further capabilities, standard ones. */
  readonly capabilities?: readonly CapabilityBytes[];
  /** Extended capabilities, from 0x100 on. */
  readonly extended?: readonly CapabilityBytes[];
}

/** A memory BAR of `size` bytes: a power of two, 16 or more. */
export const memoryBar = (
  size: number,
  options: { readonly is64?: boolean; readonly prefetchable?: boolean } = {},
): BarDescription => ({ kind: 'memory', size, ...options });

/** An I/O BAR of `size` bytes: a power of two from 4 to 256. */
export const ioBar = (size: number): BarDescription => ({ kind: 'io', size });

/**
 * Describes an endpoint. Source of the layouts: PCI Local Bus 3.0 section 6, PCI Express Base 5.0 section 7.
 *
 * Throws `ERR_VFIO_ARGUMENT` where the facts do not fit together.
 */
export function endpoint(options: EndpointOptions): FunctionDescription {
  const express = options.express ?? true;
  const pin = options.pin ?? 1;
  const bars = placeBars(options.bars ?? []);
  const msix = options.msix === undefined ? undefined : placeMsix(options.msix, bars);
  if (msix && (msix.vectors < 1 || msix.vectors > 2048)) refuse(`MSI-X has 1 to 2048 vectors, not ${msix.vectors}`);
  const { msi } = options;
  if (msi !== undefined && ![1, 2, 4, 8, 16, 32].includes(msi))
    refuse(`MSI has 1, 2, 4, 8, 16 or 32 vectors, not ${msi}`);
  if (pin < 0 || pin > 4) refuse(`the interrupt pin is 0 to 4, not ${pin}`);

  const config = new Uint8Array(express ? 4096 : 256);
  const view = new DataView(config.buffer);
  view.setUint16(0x00, options.vendor, true);
  view.setUint16(0x02, options.device, true);
  view.setUint32(0x08, ((options.class << 8) | (options.revision ?? 0)) >>> 0, true);
  bars.forEach((bar, index) => {
    if (bar !== undefined) view.setUint32(0x10 + 4 * index, typeBits(bar), true);
  });
  view.setUint16(0x2c, options.subsystemVendor ?? 0, true);
  view.setUint16(0x2e, options.subsystemDevice ?? 0, true);
  view.setUint8(0x3d, pin);

  const chain = new CapabilityChain(config);
  if (options.powerManagement ?? express) chain.add(0x01, powerManagement());
  if (msi !== undefined) chain.add(0x05, messageSignalled(msi));
  if (express) chain.add(0x10, pciExpress());
  if (msix !== undefined) chain.add(0x11, msixBody(msix));
  for (const { id, body } of options.capabilities ?? []) chain.add(id, body);
  chain.addExtended(options.extended ?? []);

  return {
    config,
    bars,
    pin,
    ...(msix && { msix }),
    ...(msi !== undefined && { msi: { vectors: msi } }),
    ...(options.rom && { rom: options.rom }),
  };
}

function refuse(why: string): never {
  throw new VfioError('ERR_VFIO_ARGUMENT', why);
}

function typeBits(bar: BarDescription): number {
  if (bar.kind === 'io') return 1;
  return (bar.is64 ? 4 : 0) | (bar.prefetchable ? 8 : 0);
}

function placeBars(list: readonly (BarDescription | undefined)[]): (BarDescription | undefined)[] {
  const bars: (BarDescription | undefined)[] = [];
  for (const bar of list) {
    if (
      bar !== undefined &&
      (2 ** Math.round(Math.log2(bar.size)) !== bar.size || bar.size < (bar.kind === 'io' ? 4 : 16))
    ) {
      refuse(`a BAR of ${bar.size} bytes: sizes are powers of two, 16 or more (I/O: 4 or more)`);
    }
    bars.push(bar);
    if (bar?.is64) bars.push(undefined);
  }
  if (bars.length > 6) refuse('these BARs need more than six places');
  return bars;
}

function placeMsix(msix: NonNullable<EndpointOptions['msix']>, bars: (BarDescription | undefined)[]) {
  if (typeof msix !== 'number') return msix;
  if (bars.length > 5) refuse('no free BAR for the MSI-X table');
  // The first half for the table, the second for the pending bits, as QEMU lays such a BAR out.
  const half = 2 ** Math.max(11, Math.ceil(Math.log2(msix * 16)));
  bars.push(memoryBar(2 * half));
  return { vectors: msix, bar: bars.length - 1, table: 0, pending: half };
}

/** Version 3, states D0 and D3hot, no soft reset when leaving D3hot. */
const powerManagement = (): Uint8Array => Uint8Array.of(0x03, 0x00, 0x08, 0x00, 0x00, 0x00);

/** 64-bit addresses, no masking per vector. */
const messageSignalled = (vectors: number): Uint8Array =>
  Uint8Array.of((Math.log2(vectors) << 1) | 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/** Version 2, endpoint, function-level reset, payload 128 bytes, 2.5 GT/s x1. */
function pciExpress(): Uint8Array {
  const body = new Uint8Array(58);
  const view = new DataView(body.buffer);
  view.setUint16(0, 0x0002, true);
  view.setUint32(2, (1 << 28) | (1 << 15), true); // DevCap: FLR, role-based error reporting
  view.setUint16(6, 0x2810, true); // DevCtl: relaxed ordering, no snoop, read requests of 512 bytes
  view.setUint32(10, 0x0000_0411, true); // LnkCap: x1, 2.5 GT/s
  view.setUint16(16, 0x0011, true); // LnkSta: the same
  return body;
}

function msixBody(msix: { vectors: number; bar: number; table: number; pending: number }): Uint8Array {
  const body = new Uint8Array(10);
  const view = new DataView(body.buffer);
  view.setUint16(0, msix.vectors - 1, true);
  view.setUint32(2, msix.table | msix.bar, true);
  view.setUint32(6, msix.pending | msix.bar, true);
  return body;
}

/** Puts capabilities one behind the other and links them. */
class CapabilityChain {
  private next = 0x40;
  private link = 0x34;

  constructor(private readonly config: Uint8Array) {}

  add(id: number, body: Uint8Array): void {
    const at = this.next;
    if (at + 2 + body.length > 0x100) refuse('the capabilities do not fit into 256 bytes');
    const { config } = this;
    config[this.link] = at;
    config[0x06] = (config[0x06] as number) | 0x10;
    config[at] = id;
    config.set(body, at + 2);
    this.link = at + 1;
    this.next = (at + 2 + body.length + 3) & ~3;
  }

  addExtended(list: readonly CapabilityBytes[]): void {
    let at = 0x100;
    const { config } = this;
    list.forEach(({ id, version = 1, body }, index) => {
      const next = (at + 4 + body.length + 3) & ~3;
      if (next > config.length)
        refuse('the extended capabilities do not fit into 4096 bytes (or the function is conventional)');
      const header = (id | (version << 16) | ((index + 1 < list.length ? next : 0) << 20)) >>> 0;
      new DataView(config.buffer, config.byteOffset).setUint32(at, header, true);
      config.set(body, at + 4);
      at = next;
    });
  }
}
