/** A device of a simulation, from outside: what a test does to it and asks of it. */

import { VfioError } from 'vfio-core';
import type { Bus } from './kernel/bus.js';
import { Command } from './kernel/pci/hardware-config.js';
import type { Slot } from './kernel/pci/slot.js';
import type { DeviceModel } from './model/contract.js';
import type { NvmeFaults } from './models/nvme/index.js';

export class SimulatedDevice<Model extends DeviceModel = DeviceModel> {
  constructor(
    private readonly slot: Slot,
    private readonly bus: Bus,
  ) {}

  /** `dddd:bb:dd.f` */
  get address(): string {
    return this.slot.address;
  }

  /** The model behind it. Throws `ERR_VFIO_NOT_SUPPORTED` for a bystander. */
  get model(): Model {
    const { model } = this.slot.function;
    if (model === undefined) throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `${this.address} has no model`);
    return model as Model;
  }

  /** Faults that can be put into it. Throws `ERR_VFIO_NOT_SUPPORTED` where its model has none. */
  get faults(): NvmeFaults {
    const { faults } = this.model as DeviceModel & { faults?: NvmeFaults };
    if (faults === undefined)
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `the model of ${this.address} has no faults to inject`);
    return faults;
  }

  /** The driver that has it. */
  get driver(): string | undefined {
    return this.slot.driver;
  }

  /** Number of its IOMMU group. */
  get group(): number | undefined {
    return this.slot.group?.number;
  }

  /** Whether it may reach memory. */
  get busMaster(): boolean {
    return (this.slot.function.config.command & Command.busMaster) !== 0;
  }

  /** Which interrupts are switched on. */
  get interruptMode(): 'none' | 'intx' | 'msi' | 'msix' {
    return this.slot.function.interruptMode;
  }

  /** Configuration space as the hardware has it now; a copy. */
  get config(): Uint8Array {
    return this.slot.function.config.bytes.slice();
  }

  /** Pulls it out: it answers all-ones from now on, and whoever has it open is asked to let go (REQ). */
  unplug(): void {
    this.bus.unplug(this.slot);
  }

  /** Reports a PCI Express error to whoever has it open (ERR). After a fatal one the link was reset, and the device with it. */
  reportError({ fatal = false }: { readonly fatal?: boolean } = {}): void {
    if (fatal) this.slot.function.powerOn();
    this.slot.notices.error?.signal();
  }

  /** A signal to the task that waits, in an unbind, for this device to be closed. It does not end the wait. */
  signalUnbind(): void {
    this.bus.signalUnbind(this.slot);
  }

  /** Runs `body` while somebody else holds the lock of this device, as during a reset: opening and resetting it then give EAGAIN. */
  whileLocked<T>(body: () => T): T {
    this.slot.locked = true;
    try {
      return body();
    } finally {
      this.slot.locked = false;
    }
  }
}
