/** Builds the machine that the options describe, and refuses what cannot be. */

import { type Build, buildOf } from './kernel/build.js';
import { Bus } from './kernel/bus.js';
import { FdTable } from './kernel/fds.js';
import type { TreeOptions } from './kernel/fs/root.js';
import { KernelLog } from './kernel/log.js';
import type { IommuFacts, Machine, Parameters } from './kernel/machine.js';
import { Memory } from './kernel/memory.js';
import type { Slot } from './kernel/pci/slot.js';
import { VirtualTime } from './kernel/time.js';
import { Kernel } from './kernel/version.js';
import { checkCount, checkDescription, checkIommu, checkNames, checkOptions, refuse } from './machine-checks.js';
import { endpoint } from './model/endpoint.js';
import type { BystanderOption, DevicePlace, SimulationOptions } from './options.js';

/** Drivers of Linux and the class code of what they drive; the first of a class is what probing chooses. */
const hostDrivers = [
  { driver: 'nvme', class: 0x010802 },
  { driver: 'ahci', class: 0x010601 },
  { driver: 'e1000e', class: 0x020000 },
  { driver: 'snd_hda_intel', class: 0x040300 },
  { driver: 'pcieport', class: 0x060400 },
  { driver: 'xhci_hcd', class: 0x0c0330 },
  { driver: 'ehci-pci', class: 0x0c0320 },
  { driver: 'ata_piix', class: 0x01018a },
  { driver: 'mpt3sas', class: 0x010700 },
  { driver: 'megaraid_sas', class: 0x010400 },
  { driver: 'e1000', class: 0x020000 },
  { driver: 'igb', class: 0x020000 },
  { driver: 'igc', class: 0x020000 },
  { driver: 'ixgbe', class: 0x020000 },
  { driver: 'i40e', class: 0x020000 },
  { driver: 'ice', class: 0x020000 },
  { driver: 'mlx5_core', class: 0x020000 },
  { driver: 'r8169', class: 0x020000 },
  { driver: 'tg3', class: 0x020000 },
  { driver: 'iwlwifi', class: 0x028000 },
  { driver: 'i915', class: 0x030000 },
  { driver: 'amdgpu', class: 0x030000 },
  { driver: 'nouveau', class: 0x030000 },
  { driver: 'nvidia', class: 0x030000 },
  { driver: 'i801_smbus', class: 0x0c0500 },
  { driver: 'lpc_ich', class: 0x060100 },
  { driver: 'mei_me', class: 0x078000 },
  { driver: 'shpchp', class: 0x060400 },
] as const;
/** They take anything. */
const anyClass = ['vfio-pci', 'pci-stub'];

const capabilityNames = { ipcLock: true, sysRawio: true, sysAdmin: true, sysResource: true, openGroups: true };

export interface BuiltMachine {
  readonly machine: Machine;
  readonly bus: Bus;
  readonly tree: TreeOptions;
}

/** Throws `ERR_VFIO_ARGUMENT` for a machine that cannot be. */
export function buildMachine(options: SimulationOptions): BuiltMachine {
  checkOptions(options);
  checkNames('capabilities', options.capabilities ?? {}, capabilityNames);
  const noiommu = options.noiommu ?? false;
  const loaded = options.modules !== 'not loaded';
  const kernel = new Kernel(options.kernel ?? (options.iommufd ? '6.12' : '6.1'));
  const build = whatWasBuilt(kernel, options);
  const { hugePages = 64 } = options;
  const huge = typeof hugePages === 'number' ? { '2M': hugePages } : hugePages;
  const machine: Machine = {
    kernel,
    build,
    log: new KernelLog(),
    time: new VirtualTime(),
    memory: new Memory(huge['2M'] ?? 64, huge['1G'] ?? 0),
    fds: new FdTable(options.openFiles ?? 1024),
    rights: { ipcLock: false, sysRawio: true, sysAdmin: true, sysResource: true, ...options.capabilities },
    parameters: parametersOf(options, noiommu),
    type1Loaded:
      loaded &&
      build.VFIO_CONTAINER &&
      !(typeof options.modules === 'object' && options.modules.vfio_iommu_type1 === 'not loaded'),
    iommu: iommuOf(options, noiommu),
    memlock: options.memlock ?? Number.POSITIVE_INFINITY,
    lockedBytes: 0,
    userLockedBytes: 0,
    pinnedBytes: 0,
    vectorLimit: options.vectors ?? Number.POSITIVE_INFINITY,
    deviceMappings: new Set(),
    taint: 0,
  };
  const bus = new Bus(machine, machine.iommu !== undefined);
  fillBus(bus, options, loaded);
  if (loaded) bus.loadVfioPci();
  return { machine, bus, tree: { loaded, openGroups: options.capabilities?.openGroups ?? true } };
}

function whatWasBuilt(kernel: Kernel, { build: given = {}, iommufd = false, noiommu }: SimulationOptions): Build {
  checkNames('build', given, buildOf(kernel, {}, false) as Build);
  const build = buildOf(kernel, given, iommufd);
  if (typeof build === 'string') refuse(build, { kernel: kernel.release, build: given, iommufd });
  if (noiommu && !build.VFIO_NOIOMMU) refuse('no-IOMMU mode is asked for, and VFIO_NOIOMMU is off');
  return build;
}

function iommuOf({ iommu }: SimulationOptions, noiommu: boolean): IommuFacts | undefined {
  if (noiommu || iommu === false) return undefined;
  return { addressBits: 48, interruptRemapping: true, coherent: true, ...(typeof iommu === 'object' && iommu) };
}

function parametersOf({ modules }: SimulationOptions, noiommu: boolean): Parameters {
  const given = typeof modules === 'object' ? modules : {};
  checkNames('modules', given, knownParameters);
  for (const [module, values] of Object.entries(given)) {
    const known = knownParameters[module as keyof Parameters];
    if (typeof values === 'object')
      checkNames(`modules.${module}`, values, Object.fromEntries(known.map((name) => [name, true])));
  }
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

const knownParameters: Readonly<Record<keyof Parameters, readonly string[]>> = {
  vfio: ['enable_unsafe_noiommu_mode'],
  vfio_iommu_type1: ['allow_unsafe_interrupts', 'disable_hugepages', 'dma_entry_limit'],
  vfio_pci: ['nointxmask', 'disable_idle_d3', 'disable_vga', 'enable_sriov', 'disable_denylist', 'ids'],
  iommufd: ['allow_unsafe_interrupts'],
};

function fillBus(bus: Bus, options: SimulationOptions, loaded: boolean): void {
  const groupOf = new Map<string, number>();
  const bystanders = new Map<string, BystanderOption>();
  for (const [number, members] of Object.entries(options.groups ?? {})) {
    for (const member of members) {
      const address = typeof member === 'string' ? member : member.address;
      const other = groupOf.get(address);
      if (other !== undefined) {
        refuse(
          other === Number(number) ? `${address} stands twice in group ${number}` : `${address} stands in two groups`,
          { address },
        );
      }
      groupOf.set(address, Number(number));
      if (typeof member !== 'string') bystanders.set(address, member);
    }
  }
  const devices = new Map(Object.entries(options.devices ?? {}));
  for (const address of bystanders.keys()) if (devices.has(address)) refuse(`${address} is a device and a bystander`);
  for (const address of new Set([...groupOf.keys(), ...devices.keys()])) {
    if (!/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/.test(address))
      refuse(`${address} is no PCI address like 0000:01:00.0`, { address });
  }
  checkIommu(options, new Set([...groupOf.keys(), ...devices.keys()]));
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
  checkDriver(address, place.driver);
  checkDriver(address, place.nativeDriver);
  checkCount(`virtualFunctions of ${address}`, place.virtualFunctions);
  const slot = bus.add(address, place.model, place.nativeDriver, place.iommu ?? group);
  checkDescription(address, slot.function.description);
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
  checkDriver(address, driver);
  const suggested = hostDrivers.find((host) => host.driver === driver)?.class;
  if (driver !== undefined && given?.class === undefined && suggested === undefined && !anyClass.includes(driver)) {
    refuse(`the class of ${address} is not known from its driver ${driver}: say { class } too, as in 0x0c0330`, {
      address,
    });
  }
  for (const [what, value, limit] of [
    ['class', given?.class, 0xffffff],
    ['vendor', given?.vendor, 0xffff],
    ['device', given?.device, 0xffff],
  ] as const) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= limit)) {
      refuse(`${what} of ${address} is ${value}: from 0 to 0x${limit.toString(16)}`, { address, value });
    }
  }
  const classCode = given?.class ?? suggested ?? 0xff0000;
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

/** A name as in /sys/bus/pci/drivers. */
function checkDriver(address: string, driver: string | null | undefined): void {
  if (driver === undefined || driver === null) return;
  if (driver === 'vfio_pci') refuse(`the driver of ${address} is called vfio-pci; vfio_pci is its module`, { address });
  if (!/^[A-Za-z0-9][\w .:+-]*$/.test(driver)) refuse(`${JSON.stringify(driver)} is no name of a driver`, { address });
}
