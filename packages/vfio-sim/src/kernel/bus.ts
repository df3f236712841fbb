/** The PCI bus: functions, drivers, groups, binding. */

import type { BarDescription, DeviceFactory, FunctionDescription } from '../model/contract.js';
import { EBUSY, EINVAL, ENODEV } from './errno.js';
import { Group } from './group.js';
import type { Machine } from './machine.js';
import { PciFunction } from './pci/function.js';
import { Slot } from './pci/slot.js';

/** Taint flag of a device bound without an IOMMU ([NOI-9]). */
const TAINT_USER = 64;

export class Bus {
  readonly slots = new Map<string, Slot>();
  readonly groups = new Map<number, Group>();
  private readonly dynamicIds = new Set<string>();
  private readonly nextAddress = { memory32: 0xe000_0000n, memory64: 0x38_0000_0000n, io: 0xc000n };
  private nextGroup = 0;
  /** Taken out by hand; they come back with a rescan. */
  private readonly forgotten: { readonly slot: Slot; readonly group: number | undefined }[] = [];

  /** @param noiommu no-IOMMU mode is built in */
  constructor(
    private readonly machine: Machine,
    private readonly withGroups: boolean,
  ) {}

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

  bound(driver: string): Slot[] {
    return [...this.slots.values()].filter((slot) => slot.driver === driver);
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
  addId(id: string): number {
    this.dynamicIds.add(id);
    for (const slot of this.slots.values()) {
      if (slot.driver === undefined && this.matches(slot, 'vfio-pci')) this.probe(slot, 'vfio-pci');
    }
    return 0;
  }

  removeId(id: string): number {
    return this.dynamicIds.delete(id) ? 0 : -ENODEV;
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
    slot.unbinding = false;
    slot.driver = undefined;
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
      const { config } = slot.function;
      const id = [config.view.getUint16(0, true), config.view.getUint16(2, true)];
      return this.dynamicIds.has(id.map((part) => part.toString(16).padStart(4, '0')).join(' '));
    }
    return slot.nativeDriver === driver;
  }

  /** A driver takes a function, whether or not it would have found it by itself: 0 or a negative errno. */
  probe(slot: Slot, driver: string): number {
    const { machine } = this;
    if (driver === 'vfio-pci') {
      if (slot.isBridge) return -EINVAL;
      if (slot.group === undefined) {
        const { iommu, kernel, parameters } = machine;
        if (!parameters.vfio.enable_unsafe_noiommu_mode) return -EINVAL;
        // Until then a bus with an IOMMU had no such devices ([NOI-2]).
        if (iommu !== undefined && !kernel.since('6.0')) return -EINVAL;
        this.join(slot, this.freeGroup(), true);
        machine.taint |= TAINT_USER;
        machine.log.add(`vfio-pci ${slot.address}: Adding kernel taint for vfio-noiommu group on device`);
      }
    } else if (slot.group?.container !== undefined && driver !== 'pci-stub' && driver !== 'pcieport') {
      // The seed stopped the whole machine here ([GRP-10]).
      return -EBUSY;
    }
    slot.driver = driver;
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
    slot.function.domain = group.container?.model;
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
