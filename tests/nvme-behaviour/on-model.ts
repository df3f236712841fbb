/** The cases' controller as the bare model: no kernel, no VFIO, a bus of a page. */

import type { RegisterWindow } from 'vfio-core';
import { memoryDisk } from '../../packages/vfio-sim/src/disks/memory-disk.js';
import {
  type NvmeController,
  type NvmeOptions,
  nvmeController,
} from '../../packages/vfio-sim/src/models/nvme/index.js';
import { ModelBus } from '../../packages/vfio-sim/src/testing/model-bus.js';
import type { RawMemory, RawNvme } from './raw.js';

export class NvmeOnModel implements RawNvme {
  readonly kind = 'model';
  readonly bus = new ModelBus({ memory: 1 << 24 });
  readonly controller: NvmeController;
  readonly registers: RegisterWindow;
  readonly unreachable = 0xdead_0000n;

  constructor(options: Partial<NvmeOptions> = {}) {
    const disks = [memoryDisk(16 << 20, { blockSize: 512 }), memoryDisk(16 << 20, { blockSize: 4096 })];
    this.controller = nvmeController({ disks, ...options })(this.bus);
    this.registers = new ModelWindow(this.controller, 16384);
  }

  memory(bytes: number): RawMemory {
    return { ...this.bus.allocate(bytes), close: () => {} };
  }

  wait(): void {
    this.bus.advance(1);
  }

  useInterrupts(mode: 'msix' | 'intx'): void {
    this.bus.interruptMode = mode;
  }

  interrupts(vector: number): number {
    if (this.bus.interruptMode === 'intx') return this.bus.pin ? 1 : 0;
    return this.bus.interrupts.filter((raised) => raised === vector).length;
  }

  resetFunction(): void {
    this.bus.dropWork();
    this.controller.reset();
  }
}

/** BAR 0 of the model. */
class ModelWindow implements RegisterWindow {
  closed = false;

  constructor(
    private readonly controller: NvmeController,
    readonly length: number,
  ) {}

  read8 = (offset: number): number => this.controller.read(0, offset, 1);
  read16 = (offset: number): number => this.controller.read(0, offset, 2);
  read32 = (offset: number): number => this.controller.read(0, offset, 4);
  read64 = (offset: number): bigint => this.controller.read64(0, offset);
  write8 = (offset: number, value: number): void => this.controller.write(0, offset, 1, value);
  write16 = (offset: number, value: number): void => this.controller.write(0, offset, 2, value);
  write32 = (offset: number, value: number): void => this.controller.write(0, offset, 4, value);
  write64 = (offset: number, value: bigint): void => this.controller.write64(0, offset, value);
  window(): RegisterWindow {
    throw new Error('the cases use the whole window');
  }
  close(): void {
    this.closed = true;
  }
}
