/** A function in the machine: what it is, which driver has it, which group it is in. */

import { Device } from '../device.js';
import { EINVAL } from '../errno.js';
import type { OpenFile } from '../fds.js';
import type { Group, GroupFile } from '../group.js';
import type { Machine } from '../machine.js';
import type { PciFunction } from './function.js';

/** Drivers that leave DMA to whoever wants it ([GRP-8]). */
const HARMLESS = new Set(['vfio-pci', 'pci-stub', 'pcieport']);

export class Slot {
  driver: string | undefined;
  /** `driver_override`; empty for none. */
  override = '';
  group: Group | undefined;
  /** The open device, if vfio-pci has it open. */
  device: Device | undefined;
  /** An unbind that waits until the user closes the device ([LIFE-9]). */
  unbinding = false;

  readonly function: PciFunction;

  constructor(
    fn: PciFunction,
    /** The host's own driver for it, which probing without an override chooses. */
    public nativeDriver: string | undefined,
    private readonly machine: Machine,
  ) {
    this.function = fn;
  }

  get address(): string {
    return this.function.address;
  }

  get isBridge(): boolean {
    return ((this.function.description.config[0x0e] as number) & 0x7f) !== 0;
  }

  get classCode(): number {
    const { config } = this.function.description;
    return (config[0x0b] as number) * 0x10000 + (config[0x0a] as number) * 0x100 + (config[0x09] as number);
  }

  /** A host driver has it that uses its DMA. */
  get claimsDma(): boolean {
    return this.driver !== undefined && !HARMLESS.has(this.driver);
  }

  /** GET_DEVICE_FD finds it ([LIFE-11]). */
  get offersVfio(): boolean {
    return this.driver === 'vfio-pci' && !(this.unbinding && this.machine.kernel.since('6.6'));
  }

  /** GET_DEVICE_FD: opens the device, or opens it once more ([GRP-30]). */
  openDevice(group: GroupFile): OpenFile | number {
    if (this.group === undefined) return -EINVAL;
    this.device ??= new Device(this, this.machine, () => {
      this.device = undefined;
      if (this.unbinding) this.finishUnbind();
    });
    return this.device.openFile(group);
  }

  /** What runs when the user lets go of a device that is being unbound. */
  finishUnbind: () => void = () => {};
}
