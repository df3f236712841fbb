/** An open vfio-pci device: sections 5.1, 5.2 and 9 of the behaviours. */

import type { DeviceMapping } from 'vfio-core';
import { PAGE } from './address-space.js';
import { addCapabilities, type UserArgument } from './argument.js';
import { VirtualConfig } from './config/virtual-config.js';
import { EAGAIN, EFAULT, EINVAL, ENOTTY } from './errno.js';
import { OpenFile } from './fds.js';
import { deviceFeature } from './feature.js';
import { hotReset, hotResetInfo } from './hot-reset.js';
import { Interrupts, irqCount } from './irqs.js';
import type { Machine } from './machine.js';
import type { PciFunction } from './pci/function.js';
import { Command } from './pci/hardware-config.js';
import { resetAndRestore, restoreState, setPower } from './pci/saved-state.js';
import type { Slot } from './pci/slot.js';
import { mapRegion, readRegion, regionSize, writeRegion } from './regions.js';
import { hasVga } from './vga.js';

/** Region index of an offset in a device file ([DEV-5]). */
export const regionOf = (offset: number): number => Math.floor(offset / 2 ** 40);

const REGIONS = 9;
const IRQS = 5;
const Region = { ROM: 6, CONFIG: 7, VGA: 8 } as const;

/** What an open device keeps open: its group's file, for example. */
export interface DeviceHolder {
  hold(): void;
  release(): void;
}

export class Device {
  readonly function: PciFunction;
  readonly irqs: Interrupts;
  readonly config: VirtualConfig;
  /** A function reset worked at first open ([DEV-1]). */
  readonly resettable: boolean;
  /** INTx is masked by the DisINTx bit of the device, not at the interrupt controller ([LIFE-16]). */
  readonly masksInDevice: boolean;
  /** Configuration space as it is again after the last close. */
  private readonly saved: Uint8Array;
  private users = 0;

  constructor(
    readonly slot: Slot,
    readonly machine: Machine,
    private readonly onClosed: () => void,
  ) {
    this.function = slot.function;
    this.resettable = slot.resettable;
    this.masksInDevice = !slot.vfioPci().nointxmask;
    this.saved = this.enable();
    this.irqs = new Interrupts(this);
    this.config = new VirtualConfig(this);
    this.function.sink = this.irqs;
    slot.group?.devices.set(slot.function, this);
  }

  /** Memory BARs answer: the user's view of decoding, and power ([CFG-27]). */
  get memoryEnabled(): boolean {
    if (!this.machine.kernel.since('5.8')) return true;
    return (this.config.command & Command.memory) !== 0 && this.function.powerState < 3;
  }

  openFile(holder: DeviceHolder): OpenFile {
    this.users++;
    holder.hold();
    return new DeviceFile(this, () => {
      if (--this.users === 0) this.disable();
      holder.release();
    });
  }

  /** Function reset with configuration saved and restored; SET_IRQS state and the virtual configuration stay ([RST-2]). */
  reset(): void {
    // Errors and power state are what reset clears and the kernel does not bring back.
    resetAndRestore(this.function);
    this.irqs.reprogram();
  }

  /** First open ([LIFE-1]). @returns the configuration space to come back to */
  private enable(): Uint8Array {
    const { function: fn } = this;
    setPower(fn, 0);
    this.setCommand((fn.config.command & ~(Command.busMaster | Command.disableIntx)) | this.decoding());
    if (this.resettable) resetAndRestore(fn);
    return fn.config.bytes.slice();
  }

  /** Last close ([LIFE-3]). */
  private disable(): void {
    const { function: fn, slot } = this;
    this.setCommand(fn.config.command & ~Command.busMaster);
    this.irqs.tearDown();
    fn.sink = undefined;
    setPower(fn, 0);
    slot.needsReset = !this.resettable || slot.locked;
    if (slot.needsReset) restoreState(fn, this.saved);
    else resetAndRestore(fn, this.saved);
    slot.group?.devices.delete(fn);
    this.onClosed();
  }

  private setCommand(value: number): void {
    this.function.writeConfig(4, 2, value);
  }

  private decoding(): number {
    const kinds = this.function.bars.list.map((bar) => bar?.kind);
    return (kinds.includes('memory') ? Command.memory : 0) | (kinds.includes('io') ? Command.io : 0);
  }
}

/** A descriptor of a device. */
export class DeviceFile extends OpenFile {
  readonly path = 'anon_inode:[vfio-device]';

  constructor(
    readonly device: Device,
    private readonly onReleased: () => void,
  ) {
    super();
  }

  override get details(): string {
    return this.device.slot.fdinfo;
  }

  override ioctl(request: number, argument: UserArgument): number {
    switch (request) {
      case 0x3b6b:
        return this.info(argument);
      case 0x3b6c:
        return this.regionInfo(argument);
      case 0x3b6d:
        return this.irqInfo(argument);
      case 0x3b6e:
        return this.device.irqs.set(argument);
      case 0x3b6f:
        return this.reset();
      case 0x3b70:
        return hotResetInfo(this.device, argument);
      case 0x3b71:
        return hotReset(this.device, argument);
      case 0x3b75:
        return this.device.machine.kernel.since('5.7') ? deviceFeature(this.device.slot, argument) : -ENOTTY;
      case 0x3b76:
        // BIND_IOMMUFD is for device files alone ([IFD-4]).
        return this.device.machine.build.VFIO_DEVICE_CDEV ? -EINVAL : -ENOTTY;
      default:
        return -ENOTTY;
    }
  }

  override pread(into: Uint8Array, offset: number): number {
    return into.length === 0 ? 0 : readRegion(this.device, offset, into);
  }

  override pwrite(from: Uint8Array, offset: number): number {
    return from.length === 0 ? 0 : writeRegion(this.device, offset, from);
  }

  override mapDevice(offset: number, length: number, protection: number): DeviceMapping | number {
    return mapRegion(this, offset, length, protection);
  }

  protected override released(): void {
    this.onReleased();
  }

  private info(argument: UserArgument): number {
    const view = argument.view(16);
    if (view === undefined) return -EFAULT;
    const size = view.getUint32(0, true);
    if (size < 16) return -EINVAL;
    view.setUint32(4, 2 | (this.device.resettable ? 1 : 0), true);
    view.setUint32(8, REGIONS, true);
    view.setUint32(12, IRQS, true);
    if (size >= 20 && argument.view(20) && this.device.machine.kernel.since('5.11')) view.setUint32(16, 0, true);
    return 0;
  }

  private regionInfo(argument: UserArgument): number {
    const view = argument.view(32);
    if (view === undefined) return -EFAULT;
    const index = view.getUint32(8, true);
    if (view.getUint32(0, true) < 32 || index >= REGIONS) return -EINVAL;
    const { device } = this;
    if (index === Region.VGA && !hasVga(device)) return -EINVAL;
    const size = regionSize(device, index);
    const bar = device.function.bars.get(index);
    let flags = 0;
    if (size > 0) flags = index === Region.ROM ? 1 : 3;
    const mappable = bar !== undefined && isMappable(device, index);
    if (mappable) flags |= 4;
    view.setUint32(4, flags, true);
    view.setBigUint64(16, BigInt(size), true);
    view.setBigUint64(24, BigInt(index) << 40n, true);
    const { msix } = device.function.description;
    if (mappable && msix?.bar === index && device.machine.kernel.since('4.16')) {
      addCapabilities(
        argument,
        { size: 32, offsetField: 12, flag: 8 },
        [{ id: 3, version: 1, body: new Uint8Array(0) }],
        8,
      );
    }
    return 0;
  }

  private irqInfo(argument: UserArgument): number {
    const view = argument.view(16);
    if (view === undefined) return -EFAULT;
    const index = view.getUint32(8, true);
    if (view.getUint32(0, true) < 16 || index >= IRQS) return -EINVAL;
    if (index === 3 && !this.device.function.isExpress) return -EINVAL;
    view.setUint32(4, index === 0 ? 7 : 9, true);
    view.setUint32(12, irqCount(this.device, index), true);
    return 0;
  }

  private reset(): number {
    if (!this.device.resettable) return -EINVAL;
    if (this.device.slot.locked) return -EAGAIN;
    if (this.device.function.present) this.device.reset();
    return 0;
  }
}

/** Memory BARs of a page or more; small ones too if they begin on a page ([DEV-10], [DEV-11]). */
export function isMappable(device: Device, index: number): boolean {
  const bar = device.function.bars.get(index);
  if (bar === undefined || bar.kind !== 'memory' || !device.machine.build.VFIO_PCI_MMAP) return false;
  return bar.size >= PAGE || (device.machine.kernel.since('4.8') && bar.address % BigInt(PAGE) === 0n);
}
