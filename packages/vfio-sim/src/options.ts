/** What {@link simulation} takes: a machine as data. */

import type { Build } from './kernel/build.js';
import type { IommuFacts, Parameters } from './kernel/machine.js';
import type { KernelVersion } from './kernel/version.js';
import type { DeviceFactory } from './model/contract.js';

/** A device by its model, or with facts beside it. */
export type DeviceOption = DeviceFactory | DevicePlace;

/** A device and how the machine holds it at the start. */
export interface DevicePlace {
  readonly model: DeviceFactory;
  /** The driver that has it at the start: `vfio-pci` by default, `null` for none. Any name will do for a host's driver. */
  readonly driver?: string | null;
  /** The host's own driver, which takes it when vfio-pci lets go; by default what Linux has for its class (`nvme`, ...). */
  readonly nativeDriver?: string;
  /** How many virtual functions it can make (SR-IOV): `sriov_totalvfs` of sysfs. None by default. */
  readonly virtualFunctions?: number;
  /** `false`: the machine's IOMMU does not cover it, so it has no group. */
  readonly iommu?: false;
}

/** A member of a group that is only there to be seen: it has no model, answers with zeros and does nothing. */
export interface BystanderOption {
  readonly address: string;
  /** The driver that has it; none by default. */
  readonly driver?: string;
  /** Class code, 24 bits; by default what `driver` suggests. Must be given for a driver that the simulation does not know. */
  readonly class?: number;
  readonly vendor?: number;
  readonly device?: number;
}

/** What the simulated process may do. All that is left out is granted but `ipcLock`, so that `memlock` holds. */
export interface CapabilityOptions {
  /** CAP_IPC_LOCK: the limit on locked memory does not hold. */
  readonly ipcLock?: boolean;
  /** CAP_SYS_RAWIO: no-IOMMU mode. */
  readonly sysRawio?: boolean;
  /** CAP_SYS_RESOURCE: choosing who is charged for pages that an iommufd pins. */
  readonly sysResource?: boolean;
  /** CAP_SYS_ADMIN: pagemap shows physical page numbers. */
  readonly sysAdmin?: boolean;
  /** The process may open the group nodes. */
  readonly openGroups?: boolean;
}

/** The parameters of the three modules, as in /sys/module/NAME/parameters. The type1 module alone may be `not loaded`. */
export type ModuleOptions = {
  readonly [Name in keyof Parameters]?:
    | Partial<Parameters[Name]>
    | (Name extends 'vfio_iommu_type1' ? 'not loaded' : never);
};

export interface SimulationOptions {
  /** Devices by address, `dddd:bb:dd.f`. Each is bound to vfio-pci and in a group of its own unless something says otherwise. */
  readonly devices?: Readonly<Record<string, DeviceOption>>;
  /** Groups by number: addresses of `devices`, or bystanders. */
  readonly groups?: Readonly<Record<number, readonly (string | BystanderOption)[]>>;
  /** What was built into that kernel. By default everything that the version has, iommufd only if it is asked for. */
  readonly build?: Partial<Build>;
  /** Which kernel answers; `6.1` by default, `6.12` with `iommufd`. */
  readonly kernel?: KernelVersion;
  /** RLIMIT_MEMLOCK in bytes; unlimited by default. */
  readonly memlock?: number;
  readonly capabilities?: CapabilityOptions;
  /** An IOMMU (the default), or none; as an object, with its facts. */
  readonly iommu?: boolean | Partial<IommuFacts>;
  /** No IOMMU, and no-IOMMU mode switched on: devices are bound without one. */
  readonly noiommu?: boolean;
  /**
   * The kernel has iommufd: `/dev/iommu` from 6.2, and `/dev/vfio/devices` from 6.6. With `container` it serves `/dev/vfio/vfio`
   * too. None by default. Finer: {@link build}.
   */
  readonly iommufd?: boolean | 'container';
  /** Module parameters, or `not loaded`. */
  readonly modules?: ModuleOptions | 'not loaded';
  /** Huge pages set aside, of 2 MiB, or by size; 64 of 2 MiB and none of 1 GiB by default. */
  readonly hugePages?: number | { readonly '2M'?: number; readonly '1G'?: number };
  /** How many descriptors the process may have; 1024 by default. */
  readonly openFiles?: number;
  /** How many interrupt vectors one device can get; no limit by default. */
  readonly vectors?: number;
}
