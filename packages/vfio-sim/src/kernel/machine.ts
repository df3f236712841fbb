/** What all parts of the simulated kernel share. */

import type { DeviceMapping } from 'vfio-core';
import type { Build } from './build.js';
import type { FdTable } from './fds.js';
import type { KernelLog } from './log.js';
import type { Memory } from './memory.js';
import type { VirtualTime } from './time.js';
import type { Kernel } from './version.js';

/** What the simulated process may do. */
export interface Rights {
  /** CAP_IPC_LOCK: the limit on locked memory does not hold. */
  readonly ipcLock: boolean;
  /** CAP_SYS_RAWIO: no-IOMMU mode. */
  readonly sysRawio: boolean;
  /** CAP_SYS_ADMIN: pagemap shows physical page numbers. */
  readonly sysAdmin: boolean;
  /** CAP_SYS_RESOURCE: choosing who is charged for pages that an iommufd pins. */
  readonly sysResource: boolean;
}

/** Module parameters, as in /sys/module/NAME/parameters; they may change while the machine runs. */
export interface Parameters {
  vfio: { enable_unsafe_noiommu_mode: boolean };
  vfio_iommu_type1: { allow_unsafe_interrupts: boolean; disable_hugepages: boolean; dma_entry_limit: number };
  vfio_pci: {
    nointxmask: boolean;
    disable_idle_d3: boolean;
    disable_vga: boolean;
    enable_sriov: boolean;
    disable_denylist: boolean;
    /** `vendor:device[:subvendor:subdevice:class:mask]`, separated by commas. Not in sysfs. */
    ids: string;
  };
  /** Only where the machine has iommufd. */
  iommufd: { allow_unsafe_interrupts: boolean };
}

/** The machine's IOMMU. */
export interface IommuFacts {
  /** Bits of device address that it translates. */
  readonly addressBits: number;
  /** First and last device address that it translates. By default all that `addressBits` reach. */
  readonly aperture?: readonly [bigint, bigint];
  /** Interrupts of devices are isolated from each other. */
  readonly interruptRemapping: boolean;
  /** It translates in two stages; none of Intel's does, as far as type1 sees. Default false. */
  readonly nesting?: boolean;
  /** It notes which pages devices write, for iommufd. Default false. */
  readonly dirtyTracking?: boolean;
  /** Bit n is set if it has pages of 2^n bytes. By default what Intel's driver says in this kernel. */
  readonly pageSizes?: bigint;
  /** First and last address of ranges that a device keeps for itself, by the device's address. */
  readonly reserved?: Readonly<Record<string, readonly (readonly [bigint, bigint])[]>>;
  /** Its accesses snoop the processor's caches. */
  readonly coherent: boolean;
}

export interface Machine {
  readonly kernel: Kernel;
  readonly log: KernelLog;
  readonly time: VirtualTime;
  readonly memory: Memory;
  readonly fds: FdTable;
  readonly rights: Rights;
  readonly parameters: Parameters;
  /** The module vfio_iommu_type1 is loaded. */
  readonly type1Loaded: boolean;
  readonly iommu: IommuFacts | undefined;
  /** RLIMIT_MEMLOCK, bytes. */
  memlock: number;
  /** Bytes that the process has locked (VmLck). */
  lockedBytes: number;
  /** Bytes that the user has locked, by way of an iommufd. */
  userLockedBytes: number;
  /** Bytes that are pinned by way of an iommufd (VmPin). */
  pinnedBytes: number;
  /** What was built into the kernel. */
  readonly build: Build;
  /** Interrupt vectors that one device can get. */
  readonly vectorLimit: number;
  /** Mapped BARs. */
  readonly deviceMappings: Set<DeviceMapping>;
  /** Kernel taint flags. */
  taint: number;
}

/** Name and pid of the simulated process, for log lines. */
export const TASK = 'node[4242]';
