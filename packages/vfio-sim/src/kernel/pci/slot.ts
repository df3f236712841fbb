/** A function in the machine: what it is, which driver has it, which group it is in. */

import { Device, type DeviceHolder } from '../device.js';
import { EAGAIN, EINVAL } from '../errno.js';
import type { EventFd } from '../eventfd.js';
import type { OpenFile } from '../fds.js';
import type { Group } from '../group.js';
import type { BoundDevice } from '../iommufd/bound-device.js';
import type { Machine, Parameters } from '../machine.js';
import type { PciFunction } from './function.js';
import { resetAndRestore, setPower } from './saved-state.js';
import type { VfToken } from './vf-token.js';

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
  /** The task that waits there got a signal, and said so. */
  signalled = false;
  /** Somebody else holds the device's lock, in a reset for example ([LIFE-2]). */
  locked = false;
  /** Eventfds of ERR and REQ; the seed kept them beyond the last close ([LIFE-7]). */
  readonly notices: { error?: EventFd | undefined; request?: EventFd | undefined } = {};
  /** Closed without a reset: one of the whole bus is due ([LIFE-4]). */
  needsReset = false;
  /** How many virtual functions it can make. */
  virtualFunctions = 0;
  /** The secret for them, once somebody chose one; before, nobody can know it ([FEAT-14]). */
  token: VfToken | undefined;
  /** The function that made this one. */
  physical: Slot | undefined;
  /** Other functions on its bus. */
  neighbours: () => Slot[] = () => [];
  /** What an iommufd has of it, while it is bound to one. */
  bound: BoundDevice | undefined;
  /** It was opened by its own file, and not by way of its group. */
  openedByFile = false;
  /** X of `/dev/vfio/devices/vfioX`, while vfio-pci has it. */
  vfioIndex: number | undefined;
  /** The parameters of vfio-pci when it took this function. */
  atBind: Parameters['vfio_pci'] | undefined;
  /** The parameters of vfio-pci as they count for this function ([LIFE-16]). */
  vfioPci: () => Parameters['vfio_pci'];

  readonly function: PciFunction;

  constructor(
    fn: PciFunction,
    /** The host's own driver for it, which probing without an override chooses. */
    public nativeDriver: string | undefined,
    private readonly machine: Machine,
  ) {
    this.function = fn;
    this.vfioPci = () => machine.parameters.vfio_pci;
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

  /** Whether some reset of this function alone works: its own, or that of a bus where nobody else is. */
  get resettable(): boolean {
    return this.function.resettable || (this.behindBridge && this.neighbours().length === 0);
  }

  /** vfio-pci lets virtual functions be made ([LIFE-20]). */
  get mayMakeVirtualFunctions(): boolean {
    return this.machine.kernel.since('5.7') && this.machine.parameters.vfio_pci.enable_sriov;
  }

  get behindBridge(): boolean {
    return !/^[0-9a-f]{4}:00:/.test(this.address);
  }

  /** A host driver has it that uses its DMA. */
  get claimsDma(): boolean {
    return this.driver !== undefined && !HARMLESS.has(this.driver);
  }

  /** GET_DEVICE_FD finds it ([LIFE-11]). */
  get offersVfio(): boolean {
    return this.driver === 'vfio-pci' && !(this.unbinding && this.machine.kernel.since('6.6'));
  }

  /** Name of its class device, and of its file below /dev/vfio/devices if it has one ([IFD-1], [NOI-31]). */
  get vfioName(): string | undefined {
    if (this.vfioIndex === undefined) return undefined;
    return `${this.group?.noiommu && this.machine.kernel.since('7.3') ? 'noiommu-' : ''}vfio${this.vfioIndex}`;
  }

  /** What fdinfo says of a descriptor of this device ([IFD-41]). */
  get fdinfo(): string {
    return this.machine.kernel.since('7.2') ? `vfio-device-syspath: /sys/devices/pci0000:00/${this.address}\n` : '';
  }

  /**
   * GET_DEVICE_FD: opens the device, or opens it once more ([GRP-30]). `onClosed` runs after the last close, where this is the
   * first opening.
   */
  openDevice(holder: DeviceHolder, onClosed?: () => void): OpenFile | number {
    if (this.group === undefined) return -EINVAL;
    if (this.device === undefined && this.locked && this.resettable && this.machine.kernel.since('4.14'))
      return -EAGAIN;
    this.device ??= new Device(this, this.machine, () => {
      onClosed?.();
      this.closed();
    });
    return this.device.openFile(holder);
  }

  /** A function that vfio-pci has and nobody uses sleeps, unless the parameter says otherwise ([LIFE-5]). */
  idle(): void {
    if (!this.vfioPci().disable_idle_d3) setPower(this.function, 3);
  }

  private closed(): void {
    this.device = undefined;
    if ([this, ...this.neighbours()].some(({ needsReset }) => needsReset)) this.resetBus();
    this.idle();
    if (this.unbinding) this.finishUnbind();
  }

  /** Resets all functions of the bus, once vfio-pci has them all and none is open ([LIFE-4]). */
  private resetBus(): void {
    const all = [this, ...this.neighbours()];
    if (!this.behindBridge || all.some(({ driver, device }) => driver !== 'vfio-pci' || device !== undefined)) return;
    for (const slot of all) {
      resetAndRestore(slot.function);
      slot.needsReset = false;
      slot.idle();
    }
  }

  /** What runs when the user lets go of a device that is being unbound. */
  finishUnbind: () => void = () => {};
}
