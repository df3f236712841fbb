/** What one numbered behaviour of VFIO is, as data with code. */

import type { Version } from './kernel.js';
import type { World } from './world.js';

/** What the process may do. `all`: a root process. */
export type Rights = 'all' | 'no CAP_IPC_LOCK' | 'no CAP_SYS_RAWIO' | 'no CAP_SYS_RESOURCE';

/**
 * With an IOMMU, with one that does not remap interrupts, or without one, in no-IOMMU mode. `mixed`: in no-IOMMU mode, with an
 * IOMMU that does not cover the NVMe controller, which has no group; the pair may be missing.
 */
export type Mode = 'iommu' | 'no remapping' | 'noiommu' | 'mixed';

/** What a variant needs of its surroundings. */
export interface Setup {
  /** `iommu` by default. */
  readonly mode?: Mode;
  readonly rights?: Rights;
  /** A kernel that has iommufd; or one where that serves /dev/vfio/vfio too. */
  readonly needs?: 'iommufd' | 'iommufd as container';
  /** RLIMIT_MEMLOCK in bytes; unlimited by default. */
  readonly memlock?: number;
  /** vfio-pci was loaded anew with these parameters; it has no function then but those that `ids` names. */
  readonly vfioPci?: Readonly<Record<string, string>>;
  /** Simulation only: what else the IOMMU is. */
  readonly iommu?: {
    readonly addressBits?: number;
    /** It notes which pages devices write. */
    readonly dirtyTracking?: boolean;
    /** It translates in two stages. */
    readonly nesting?: boolean;
    /** Bit n is set if it has pages of 2^n bytes. */
    readonly pageSizes?: bigint;
    /** First and last address of ranges that a device keeps for itself. */
    readonly reserved?: Readonly<Record<string, readonly (readonly [bigint, bigint])[]>>;
  };
  /** Simulation only: the IOMMU does not snoop the processor's caches. */
  readonly noncoherent?: true;
  /** Without the module vfio_iommu_type1. */
  readonly withoutType1?: boolean;
  /** Simulation only: a PCI bridge with this driver is in the group of the pair. */
  readonly pairBridge?: string;
}

/** One answer of VFIO. An item whose answer changed has one variant for each. */
export interface Variant extends Setup {
  /** First kernel that answers so; `seed` by default. */
  readonly from?: Version;
  /** First kernel that no longer does. */
  readonly below?: Version;
  /** Throws where the target answers otherwise. Expected numbers are literals. */
  readonly run: (world: World) => void | Promise<void>;
  /** Why no kernel in the lab can show this variant: it runs on the simulation alone. */
  readonly simulationOnly?: string;
  /** Why there is nothing to simulate: it runs on kernels alone. */
  readonly kernelOnly?: string;
}

export interface Item {
  /** `CTR-9` */
  readonly id: string;
  /** What holds, in one sentence. */
  readonly words: string;
  readonly variants: readonly Variant[];
  /** Where a kernel of the lab answers otherwise than it was written: what it does. The variants expect that. */
  readonly differs?: string;
  /** Why this item has no variant yet. It counts as failed. */
  readonly missing?: string;
}

export interface Section {
  /** `CTR` */
  readonly name: string;
  readonly title: string;
  /** How many items the section has. */
  readonly size: number;
  readonly items: readonly Item[];
}

/** An item with one answer for all kernels. */
export function item(id: string, words: string, run: Variant['run'], more: Omit<Variant, 'run'> = {}): Item {
  return { id, words, variants: [{ ...more, run }] };
}

/** An item with several variants. */
export const changed = (id: string, words: string, ...variants: readonly Variant[]): Item => ({ id, words, variants });
