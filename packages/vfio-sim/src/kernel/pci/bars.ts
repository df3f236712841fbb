/** A function's BARs: where the firmware put them, and access to what is behind them. */

import type { BarDescription } from '../../model/contract.js';
import type { VirtualTime } from '../time.js';
import type { PciFunction } from './function.js';
import { romBarSize } from './hardware-config.js';

/** A BAR with the bus address that it was given. */
export interface PlacedBar extends BarDescription {
  readonly index: number;
  readonly address: bigint;
}

export class Bars {
  readonly list: (PlacedBar | undefined)[] = [];
  /** Where the ROM BAR was put; 0 without. */
  romAddress = 0;

  constructor(
    private readonly owner: PciFunction,
    private readonly time: VirtualTime,
  ) {}

  get(index: number): PlacedBar | undefined {
    return this.list[index];
  }

  /** Bytes of the ROM's BAR; 0 without. */
  get romSize(): number {
    const { rom } = this.owner.description;
    return rom === undefined ? 0 : romBarSize(rom.length);
  }

  /** Gives addresses as the firmware does: `take` hands out aligned ranges. */
  place(take: (bar: BarDescription) => bigint): void {
    this.owner.description.bars.forEach((bar, index) => {
      this.list[index] = bar && { ...bar, index, address: take(bar) };
    });
    if (this.romSize > 0) this.romAddress = Number(take({ kind: 'memory', size: this.romSize }));
    this.restore();
  }

  /** Writes the addresses into the registers (again). */
  restore(): void {
    const { config } = this.owner;
    for (const bar of this.list) {
      if (bar === undefined) continue;
      config.write(0x10 + 4 * bar.index, 4, Number(bar.address & 0xffff_ffffn));
      if (bar.is64) config.write(0x14 + 4 * bar.index, 4, Number(bar.address >> 32n));
    }
    if (this.romAddress > 0) config.write(0x30, 4, this.romAddress);
  }

  /** One bus read of 1, 2 or 4 bytes; all-ones where nothing answers. */
  read(index: number, offset: number, width: 1 | 2 | 4): number {
    const ones = width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
    const bar = this.list[index];
    if (bar === undefined || !this.owner.decodes(bar.kind) || offset >= bar.size) return ones;
    this.time.registerRead();
    const own = this.machineBytes(index, offset);
    if (own !== undefined) {
      let value = 0;
      for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + own(byte);
      return value;
    }
    return (this.owner.model?.read(index, offset, width) ?? ones) >>> 0;
  }

  write(index: number, offset: number, width: 1 | 2 | 4, value: number): void {
    const bar = this.list[index];
    if (bar === undefined || !this.owner.decodes(bar.kind) || offset >= bar.size) return;
    const { msix } = this.owner.description;
    const table = this.owner.msix;
    if (msix?.bar === index && table !== undefined) {
      const inside = offset - msix.table;
      if (inside >= 0 && inside < table.entries.length) {
        for (let byte = 0; byte < width; byte++) table.entries[inside + byte] = (value >>> (8 * byte)) & 0xff;
        this.owner.msixUnmasked();
        return;
      }
      if (offset >= msix.pending && offset < msix.pending + table.pendingBytes) return;
    }
    this.owner.model?.write(index, offset, width, value >>> 0);
  }

  /** One bus read of 8 bytes, where the model has it; else two of 4, low first. */
  read64(index: number, offset: number): bigint {
    const { model } = this.owner;
    const bar = this.list[index];
    if (model?.read64 === undefined || bar === undefined || this.machineBytes(index, offset) !== undefined) {
      const low = BigInt(this.read(index, offset, 4));
      return low | (BigInt(this.read(index, offset + 4, 4)) << 32n);
    }
    if (!this.owner.decodes(bar.kind) || offset >= bar.size) return 0xffff_ffff_ffff_ffffn;
    this.time.registerRead();
    return BigInt.asUintN(64, model.read64(index, offset));
  }

  write64(index: number, offset: number, value: bigint): void {
    const { model } = this.owner;
    const bar = this.list[index];
    if (model?.write64 === undefined || bar === undefined || this.machineBytes(index, offset) !== undefined) {
      this.write(index, offset, 4, Number(value & 0xffff_ffffn));
      this.write(index, offset + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
    } else if (this.owner.decodes(bar.kind) && offset < bar.size) {
      model.write64(index, offset, BigInt.asUintN(64, value));
    }
  }

  /** The MSI-X table and pending bits belong to the machine: reads one byte of them at a time. */
  private machineBytes(index: number, offset: number): ((byte: number) => number) | undefined {
    const { msix } = this.owner.description;
    const table = this.owner.msix;
    if (msix?.bar !== index || table === undefined) return undefined;
    const inside = offset - msix.table;
    if (inside >= 0 && inside < table.entries.length) return (byte) => table.entries[inside + byte] ?? 0;
    const pending = offset - msix.pending;
    if (pending >= 0 && pending < table.pendingBytes) return (byte) => table.readPending(pending + byte);
    return undefined;
  }
}
