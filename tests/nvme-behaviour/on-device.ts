/**
 * The cases' controller behind VFIO, opened as a driver opens it: BAR 0 mapped, memory from the device's DMA space, interrupts
 * from eventfds. What stands behind the VFIO (a real kernel, or the simulation) is not known here.
 */

import type { Device, RegisterWindow } from 'vfio-core';
import { type InterruptSet, interrupts } from 'vfio-irq';
import { PciDevice } from 'vfio-pci';
import type { RawMemory, RawNvme } from './raw.js';

/** As many as the cases name, and more. */
const vectors = 8;
/** Registers and the doorbells of 64 pairs of queues, without the pages of MSI-X behind them. */
const registerBytes = 0x2000;

export interface OnDeviceOptions {
  /** Which controller it is, for the answers that are known to differ. */
  readonly kind: RawNvme['kind'];
  /** Milliseconds of one wait; 1 by default. More where the controller shares processors with the program. */
  readonly pause?: number;
}

export class NvmeOnDevice implements RawNvme {
  readonly kind: RawNvme['kind'];
  readonly registers: RegisterWindow;
  /** Far above what the allocator hands out; where nothing translates, above all memory. */
  readonly unreachable = 0x7_0000_0000n;
  private readonly counts = new Array<number>(vectors).fill(0);
  private readonly pause: number;
  private held = 0;

  private constructor(
    readonly device: PciDevice,
    private set: InterruptSet,
    options: OnDeviceOptions,
  ) {
    this.kind = options.kind;
    this.pause = options.pause ?? 1;
    this.registers = device.bar(0).window(0, registerBytes, { access: 'mapped' });
  }

  /** Takes an open device over: {@link close} closes it, and so does a failure. */
  static async open(opened: Device, options: OnDeviceOptions): Promise<NvmeOnDevice> {
    try {
      const device = PciDevice.from(opened);
      device.busMaster.enable();
      return new NvmeOnDevice(device, await interrupts(device).enable('msix', vectors), options);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** Allocations that were not closed. */
  get memoryHeld(): number {
    return this.held;
  }

  memory(bytes: number): RawMemory {
    const buffer = this.device.dma.allocate(bytes);
    if (buffer.address + BigInt(buffer.length) > this.unreachable) {
      throw new Error(`memory at ${buffer.address}, where nothing was to be`);
    }
    this.held++;
    return {
      bytes: buffer.bytes,
      address: buffer.address,
      close: () => {
        if (!buffer.closed) this.held--;
        buffer.close();
      },
    };
  }

  wait(): Promise<void> {
    return this.device.channel.system.sleep(this.pause);
  }

  async useInterrupts(mode: 'msix' | 'intx'): Promise<void> {
    if (this.set.kind === mode) return;
    this.set.close();
    this.set = await interrupts(this.device).enable(mode, mode === 'msix' ? vectors : 1);
  }

  interrupts(vector: number): number {
    if (this.set.kind === 'intx') {
      // The kernel has masked the line at the last count. Unmasking a line that is still asserted gives another one at once.
      const pin = this.set[0];
      pin.take();
      pin.unmask();
      return pin.take() > 0 ? 1 : 0;
    }
    this.counts[vector] = (this.counts[vector] as number) + this.set.vector(vector).take();
    return this.counts[vector] as number;
  }

  async resetFunction(): Promise<void> {
    await this.device.reset();
    // The kernel brings the command register back; where it did not, that is a failure of the case.
    if (!this.device.busMaster.enabled || !this.device.memoryDecoding.enabled) {
      throw new Error('the reset left bus mastering or memory decoding off');
    }
  }

  close(): void {
    this.device.close();
  }
}
