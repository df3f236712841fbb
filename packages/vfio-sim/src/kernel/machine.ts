/** What all parts of the simulated kernel share. */

import type { DeviceMapping } from 'vfio-core';
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
}

/** Module parameters, as in /sys/module/NAME/parameters; they may change while the machine runs. */
export interface Parameters {
  vfio: { enable_unsafe_noiommu_mode: boolean };
  vfio_iommu_type1: { allow_unsafe_interrupts: boolean; disable_hugepages: boolean; dma_entry_limit: number };
  vfio_pci: { nointxmask: boolean; disable_idle_d3: boolean };
}

/** The machine's IOMMU. */
export interface IommuFacts {
  /** Bits of device address that it translates. */
  readonly addressBits: number;
  /** Interrupts of devices are isolated from each other. */
  readonly interruptRemapping: boolean;
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
  readonly memlock: number;
  /** Bytes that the process has locked (VmLck). */
  lockedBytes: number;
  /** Interrupt vectors that one device can get. */
  readonly vectorLimit: number;
  /** Mapped BARs. */
  readonly deviceMappings: Set<DeviceMapping>;
  /** Kernel taint flags. */
  taint: number;
}

/** Name and pid of the simulated process, for log lines. */
export const TASK = 'node[4242]';
