/** What is in this machine: PCI functions, through sysfs alone. Nothing is opened, no privilege is needed. */

import {
  type BackendOption,
  defaultBackend,
  type GroupMember,
  groupOf,
  OpenFlag,
  pciAddress,
  type SystemCalls,
  VfioError,
} from 'vfio-core';
import { className } from '../layouts/class-names.js';
import { lookupNames, type PciNames } from './pci-ids.js';
import { driverOf, exists, linkName, names, pciDevices, readNumber, readOverride, readText } from './sysfs.js';

/** A base address register as the kernel assigned it. */
export interface BarResource {
  /** 0 to 5. */
  readonly index: number;
  /** Bytes. */
  readonly size: number;
  readonly kind: 'memory' | 'io';
  readonly is64: boolean;
  readonly prefetchable: boolean;
  /** Physical start; all zero where the kernel hides it or assigned none. */
  readonly start: bigint;
}

/** The IOMMU group of a function. */
export interface FunctionGroup {
  readonly id: number;
  /** A group of no-IOMMU mode: nothing translates or contains the device's memory accesses. */
  readonly noiommu: boolean;
  /** All functions of the group, this one among them. Read afresh at each call. */
  members(): readonly GroupMember[];
}

/** One PCI function. */
export interface PciFunction {
  /** `0000:01:00.0` */
  readonly address: string;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  /** Base class, subclass, programming interface: 24 bits. */
  readonly classCode: number;
  readonly revision: number;
  /** The class in words. */
  readonly className: string;
  /** From the machine's pci.ids where it has one, else class and ids: `Ethernet controller [8086:10d3]`. */
  readonly name: string;
  /** The driver in charge; absent for none. */
  readonly driver?: string;
  /** The only driver that may take this function, where somebody said so. */
  readonly driverOverride?: string;
  /** Absent where the machine has no IOMMU, or it is off. */
  readonly iommuGroup?: FunctionGroup;
  /** -1 where the machine does not say. */
  readonly numaNode: number;
  /** The header is not that of an endpoint (type 0). Bridges belong to groups but are never bound. */
  readonly isBridge: boolean;
  /** BARs that exist. */
  readonly bars: readonly BarResource[];
}

/**
 * All PCI functions, in the order of their addresses. Empty on a machine without PCI.
 *
 * ```ts
 * for (const fn of devices()) console.log(fn.address, fn.name, fn.driver ?? '-', fn.iommuGroup?.id ?? 'no IOMMU');
 * ```
 *
 * Throws `ERR_VFIO_NO_BACKEND` where there is no Linux and no backend was given.
 */
export function devices(options: BackendOption = {}): PciFunction[] {
  const system = options.backend ?? defaultBackend();
  const found = names(system, pciDevices).flatMap((address) => readFunction(system, address) ?? []);
  const look = lookupNames(system, found);
  return found.map((one) => named(one, look(one)));
}

/**
 * One function by its address (`0000:01:00.0`, or `01:00.0`). Throws `ERR_VFIO_ARGUMENT` for something that is no address,
 * `ERR_VFIO_NO_DEVICE` where none has it.
 */
export function findDevice(address: string, options: BackendOption = {}): PciFunction {
  const name = pciAddress(address);
  const system = options.backend ?? defaultBackend();
  const found = readFunction(system, name);
  if (found === undefined) {
    throw new VfioError('ERR_VFIO_NO_DEVICE', `There is no PCI function ${name}.`, {
      path: `${pciDevices}/${name}`,
      details: { address: name, present: names(system, pciDevices) },
    });
  }
  return named(found, lookupNames(system, [found])(found));
}

type Unnamed = Omit<PciFunction, 'name'>;

function readFunction(system: SystemCalls, address: string): Unnamed | undefined {
  const folder = `${pciDevices}/${address}`;
  const vendor = readNumber(system, `${folder}/vendor`);
  const device = readNumber(system, `${folder}/device`);
  if (vendor === undefined || device === undefined) return undefined;
  const classCode = readNumber(system, `${folder}/class`) ?? 0;
  const driver = driverOf(system, address);
  const driverOverride = readOverride(system, address);
  const iommuGroup = readGroup(system, address);
  return {
    address,
    vendor,
    device,
    subsystemVendor: readNumber(system, `${folder}/subsystem_vendor`) ?? 0,
    subsystemDevice: readNumber(system, `${folder}/subsystem_device`) ?? 0,
    classCode,
    revision: readNumber(system, `${folder}/revision`) ?? 0,
    className: className(classCode),
    ...(driver === undefined ? {} : { driver }),
    ...(driverOverride === undefined ? {} : { driverOverride }),
    ...(iommuGroup === undefined ? {} : { iommuGroup }),
    numaNode: readNumber(system, `${folder}/numa_node`) ?? -1,
    isBridge: isBridgeHeader(system, folder, classCode),
    bars: parseResources(readText(system, `${folder}/resource`) ?? ''),
  };
}

function named(one: Unnamed, found: PciNames): PciFunction {
  const ids = `${hex4(one.vendor)}:${hex4(one.device)}`;
  const known = [found.vendor, found.device ?? `${one.className} [${ids}]`];
  return { ...one, name: found.vendor === undefined ? `${one.className} [${ids}]` : known.join(' ') };
}

const hex4 = (value: number): string => value.toString(16).padStart(4, '0');

function readGroup(system: SystemCalls, address: string): FunctionGroup | undefined {
  const link = `${pciDevices}/${address}/iommu_group`;
  const id = Number(linkName(system, link) ?? Number.NaN);
  if (!Number.isInteger(id)) return undefined;
  const noiommu = readText(system, `${link}/name`) === 'vfio-noiommu' || exists(system, `/dev/vfio/noiommu-${id}`);
  return { id, noiommu, members: () => groupOf(system, address).members };
}

/** Header type at byte 0x0E of the configuration space (readable by anybody), else what the class says. */
function isBridgeHeader(system: SystemCalls, folder: string, classCode: number): boolean {
  const fd = system.open(`${folder}/config`, OpenFlag.readOnly | OpenFlag.closeOnExec);
  if (fd < 0) return bridgeClasses.has(classCode >>> 8);
  const byte = new Uint8Array(1);
  const got = system.pread(fd, byte, 0x0e);
  system.close(fd);
  return got === 1 && byte[0] !== 0xff ? ((byte[0] as number) & 0x7f) !== 0 : bridgeClasses.has(classCode >>> 8);
}

const bridgeClasses: ReadonlySet<number> = new Set([0x0604, 0x0607, 0x0609]);

/**
 * The first six lines of sysfs `resource`: start, end, flags, each in hexadecimal.
 * Source: linux/ioport.h, IORESOURCE_IO 0x100, IORESOURCE_MEM 0x200, IORESOURCE_PREFETCH 0x2000, IORESOURCE_MEM_64 0x100000.
 */
export function parseResources(text: string): BarResource[] {
  return text
    .split('\n')
    .slice(0, 6)
    .flatMap((line, index) => {
      const parts = line.trim().split(/\s+/);
      if (parts.length !== 3 || !parts.every((part) => /^0x[0-9a-f]+$/i.test(part))) return [];
      const [start, end, flags] = parts.map(BigInt) as [bigint, bigint, bigint];
      if ((flags & 0x300n) === 0n || end < start || (end === 0n && start === 0n)) return [];
      return [
        {
          index,
          size: Number(end - start) + 1,
          kind: (flags & 0x100n) === 0n ? ('memory' as const) : ('io' as const),
          is64: (flags & 0x100000n) !== 0n,
          prefetchable: (flags & 0x2000n) !== 0n,
          start,
        },
      ];
    });
}
