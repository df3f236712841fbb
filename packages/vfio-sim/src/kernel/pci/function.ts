/** A PCI function on the bus: its model, the configuration space and interrupts that the machine keeps for it, and its way to memory. */

import type { DeviceBus, DeviceFactory, DeviceModel, FunctionDescription } from '../../model/contract.js';
import type { Segment } from '../address-space.js';
import type { DmaFault, KernelLog } from '../log.js';
import type { VirtualTime } from '../time.js';
import { Bars } from './bars.js';
import { Command, HardwareConfig } from './hardware-config.js';
import { MsixTable } from './msix-table.js';

/** What translates a device's addresses: an IOMMU domain, or bare physical memory. */
export interface DmaDomain {
  /** The run of memory at `address` (as far as it goes), or why there is none. */
  resolve(address: bigint, write: boolean): Segment | DmaFault['reason'];
}

/** Who handles this function's interrupts. */
export interface InterruptSink {
  /** Whether the pin's interrupts are switched on. */
  readonly intx: boolean;
  /** The pin is asserted and not disabled: a level, so told again whenever that may have begun to matter. */
  pin(): void;
  message(vector: number): void;
}

/** The machine, as far as a function needs it. */
export interface FunctionHost {
  readonly log: KernelLog;
  readonly time: VirtualTime;
}

export class PciFunction implements DeviceBus {
  readonly model: DeviceModel | undefined;
  readonly description: FunctionDescription;
  readonly config: HardwareConfig;
  readonly bars: Bars;
  readonly msix: MsixTable | undefined;
  /** What DMA goes through; nothing is reachable without. */
  domain: DmaDomain | undefined;
  sink: InterruptSink | undefined;
  /** False once it was pulled out. */
  present = true;
  private pinAsserted = false;

  /**
   * @param what the model, or the bare description of a function that only has to be there
   */
  constructor(
    readonly address: string,
    what: DeviceFactory | FunctionDescription,
    private readonly host: FunctionHost,
  ) {
    this.model = typeof what === 'function' ? what(this) : undefined;
    this.description = typeof what === 'function' ? (this.model as DeviceModel).config : what;
    this.config = new HardwareConfig(this.description, this.description.bars);
    this.msix = this.description.msix && new MsixTable(this.description.msix.vectors);
    this.bars = new Bars(this, this.host.time);
  }

  get isExpress(): boolean {
    return this.config.express !== 0;
  }

  /** Some function reset works: FLR, AF, or leaving D3hot. */
  get resettable(): boolean {
    const { config } = this;
    if (config.deviceCapabilities & (1 << 28)) return true;
    if (config.af && ((config.bytes[config.af + 3] as number) & 3) === 3) return true;
    return config.pm !== 0 && ((config.bytes[config.pm + 4] as number) & 8) === 0;
  }

  /** 0 (D0) to 3 (D3hot). */
  get powerState(): number {
    return this.config.pm === 0 ? 0 : (this.config.bytes[this.config.pm + 4] as number) & 3;
  }

  // What the model sees.

  get interruptMode(): 'none' | 'intx' | 'msi' | 'msix' {
    const { config } = this;
    if (config.msix && (config.bytes[config.msix + 3] as number) & 0x80) return 'msix';
    if (config.msi && (config.bytes[config.msi + 2] as number) & 1) return 'msi';
    return this.sink?.intx && this.description.pin !== 0 ? 'intx' : 'none';
  }

  interrupt(vector: number): void {
    if (!this.present) return;
    const mode = this.interruptMode;
    if (mode === 'msix') this.raiseMsix(vector);
    else if (mode === 'msi') this.sendMessage(vector);
    else if (this.description.pin !== 0) {
      this.pinAsserted = true;
      this.tellPin();
    }
  }

  lowerInterrupt(): void {
    this.pinAsserted = false;
  }

  dmaRead(address: bigint, into: Uint8Array): boolean {
    const segments = this.reach(address, into.length, false);
    if (segments === undefined) return false;
    let done = 0;
    for (const { store, offset, length } of segments) {
      store.read(offset, into.subarray(done, done + length));
      done += length;
    }
    return true;
  }

  dmaWrite(address: bigint, from: Uint8Array): boolean {
    const segments = this.reach(address, from.length, true);
    if (segments === undefined) return false;
    let done = 0;
    for (const { store, offset, length } of segments) {
      store.write(offset, from.subarray(done, done + length));
      done += length;
    }
    return true;
  }

  schedule(delay: number, work: () => void): void {
    if (this.present) this.host.time.schedule(delay, work, this);
  }

  now(): number {
    return this.host.time.current;
  }

  // What the kernel sees.

  /** Whether the pin is asserted and may be heard. */
  get pinLevel(): boolean {
    return this.present && this.pinAsserted && (this.config.command & Command.disableIntx) === 0;
  }

  /** INTx status, as bit 3 of STATUS shows it. */
  get pinPending(): boolean {
    return this.pinAsserted;
  }

  readConfig(offset: number, width: 1 | 2 | 4): number {
    if (!this.present) return width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
    const status = this.config.bytes[6] as number;
    this.config.bytes[6] = (status & ~8) | (this.pinAsserted ? 8 : 0);
    return this.config.read(offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    if (!this.present) return;
    const powerBefore = this.powerState;
    this.config.write(offset, width, value);
    this.model?.configWritten?.(offset, width, this.config.bytes);
    const { express, af, pm } = this.config;
    const covers = (at: number) => at >= offset && at < offset + width;
    const byte = (at: number) => (value >>> (8 * (at - offset))) & 0xff;
    const flr =
      express && covers(express + 9) && byte(express + 9) & 0x80 && this.config.deviceCapabilities & (1 << 28);
    const afReset = af && covers(af + 4) && byte(af + 4) & 1;
    const wake = powerBefore === 3 && this.powerState === 0 && ((this.config.bytes[pm + 4] as number) & 8) === 0;
    if (flr || afReset || wake) this.powerOn();
    if (this.pinLevel) this.tellPin();
    if (this.config.msix && covers(this.config.msix + 3)) this.msixUnmasked();
  }

  /** Whether a BAR answers: power, decoding and presence. */
  decodes(kind: 'memory' | 'io'): boolean {
    const bit = kind === 'memory' ? Command.memory : Command.io;
    return this.present && this.powerState === 0 && (this.config.command & bit) !== 0;
  }

  /** Pending messages of vectors that were unmasked go out. */
  msixUnmasked(): void {
    const table = this.msix;
    if (table === undefined || this.interruptMode !== 'msix') return;
    for (let vector = 0; vector < table.vectors; vector++) {
      if (!this.msixMasked(vector) && table.takePending(vector)) this.sendMessage(vector);
    }
  }

  /** Back to power-on values; what the kernel knows of it (BARs) is gone too. */
  powerOn(): void {
    this.host.time.drop(this);
    this.config.bytes.set(this.description.config);
    this.msix?.reset();
    this.pinAsserted = false;
    this.model?.reset();
  }

  /** Pulled out: answers all-ones, does and hears nothing any more. */
  remove(): void {
    this.present = false;
    this.pinAsserted = false;
    this.host.time.drop(this);
  }

  private raiseMsix(vector: number): void {
    const table = this.msix;
    if (table === undefined || vector >= table.vectors) return;
    if (this.msixMasked(vector)) table.setPending(vector);
    else this.sendMessage(vector);
  }

  private msixMasked(vector: number): boolean {
    const functionMask = ((this.config.bytes[this.config.msix + 3] as number) & 0x40) !== 0;
    return functionMask || (this.msix as MsixTable).masked(vector);
  }

  /** A message-signalled interrupt is a memory write of the device: without bus mastering it does not arrive. */
  private sendMessage(vector: number): void {
    if ((this.config.command & Command.busMaster) === 0) {
      this.host.log.fault({
        device: this.address,
        address: 0xfee0_0000n,
        length: 4,
        write: true,
        reason: 'bus master',
      });
      return;
    }
    this.sink?.message(vector);
  }

  private tellPin(): void {
    if (this.pinLevel) this.sink?.pin();
  }

  private reach(address: bigint, length: number, write: boolean): Segment[] | undefined {
    if (!this.present) return undefined;
    if ((this.config.command & Command.busMaster) === 0) return this.refuse(address, length, write, 'bus master');
    const segments: Segment[] = [];
    let at = address;
    let left = length;
    while (left > 0) {
      const found = this.domain?.resolve(at, write) ?? 'unmapped';
      if (typeof found === 'string') return this.refuse(at, length, write, found);
      const take = Math.min(left, found.length);
      segments.push({ store: found.store, offset: found.offset, length: take });
      at += BigInt(take);
      left -= take;
    }
    return segments;
  }

  private refuse(address: bigint, length: number, write: boolean, reason: DmaFault['reason']): undefined {
    this.host.log.fault({ device: this.address, address, length, write, reason });
    return undefined;
  }
}
