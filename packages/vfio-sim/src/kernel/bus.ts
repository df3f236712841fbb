/** The PCI bus: functions, drivers, groups, binding. */

import type { BarDescription, DeviceFactory, FunctionDescription } from '../model/contract.js';
import { EBUSY, EEXIST, EINVAL, ENODEV } from './errno.js';
import { Group } from './group.js';
import type { Machine, Parameters } from './machine.js';
import { noiommuMode } from './noiommu.js';
import { PciFunction } from './pci/function.js';
import { type DynamicId, idsOf, meets, sameId, shown } from './pci/ids.js';
import { setPower } from './pci/saved-state.js';
import { Slot } from './pci/slot.js';
import { virtualFunctionsOf } from './pci/sriov.js';
import type { Kernel } from './version.js';

/** Devices of Intel that vfio-pci does not take ([LIFE-20]): QAT, then DSA and IAX. Source: linux/pci_ids.h. */
const denyList = [0x0435, 0x0443, 0x19e2, 0x19e3, 0x37c8, 0x37c9];
const laterDenyList = [0x0b25, 0x0cfe];
const isDenied = (kernel: Kernel, vendor: number, device: number): boolean =>
  vendor === 0x8086 &&
  ((kernel.since('5.9') && denyList.includes(device)) || (kernel.since('6.9') && laterDenyList.includes(device)));

/** Taint flag of a device bound without an IOMMU ([NOI-9]). */
const TAINT_USER = 64;

export class Bus {
  readonly slots = new Map<string, Slot>();
  readonly groups = new Map<number, Group>();
  private dynamicIds: DynamicId[] = [];
  private readonly nextAddress = { memory32: 0xe000_0000n, memory64: 0x38_0000_0000n, io: 0xc000n };
  private nextGroup = 0;
  /** The parameters of vfio-pci as they were when it was loaded: from 5.15 to 7.2 they count, whatever sysfs says ([LIFE-16]). */
  private readonly atLoad: Parameters['vfio_pci'];
  /** Taken out by hand; they come back with a rescan. */
  private readonly forgotten: { readonly slot: Slot; readonly group: number | undefined }[] = [];

  /** @param noiommu no-IOMMU mode is built in */
  constructor(
    private readonly machine: Machine,
    private readonly withGroups: boolean,
  ) {
    this.atLoad = { ...machine.parameters.vfio_pci };
  }

  /** Puts a function on the bus, without a driver. `group`: `false` for none, where the IOMMU does not cover it. */
  add(
    address: string,
    what: DeviceFactory | FunctionDescription,
    nativeDriver: string | undefined,
    group?: number | false,
  ): Slot {
    const fn = new PciFunction(address, what, this.machine);
    fn.bars.place((bar) => this.takeAddress(bar));
    const slot = new Slot(fn, nativeDriver, this.machine);
    slot.finishUnbind = () => this.finishUnbind(slot);
    const bus = address.slice(0, 7);
    slot.neighbours = () => [...this.slots.values()].filter((other) => other !== slot && other.address.startsWith(bus));
    const { kernel, parameters } = this.machine;
    if (kernel.since('5.15'))
      slot.vfioPci = () => (kernel.since('7.2') ? (slot.atBind ?? parameters.vfio_pci) : this.atLoad);
    this.slots.set(address, slot);
    if (this.withGroups && group !== false) this.join(slot, group ?? this.freeGroup(), false);
    return slot;
  }

  /** Names of drivers that exist. */
  get drivers(): string[] {
    const names = new Set(['vfio-pci', 'pci-stub', 'pcieport']);
    for (const { nativeDriver, driver } of this.slots.values()) {
      for (const name of [nativeDriver, driver]) if (name !== undefined) names.add(name);
    }
    return [...names];
  }

  /** Sleep is runtime power management ([LIFE-5]). */
  get runtimePower(): boolean {
    return this.machine.kernel.since('6.1');
  }

  /** Those that sysfs shows as a driver's; one that is on its way out it shows no more ([LIFE-9]). */
  bound(driver: string): Slot[] {
    return [...this.slots.values()].filter((slot) => slot.driver === driver && !slot.unbinding);
  }

  /** `drivers/NAME/bind` and probing: 0 or a negative errno. */
  bind(slot: Slot, driver: string): number {
    if (slot.driver !== undefined) return -EBUSY;
    if (!this.matches(slot, driver)) return -ENODEV;
    return this.probe(slot, driver);
  }

  /** `drivers/NAME/unbind`. An open device is only asked for, and goes when its user closes it ([LIFE-9]). */
  unbind(slot: Slot, driver: string): number {
    if (slot.driver !== driver) return -ENODEV;
    if (slot.device === undefined) this.finishUnbind(slot);
    else this.askFor(slot);
    return 0;
  }

  /** `drivers_probe`: lets whichever driver matches take it. */
  probeAny(slot: Slot): number {
    if (slot.driver !== undefined) return 0;
    const driver = this.drivers.find((name) => this.matches(slot, name));
    return driver === undefined ? 0 : this.probe(slot, driver);
  }

  /** `new_id` of vfio-pci: it takes every such function that has no driver ([LIFE-14]). */
  addId(id: DynamicId): number {
    if (this.dynamicIds.some((known) => sameId(known, id))) return -EEXIST;
    this.dynamicIds.push(id);
    for (const slot of this.slots.values()) {
      if (slot.driver === undefined && this.matches(slot, 'vfio-pci')) this.probe(slot, 'vfio-pci');
    }
    return 0;
  }

  removeId(id: DynamicId): number {
    const before = this.dynamicIds.length;
    this.dynamicIds = this.dynamicIds.filter((known) => !sameId(known, id));
    return this.dynamicIds.length < before ? 0 : -ENODEV;
  }

  /** vfio-pci is loaded: takes the ids of its parameter `ids` ([LIFE-14], [LIFE-18]). */
  loadVfioPci(): void {
    const { log, parameters } = this.machine;
    const invalid = (text: string) => log.add(`vfio_pci: invalid id string "${text}"`);
    for (const id of idsOf(parameters.vfio_pci.ids, invalid)) {
      this.addId(id);
      log.add(`vfio_pci: ${shown(id)}`);
    }
  }

  /** A signal reaches the task that unbinds: it says so once, and waits on ([LIFE-10]). */
  signalUnbind(slot: Slot): void {
    if (!slot.unbinding || slot.signalled) return;
    slot.signalled = true;
    this.machine.log.add(
      `vfio-pci ${slot.address}: Device is currently in use, task "sh" (4711) blocked until device is released`,
    );
  }

  /** Pulls a function out. */
  unplug(slot: Slot): void {
    slot.function.remove();
    if (slot.device !== undefined) this.askFor(slot);
    else this.finishUnbind(slot);
  }

  /** `remove` of a function: the machine has it still, and {@link rescan} finds it. */
  forget(slot: Slot): number {
    this.forgotten.push({ slot, group: slot.group?.noiommu ? undefined : slot.group?.number });
    this.unplug(slot);
    return 0;
  }

  /** A function that was forgotten comes back, and a driver that knows it takes it ([GRP-33]). */
  rescan(): number {
    for (const { slot, group } of this.forgotten.splice(0)) {
      if (this.slots.has(slot.address)) continue;
      slot.function.present = true;
      slot.function.powerOn();
      slot.function.bars.restore();
      slot.override = '';
      this.slots.set(slot.address, slot);
      if (group !== undefined) this.join(slot, group, false);
      this.probeAny(slot);
    }
    return 0;
  }

  private askFor(slot: Slot): void {
    const { log, time } = this.machine;
    if (slot.unbinding) return;
    slot.unbinding = true;
    const ask = (count: number) => {
      const { device } = slot;
      if (device === undefined || !slot.unbinding) return;
      const name = `vfio-pci ${slot.address}`;
      if (!device.irqs.askToRelease()) {
        if (count === 0) log.add(`${name}: No device request channel registered, blocked until released by user`);
        return;
      }
      if (count % 10 === 0) log.add(`${name}: Relaying device request to user (#${count})`);
      time.schedule(10_000, () => ask(count + 1), slot);
    };
    ask(0);
  }

  private finishUnbind(slot: Slot): void {
    this.machine.time.drop(slot);
    const { group } = slot;
    slot.unbinding = slot.signalled = false;
    if (slot.driver === 'vfio-pci') {
      for (const virtual of virtualFunctionsOf(this, slot)) this.unplug(virtual);
      setPower(slot.function, 0);
    }
    slot.driver = slot.vfioIndex = slot.token = undefined;
    group?.driverLeft();
    if (group?.noiommu) {
      this.groups.delete(group.number);
      group.members.length = 0;
      slot.group = undefined;
    }
    if (!slot.function.present) {
      this.slots.delete(slot.address);
      group?.members.splice(group.members.indexOf(slot), 1);
      slot.group = undefined;
    }
  }

  private matches(slot: Slot, driver: string): boolean {
    if (slot.override !== '') return slot.override === driver;
    if (driver === 'vfio-pci') {
      return this.dynamicIds.some((id) => meets(id, slot.function.config.view, slot.classCode));
    }
    return slot.nativeDriver === driver;
  }

  /** What vfio-pci does not take, whatever the IOMMU: 0 or a negative errno ([LIFE-13], [LIFE-19], [LIFE-20]). */
  private refused(slot: Slot): number {
    const { kernel, iommu, parameters } = this.machine;
    if (slot.isBridge) return -EINVAL;
    if (kernel.since('5.7') && virtualFunctionsOf(this, slot).length > 0) return -EBUSY;
    const { view } = slot.function.config;
    const [vendor, device] = [view.getUint16(0, true), view.getUint16(2, true)];
    if (isDenied(kernel, vendor, device) && !parameters.vfio_pci.disable_denylist) {
      const [v, d] = [vendor, device].map((id) => id.toString(16).padStart(4, '0'));
      this.machine.log.add(
        `vfio-pci ${slot.address}: ${v}:${d} exists in vfio-pci device denylist, driver probing disallowed.`,
      );
      return -EINVAL;
    }
    return slot.group !== undefined && iommu?.coherent === false && kernel.since('5.19') ? -EINVAL : 0;
  }

  /** A driver takes a function, whether or not it would have found it by itself: 0 or a negative errno. */
  probe(slot: Slot, driver: string): number {
    const { machine } = this;
    if (driver === 'vfio-pci') {
      const refused = this.refused(slot);
      if (refused < 0) return refused;
      if (slot.group === undefined) {
        const { iommu, kernel } = machine;
        if (!noiommuMode(machine)) return -EINVAL;
        // Until then a bus with an IOMMU had no such devices ([NOI-2]).
        if (iommu !== undefined && !kernel.since('6.0')) return -EINVAL;
        this.join(slot, this.freeGroup(), true);
        machine.taint |= TAINT_USER;
        machine.log.add(`vfio-pci ${slot.address}: Adding kernel taint for vfio-noiommu group on device`);
      }
    } else if (
      (slot.group?.container ?? slot.group?.owner) !== undefined &&
      driver !== 'pci-stub' &&
      driver !== 'pcieport'
    ) {
      // The seed stopped the whole machine here ([GRP-10]).
      return -EBUSY;
    }
    slot.driver = driver;
    if (driver === 'vfio-pci') {
      slot.atBind = { ...machine.parameters.vfio_pci };
      slot.vfioIndex = this.freeIndex();
      slot.idle();
    }
    return 0;
  }

  private join(slot: Slot, number: number, noiommu: boolean): void {
    let group = this.groups.get(number);
    if (group === undefined) {
      group = new Group(number, noiommu, this.machine);
      this.groups.set(number, group);
    }
    group.members.push(slot);
    slot.group = group;
    slot.function.domain = group.container?.model ?? group.owner?.hwpt;
  }

  /** The lowest number that no device of vfio-pci has. */
  private freeIndex(): number {
    const taken = new Set([...this.slots.values()].map(({ vfioIndex }) => vfioIndex));
    let index = 0;
    while (taken.has(index)) index++;
    return index;
  }

  /** Group numbers only go up, so that a group that comes again has another one ([NOI-8]). */
  private freeGroup(): number {
    while (this.groups.has(this.nextGroup)) this.nextGroup++;
    return this.nextGroup++;
  }

  /** Each BAR begins on a page, and on a multiple of its size. */
  private takeAddress(bar: BarDescription): bigint {
    const pool = bar.kind === 'io' ? 'io' : bar.is64 ? 'memory64' : 'memory32';
    const step = BigInt(Math.max(bar.size, bar.kind === 'io' ? 4 : 4096));
    const address = (this.nextAddress[pool] + step - 1n) & ~(step - 1n);
    this.nextAddress[pool] = address + step;
    return address;
  }
}
