/** QEMU's `edu` device, made for teaching drivers. Source: QEMU, docs/specs/edu. */

import type { DeviceBus, DeviceFactory, DeviceModel } from '../model/contract.js';
import { endpoint, memoryBar } from '../model/endpoint.js';

const BUFFER_AT = 0x40000n;
const BUFFER_BYTES = 4096;
/** The device reaches 28 bits of address; higher bits are cut off. */
const DMA_MASK = (1n << 28n) - 1n;
const DMA_DELAY = 100;

const STATUS_COMPUTING = 0x01;
const STATUS_RAISE = 0x80;
const RUN = 1n;
const TO_MEMORY = 2n;
const RAISE_AFTER = 4n;
const FACTORIAL_INTERRUPT = 0x001;
const DMA_INTERRUPT = 0x100;

/** `edu` behaves as QEMU's: a factorial engine, an interrupt that can be raised by hand, and DMA to and from a buffer of 4096 bytes. */
export const edu = (): DeviceFactory => (bus) => new Edu(bus);

class Edu implements DeviceModel {
  readonly config = endpoint({
    vendor: 0x1234,
    device: 0x11e8,
    class: 0x00ff00,
    revision: 0x10,
    subsystemVendor: 0x1af4,
    subsystemDevice: 0x1100,
    bars: [memoryBar(1 << 20)],
    msi: 1,
    express: false,
  });
  private liveness = 0;
  private result = 0;
  private status = 0;
  private pending = 0;
  private source = 0n;
  private destination = 0n;
  private count = 0n;
  private command = 0n;
  private readonly buffer = new Uint8Array(BUFFER_BYTES);

  constructor(private readonly bus: DeviceBus) {}

  read(_bar: number, offset: number, width: 1 | 2 | 4): number {
    return width === 4 ? Number(this.load(offset) & 0xffff_ffffn) : 0;
  }

  read64(_bar: number, offset: number): bigint {
    return offset < 0x80 ? ~0n & 0xffff_ffff_ffff_ffffn : this.load(offset);
  }

  write(_bar: number, offset: number, width: 1 | 2 | 4, value: number): void {
    if (width === 4) this.store(offset, BigInt(value));
  }

  write64(_bar: number, offset: number, value: bigint): void {
    if (offset >= 0x80) this.store(offset, value);
  }

  reset(): void {
    this.liveness = this.result = this.status = this.pending = 0;
    this.source = this.destination = this.count = this.command = 0n;
    this.buffer.fill(0);
  }

  private load(offset: number): bigint {
    switch (offset) {
      case 0x00:
        return 0x0100_00edn;
      case 0x04:
        return BigInt(this.liveness);
      case 0x08:
        return BigInt(this.result);
      case 0x20:
        return BigInt(this.status);
      case 0x24:
        return BigInt(this.pending);
      case 0x80:
        return this.source;
      case 0x88:
        return this.destination;
      case 0x90:
        return this.count;
      case 0x98:
        return this.command;
      default:
        return 0xffff_ffff_ffff_ffffn;
    }
  }

  /** Registers of 64 bits take what they are given whole: a store of 32 bits clears the upper half, one to the upper half is dropped. */
  private store(offset: number, value: bigint): void {
    const word = Number(value & 0xffff_ffffn);
    switch (offset) {
      case 0x04:
        this.liveness = ~word >>> 0;
        break;
      case 0x08:
        this.startFactorial(word);
        break;
      case 0x20:
        this.status = (this.status & ~STATUS_RAISE) | (word & STATUS_RAISE);
        break;
      case 0x60:
        this.raise(word);
        break;
      case 0x64:
        this.acknowledge(word);
        break;
      case 0x80:
        if (!(this.command & RUN)) this.source = value;
        break;
      case 0x88:
        if (!(this.command & RUN)) this.destination = value;
        break;
      case 0x90:
        if (!(this.command & RUN)) this.count = value;
        break;
      case 0x98:
        if (value & RUN && !(this.command & RUN)) {
          this.command = value;
          this.bus.schedule(DMA_DELAY, () => this.transfer());
        }
        break;
    }
  }

  private startFactorial(of: number): void {
    if (this.status & STATUS_COMPUTING) return;
    this.result = of;
    this.status |= STATUS_COMPUTING;
    this.bus.schedule(0, () => {
      let product = 1;
      for (let factor = of; factor > 0 && product !== 0; factor--) product = Math.imul(product, factor);
      this.result = product >>> 0;
      this.status &= ~STATUS_COMPUTING;
      if (this.status & STATUS_RAISE) this.raise(FACTORIAL_INTERRUPT);
    });
  }

  private raise(bits: number): void {
    this.pending = (this.pending | bits) >>> 0;
    if (this.pending !== 0) this.bus.interrupt(0);
  }

  private acknowledge(bits: number): void {
    this.pending = (this.pending & ~bits) >>> 0;
    if (this.pending === 0) this.bus.lowerInterrupt();
  }

  private transfer(): void {
    const toMemory = (this.command & TO_MEMORY) !== 0n;
    const inside = (toMemory ? this.source : this.destination) - BUFFER_AT;
    // A range outside the buffer transfers nothing.
    if (inside >= 0n && inside + this.count <= BigInt(BUFFER_BYTES)) {
      const part = this.buffer.subarray(Number(inside), Number(inside + this.count));
      if (toMemory) this.bus.dmaWrite(this.destination & DMA_MASK, part);
      else this.bus.dmaRead(this.source & DMA_MASK, part);
    }
    this.command &= ~RUN;
    if (this.command & RAISE_AFTER) this.raise(DMA_INTERRUPT);
  }
}
