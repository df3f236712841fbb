/** Builds the machine that the options describe, and refuses what cannot be. */

import { VfioError } from 'vfio-core';
import { Bus } from './kernel/bus.js';
import { FdTable } from './kernel/fds.js';
import type { TreeOptions } from './kernel/fs/root.js';
import { KernelLog } from './kernel/log.js';
import type { IommuFacts, Machine, Parameters } from './kernel/machine.js';
import { Memory } from './kernel/memory.js';
import type { Slot } from './kernel/pci/slot.js';
import { VirtualTime } from './kernel/time.js';
import { Kernel } from './kernel/version.js';
import { endpoint } from './model/endpoint.js';
import type { BystanderOption, DevicePlace, SimulationOptions } from './options.js';

/** Drivers of Linux by class code; `class` is compared from its front. */
const hostDrivers = [
  { driver: 'nvme', class: 0x010802 },
  { driver: 'ahci', class: 0x010601 },
  { driver: 'e1000e', class: 0x020000 },
  { driver: 'snd_hda_intel', class: 0x040300 },
  { driver: 'pcieport', class: 0x060400 },
  { driver: 'xhci_hcd', class: 0x0c0330 },
] as const;

export interface BuiltMachine {
  readonly machine: Machine;
  readonly bus: Bus;
  readonly tree: TreeOptions;
}

export function buildMachine(options: SimulationOptions): BuiltMachine {
  const noiommu = options.noiommu ?? false;
  const loaded = options.modules !== 'not loaded';
  const machine: Machine = {
    kernel: new Kernel(options.kernel ?? (options.iommufd ? '6.12' : '6.1')),
    log: new KernelLog(),
    time: new VirtualTime(),
    memory: new Memory(options.hugePages ?? 64),
    fds: new FdTable(options.openFiles ?? 1024),
    rights: { ipcLock: false, sysRawio: true, sysAdmin: true, sysResource: true, ...options.capabilities },
    parameters: parametersOf(options, noiommu),
    type1Loaded: loaded && !(typeof options.modules === 'object' && options.modules.vfio_iommu_type1 === 'not loaded'),
    iommu: iommuOf(options, noiommu),
    memlock: options.memlock ?? Number.POSITIVE_INFINITY,
    lockedBytes: 0,
    userLockedBytes: 0,
    pinnedBytes: 0,
    iommufd: options.iommufd === 'container' ? 'container' : options.iommufd ? 'files' : undefined,
    vectorLimit: options.vectors ?? Number.POSITIVE_INFINITY,
    deviceMappings: new Set(),
    taint: 0,
  };
  if (options.iommufd && !machine.kernel.since('6.2')) refuse(`kernel ${machine.kernel.release} has no iommufd`);
  const bus = new Bus(machine, machine.iommu !== undefined);
  fillBus(bus, options, loaded);
  if (loaded) bus.loadVfioPci();
  return { machine, bus, tree: { loaded, openGroups: options.capabilities?.openGroups ?? true } };
}

function iommuOf({ iommu }: SimulationOptions, noiommu: boolean): IommuFacts | undefined {
  if (noiommu || iommu === false) return undefined;
  return { addressBits: 48, interruptRemapping: true, coherent: true, ...(typeof iommu === 'object' && iommu) };
}

function parametersOf({ modules }: SimulationOptions, noiommu: boolean): Parameters {
  const given = typeof modules === 'object' ? modules : {};
  return {
    vfio: { enable_unsafe_noiommu_mode: noiommu, ...given.vfio },
    vfio_iommu_type1: {
      allow_unsafe_interrupts: false,
      disable_hugepages: false,
      dma_entry_limit: 65535,
      ...(typeof given.vfio_iommu_type1 === 'object' && given.vfio_iommu_type1),
    },
    vfio_pci: {
      nointxmask: false,
      disable_idle_d3: false,
      disable_vga: false,
      enable_sriov: false,
      disable_denylist: false,
      ids: '',
      ...given.vfio_pci,
    },
    iommufd: { allow_unsafe_interrupts: false, ...given.iommufd },
  };
}

function fillBus(bus: Bus, options: SimulationOptions, loaded: boolean): void {
  const groupOf = new Map<string, number>();
  const bystanders = new Map<string, BystanderOption>();
  for (const [number, members] of Object.entries(options.groups ?? {})) {
    for (const member of members) {
      const address = typeof member === 'string' ? member : member.address;
      if (groupOf.has(address)) refuse(`${address} stands in two groups`);
      groupOf.set(address, Number(number));
      if (typeof member !== 'string') bystanders.set(address, member);
    }
  }
  const devices = new Map(Object.entries(options.devices ?? {}));
  for (const address of bystanders.keys()) if (devices.has(address)) refuse(`${address} is a device and a bystander`);
  for (const address of new Set([...groupOf.keys(), ...devices.keys()])) {
    if (!/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/.test(address))
      refuse(`${address} is no PCI address like 0000:01:00.0`);
  }
  // Numbers that were asked for come first, so that none is given away before.
  const order = [...new Set([...groupOf.keys(), ...[...devices.keys()].sort()])];
  for (const address of order) {
    const given = devices.get(address);
    if (given !== undefined) {
      addDevice(bus, address, typeof given === 'function' ? { model: given } : given, groupOf.get(address), loaded);
    } else {
      addBystander(bus, address, bystanders.get(address), groupOf.get(address), loaded);
    }
  }
}

function addDevice(bus: Bus, address: string, place: DevicePlace, group: number | undefined, loaded: boolean): void {
  if (place.iommu === false && group !== undefined) refuse(`${address} is in a group and not covered by the IOMMU`);
  const slot = bus.add(address, place.model, place.nativeDriver, place.iommu ?? group);
  slot.virtualFunctions = place.virtualFunctions ?? 0;
  slot.nativeDriver ??= hostDrivers.find((host) => host.class === slot.classCode)?.driver;
  if (place.driver !== null) start(bus, slot, place.driver ?? 'vfio-pci', loaded);
}

/** Somebody who is only there. An address without a device is a plain function on vfio-pci, so that groups can be tried without models. */
function addBystander(
  bus: Bus,
  address: string,
  given: BystanderOption | undefined,
  group: number | undefined,
  loaded: boolean,
): void {
  const driver = given === undefined ? 'vfio-pci' : given.driver;
  const classCode = given?.class ?? hostDrivers.find((host) => host.driver === driver)?.class ?? 0xff0000;
  const description = endpoint({
    vendor: given?.vendor ?? 0x8086,
    device: given?.device ?? 0x0001,
    class: classCode,
    express: true,
  });
  if (classCode >> 8 === 0x0604) description.config[0x0e] = 1;
  const known = hostDrivers.find((host) => host.class === classCode)?.driver;
  const slot = bus.add(address, description, driver === 'vfio-pci' ? known : (driver ?? known), group);
  if (driver !== undefined) start(bus, slot, driver, loaded);
}

function start(bus: Bus, slot: Slot, driver: string, loaded: boolean): void {
  if (driver === 'vfio-pci' && !loaded) return;
  bus.probe(slot, driver);
}

function refuse(why: string): never {
  throw new VfioError('ERR_VFIO_ARGUMENT', why);
}
