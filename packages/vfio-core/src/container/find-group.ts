/** From an address to its IOMMU group, through sysfs. Opens nothing and needs no privilege. */

import { VfioError } from '../errors/error.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { isBridgeClass, pciClassName } from './pci-class.js';

/** A device of an IOMMU group. */
export interface GroupMember {
  /** `dddd:bb:dd.f` for PCI; else the kernel's name. */
  readonly address: string;
  readonly driver: string | undefined;
  /** 24 bits: base class, subclass, programming interface. 0 where it is not a PCI device. */
  readonly classCode: number;
  /** The class in words. */
  readonly className: string;
  readonly vendor: number;
  readonly device: number;
  /** A bridge to another bus: harmless in a group, and never to be bound. */
  readonly isBridge: boolean;
  /** Its driver keeps the group from being used. */
  readonly blocksGroup: boolean;
}

/** An IOMMU group: the smallest set of devices that the hardware can keep apart from the others. */
export interface IommuGroup {
  readonly id: number;
  /** `/dev/vfio/7`, or `/dev/vfio/noiommu-7`. */
  readonly path: string;
  /** A group made up by the kernel where no IOMMU isolates anything. */
  readonly noiommu: boolean;
  readonly members: readonly GroupMember[];
}

const devices = '/sys/bus/pci/devices';
const groups = '/sys/kernel/iommu_groups';

/** Drivers of the host that make no use of DMA, so that the kernel lets them stay in a group ([GRP-7], [GRP-8]). */
const harmless = new Set(['pci-stub', 'pcieport']);
/** vfio-pci, and the variant drivers whose names end so. */
const isVfioDriver = (driver: string): boolean => driver === 'vfio-pci' || /[-_]vfio[-_]pci$/.test(driver);

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** The driver of a PCI function; undefined for none. */
export function driverOf(system: SystemCalls, address: string): string | undefined {
  const link = system.readLink(`${devices}/${address}/driver`);
  return typeof link === 'string' ? baseName(link) : undefined;
}

/** Whether a driver hands its devices to VFIO: vfio-pci or one of its variants. */
export const servesVfio = (driver: string | undefined): boolean => driver !== undefined && isVfioDriver(driver);

/** Whether the kernel has a PCI function of this address. */
export const deviceExists = (system: SystemCalls, address: string): boolean =>
  typeof system.status(`${devices}/${address}`) !== 'number';

/**
 * The group of a device; undefined where it has none (IOMMU off, and the device not bound in no-IOMMU mode).
 * Throws `ERR_VFIO_NO_DEVICE`.
 */
export function findGroup(system: SystemCalls, address: string): IommuGroup | undefined {
  if (!deviceExists(system, address)) {
    throw new VfioError('ERR_VFIO_NO_DEVICE', `there is no device ${address}.`, {
      path: `${devices}/${address}`,
      details: { address },
    });
  }
  const id = groupNumberOf(system, address);
  return id === undefined ? undefined : readGroup(system, id);
}

/** The number of a device's group; undefined where it has none, and where there is no such device. */
export function groupNumberOf(system: SystemCalls, address: string): number | undefined {
  const link = system.readLink(`${devices}/${address}/iommu_group`);
  const id = typeof link === 'string' ? Number.parseInt(baseName(link), 10) : Number.NaN;
  return Number.isNaN(id) ? undefined : id;
}

/** As {@link findGroup}. Throws `ERR_VFIO_NO_IOMMU` where there is no group. */
export function groupOf(system: SystemCalls, address: string): IommuGroup {
  const group = findGroup(system, address);
  if (group === undefined) {
    throw new VfioError('ERR_VFIO_NO_IOMMU', `${address} is in no IOMMU group: the IOMMU is off, or there is none.`, {
      path: `${devices}/${address}/iommu_group`,
      details: { address },
    });
  }
  return group;
}

function readGroup(system: SystemCalls, id: number): IommuGroup {
  // The kernel names the groups that it makes up for no-IOMMU mode ([NOI-6]); real ones have no name, or another.
  const name = system.readFile(`${groups}/${id}/name`);
  const noiommu = typeof name === 'string' && name.trim() === 'vfio-noiommu';
  const members = system.list(`${groups}/${id}/devices`);
  return {
    id,
    path: `/dev/vfio/${noiommu ? 'noiommu-' : ''}${id}`,
    noiommu,
    members: typeof members === 'number' ? [] : [...members].sort().map((address) => member(system, id, address)),
  };
}

function member(system: SystemCalls, group: number, address: string): GroupMember {
  const folder = `${groups}/${group}/devices/${address}`;
  const pci = deviceExists(system, address);
  const number = (file: string): number => {
    const text = pci ? system.readFile(`${devices}/${address}/${file}`) : -1;
    return typeof text === 'string' ? Number.parseInt(text, 16) || 0 : 0;
  };
  const link = system.readLink(pci ? `${devices}/${address}/driver` : `${folder}/driver`);
  const driver = typeof link === 'string' ? baseName(link) : undefined;
  const classCode = number('class');
  const isBridge = pci && isBridgeClass(classCode);
  return {
    address,
    driver,
    classCode,
    className: pci ? pciClassName(classCode) : 'not a PCI device',
    vendor: number('vendor'),
    device: number('device'),
    isBridge,
    blocksGroup: driver !== undefined && !isBridge && !isVfioDriver(driver) && !harmless.has(driver),
  };
}
