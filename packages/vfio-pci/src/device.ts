/** A PCI device: what `Device` offers, and registers, configuration space, bus mastering, reset. */

import {
  type ClosePhase,
  type Device,
  type DeviceChannel,
  type DmaSpace,
  isDeviceGone,
  type OpenOptions,
  openDevice,
  VfioError,
} from 'vfio-core';
import { ConfigSpace } from './config/index.js';
import { Region } from './region.js';

/** Marks a PciDevice, of whichever copy of this package. */
const brand: unique symbol = Symbol.for('vfio-pci.PciDevice') as never;

/** A bit of the command register that switches something on. */
export interface CommandSwitch {
  /** As the device says now. */
  readonly enabled: boolean;
  enable(): void;
  disable(): void;
}

/** Source: PCI Local Bus Specification 3.0, 6.2.2. */
const MEMORY_SPACE = 1 << 1;
const BUS_MASTER = 1 << 2;

/**
 * An open PCI device.
 *
 * ```ts
 * await using device = await PciDevice.open('0000:01:00.0');
 * const regs = device.bar(0).registers(EDU);
 * device.busMaster.enable();
 * ```
 */
export class PciDevice implements Device {
  readonly config: ConfigSpace;
  /**
   * Bus mastering: the device's own accesses to memory, and message-signalled interrupts, which are such accesses. Off after
   * open: only the driver knows when its device may start. Goes off at close.
   */
  readonly busMaster: CommandSwitch;
  /**
   * Whether the device answers accesses to its memory BARs. On after open. A window that is touched meanwhile reads all-ones, also
   * once decoding is on again, until {@link checkAlive} has mended it.
   */
  readonly memoryDecoding: CommandSwitch;
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly classCode: number;
  private readonly regions = new Map<number, Region>();

  /**
   * Opens a device that is bound to vfio-pci: container, group, IOMMU, device.
   * @param address `0000:01:00.0`, or `01:00.0`
   *
   * Throws `ERR_VFIO_ARGUMENT` for something that is no address, `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND`, `ERR_VFIO_GROUP_NOT_VIABLE`,
   * `ERR_VFIO_PERMISSION`, `ERR_VFIO_BUSY`, `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_NO_IOMMU`, `ERR_VFIO_DEVICE_GONE`. Nothing stays open then.
   */
  static async open(address: string, options: OpenOptions = {}): Promise<PciDevice> {
    const device = await openDevice(address, options);
    try {
      return PciDevice.from(device);
    } catch (thrown) {
      device.close();
      throw thrown;
    }
  }

  /**
   * PCI on top of any open device; closing either closes both. A PciDevice is given back as it is.
   * Throws `ERR_VFIO_NOT_SUPPORTED` for a device that is not PCI, `ERR_VFIO_DEVICE_GONE` for one that answers all-ones,
   * `ERR_VFIO_CLOSED`. The device stays open then.
   */
  static from(device: Device): PciDevice {
    if ((device as unknown as Record<symbol, unknown>)[brand] === true) return device as PciDevice;
    return new PciDevice(device);
  }

  private constructor(private readonly inner: Device) {
    Object.defineProperty(this, brand, { value: true });
    if (inner.closed) throw new VfioError('ERR_VFIO_CLOSED', `${inner.address} was closed.`);
    if (!inner.channel.info().pci) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `${inner.address} is not a PCI device.`, {
        remedy: 'Use its regions through device.channel.',
        details: { address: inner.address },
      });
    }
    this.config = ConfigSpace.of(inner.channel, inner.address);
    this.busMaster = this.commandSwitch(BUS_MASTER);
    this.memoryDecoding = this.commandSwitch(MEMORY_SPACE);
    this.checkAlive();
    this.vendor = this.config.vendorId;
    this.device = this.config.deviceId;
    this.classCode = this.config.classCode;
    inner.onClose('bus master', () => this.busMasterOff());
  }

  get channel(): DeviceChannel {
    return this.inner.channel;
  }

  get address(): string {
    return this.inner.address;
  }

  get dma(): DmaSpace {
    return this.inner.dma;
  }

  get closed(): boolean {
    return this.inner.closed;
  }

  /**
   * A base address register's memory or ports.
   * @param index 0 to 5. Throws `ERR_VFIO_ARGUMENT` for one that the device does not have, with those that it has.
   */
  bar(index: number): Region {
    const region = Number.isInteger(index) && index >= 0 && index <= 5 ? this.region(index) : undefined;
    if (region !== undefined && region.size > 0) return region;
    const present = [0, 1, 2, 3, 4, 5].filter((one) => this.region(one).size > 0);
    const has = present.length === 0 ? 'it has none' : `it has ${present.join(', ')}`;
    throw new VfioError('ERR_VFIO_ARGUMENT', `${this.address} has no BAR ${index}; ${has}.`, {
      remedy: 'vfio info ADDRESS lists the regions. A 64-bit BAR takes two indexes; the second is empty.',
      details: { address: this.address, bar: index, present },
    });
  }

  /**
   * Any region by VFIO's index, see `RegionIndex` of vfio-core. A region that the device lacks has size 0.
   * Throws `ERR_VFIO_ARGUMENT` for an index beyond what VFIO describes.
   */
  region(index: number): Region {
    const known = this.regions.get(index);
    if (known !== undefined) return known;
    const region = new Region(this.channel, index);
    this.regions.set(index, region);
    return region;
  }

  /**
   * Function reset: registers and queues go back to power-on; the kernel restores configuration space.
   * Throws `ERR_VFIO_NOT_SUPPORTED` where the device has none.
   */
  reset(): Promise<void> {
    return this.channel.reset();
  }

  /**
   * Whether the device is there, and mapped windows reach it. Windows that were touched while memory decoding was off, or the device
   * in D3, and that read all-ones since, are mapped afresh here once both are on again, and then work as before.
   *
   * Throws `ERR_VFIO_DEVICE_ASLEEP` while they are not, and `ERR_VFIO_DEVICE_GONE` where the device left: the kernel says so, or it
   * answers all-ones. The vendor id is the kernel's own record and never does; revision and class come from the hardware ([CFG-10]).
   */
  checkAlive(): void {
    this.channel.checkAlive();
    if (this.config.vendorId !== 0xffff && this.config.read32(0x08) !== 0xffff_ffff) return;
    throw new VfioError('ERR_VFIO_DEVICE_GONE', `${this.address} answers all-ones: it left the bus.`, {
      details: { address: this.address, vendor: this.config.vendorId },
    });
  }

  onClose(phase: ClosePhase, step: () => void): () => void {
    return this.inner.onClose(phase, step);
  }

  close(): void {
    this.inner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.inner[Symbol.asyncDispose]();
  }

  toString(): string {
    return this.closed ? `${this.address} (closed)` : this.config.toString();
  }

  private commandSwitch(bit: number): CommandSwitch {
    const { config } = this;
    const set = (on: boolean) => {
      if (this.closed) throw new VfioError('ERR_VFIO_CLOSED', `${this.address} was closed.`);
      // Two bytes: four would clear the error bits of the status register beside it ([CFG-58]).
      config.header.COMMAND.write(on ? config.command | bit : config.command & ~bit);
    };
    return {
      get enabled() {
        return (config.command & bit) !== 0;
      },
      enable: () => set(true),
      disable: () => set(false),
    };
  }

  /** A device that is gone masters no bus; closing it must not fail for that. */
  private busMasterOff(): void {
    try {
      const { command } = this.config;
      if ((command & BUS_MASTER) !== 0) this.config.header.COMMAND.write(command & ~BUS_MASTER);
    } catch (thrown) {
      if (!isDeviceGone(thrown)) throw thrown;
    }
  }
}
