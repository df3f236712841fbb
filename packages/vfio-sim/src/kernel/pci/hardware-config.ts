/** Configuration space as the hardware keeps it: which bits hold what is written, and which are cleared by writing 1. */

import type { BarDescription, FunctionDescription } from '../../model/contract.js';
import { CapabilityId, standardCapabilities } from './capabilities.js';

/** Bits of the COMMAND register. */
export const Command = { io: 1, memory: 2, busMaster: 4, disableIntx: 0x400 } as const;

export class HardwareConfig {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Offsets of capabilities by id (the first of each), 0 where there is none. */
  readonly pm: number;
  readonly msi: number;
  readonly msix: number;
  readonly express: number;
  readonly af: number;
  private readonly writable: Uint8Array;
  private readonly clearable: Uint8Array;

  constructor(description: FunctionDescription, bars: readonly (BarDescription | undefined)[]) {
    this.bytes = description.config.slice();
    this.view = new DataView(this.bytes.buffer);
    this.writable = new Uint8Array(this.bytes.length);
    this.clearable = new Uint8Array(this.bytes.length);
    const capabilities = standardCapabilities(this.bytes);
    const first = (id: number) => capabilities.find((capability) => capability.id === id)?.offset ?? 0;
    this.pm = first(CapabilityId.PM);
    this.msi = first(CapabilityId.MSI);
    this.msix = first(CapabilityId.MSIX);
    this.express = first(CapabilityId.EXP);
    this.af = first(CapabilityId.AF);
    this.headerMasks(bars, description.rom?.length ?? 0);
    this.capabilityMasks();
    for (const { id, offset } of capabilities) {
      if (id === CapabilityId.VENDOR)
        this.allow(offset + 3, ...Array((this.bytes[offset + 2] as number) - 3).fill(0xff));
    }
  }

  get command(): number {
    return this.view.getUint16(4, true);
  }

  get deviceCapabilities(): number {
    return this.express === 0 ? 0 : this.view.getUint32(this.express + 4, true);
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (width === 1) return this.view.getUint8(offset);
    return width === 2 ? this.view.getUint16(offset, true) : this.view.getUint32(offset, true);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    for (let byte = 0; byte < width; byte++) {
      const at = offset + byte;
      const given = (value >>> (8 * byte)) & 0xff;
      const keep = this.writable[at] as number;
      const old = this.bytes[at] as number;
      this.bytes[at] = ((old & ~keep) | (given & keep)) & ~(given & (this.clearable[at] as number));
    }
  }

  private headerMasks(bars: readonly (BarDescription | undefined)[], rom: number): void {
    this.allow(0x04, 0x47, 0x05); // IO, MEM, BM, parity, SERR, DisINTx
    this.clear(0x07, 0xf9);
    this.allow(0x0c, 0xff, 0x00);
    if ((this.bytes[0x0e] as number) & 0x7f) return;
    bars.forEach((bar, index) => {
      if (bar === undefined) return;
      const mask = ~(BigInt(bar.size) - 1n);
      this.allow32(0x10 + 4 * index, Number(mask & 0xffff_ffffn));
      if (bar.is64) this.allow32(0x14 + 4 * index, Number((mask >> 32n) & 0xffff_ffffn));
    });
    if (rom > 0) this.allow32(0x30, (~(romBarSize(rom) - 1) | 1) >>> 0);
    this.allow(0x3c, 0xff);
  }

  private capabilityMasks(): void {
    if (this.pm) {
      this.allow(this.pm + 4, 0x03, 0x1f);
      this.clear(this.pm + 5, 0x80);
    }
    if (this.msi) {
      const control = this.view.getUint16(this.msi + 2, true);
      const wide = (control & 0x80) !== 0;
      this.allow(this.msi + 2, 0x71);
      this.allow32(this.msi + 4, 0xffff_fffc);
      if (wide) this.allow32(this.msi + 8, 0xffff_ffff);
      this.allow(this.msi + (wide ? 12 : 8), 0xff, 0xff);
      if (control & 0x100) this.allow32(this.msi + (wide ? 16 : 12), 0xffff_ffff);
    }
    if (this.msix) this.allow(this.msix + 3, 0xc0);
    if (this.express) {
      this.allow(this.express + 8, 0xff, 0x7f); // device control; FLR is an action, not a bit
      this.clear(this.express + 10, 0x0f);
      this.allow(this.express + 16, 0xdb, 0x0c); // link control
      this.allow(this.express + 40, 0x3f, 0x04); // device control 2
    }
  }

  private allow(offset: number, ...masks: number[]): void {
    this.writable.set(masks.slice(0, Math.max(0, this.writable.length - offset)), offset);
  }

  private allow32(offset: number, mask: number): void {
    this.allow(offset, mask & 0xff, (mask >>> 8) & 0xff, (mask >>> 16) & 0xff, mask >>> 24);
  }

  private clear(offset: number, mask: number): void {
    this.clearable[offset] = mask;
  }
}

/** Bytes that a ROM's BAR decodes: the next power of two, 2 KiB at the least. */
export const romBarSize = (bytes: number): number => 2 ** Math.ceil(Math.log2(Math.max(2048, bytes)));
