/**
 * The second seam: a device and an address space. `vfio-pci`, `vfio-irq` and drivers stand on these alone, so the same
 * driver runs on a kernel's VFIO with an IOMMU, without one, and on the simulation.
 */

import type { DmaSpace } from '../memory/dma.js';
import type { RegisterWindow } from '../seam/register-window.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';

/** What VFIO_DEVICE_GET_INFO says. Source: linux/vfio.h, `struct vfio_device_info`. */
export interface DeviceInfo {
  readonly flags: number;
  /** Function reset works. */
  readonly resettable: boolean;
  readonly pci: boolean;
  readonly regionCount: number;
  readonly irqCount: number;
}

/** One region. Source: linux/vfio.h, `struct vfio_region_info`. */
export interface RegionInfo {
  readonly index: number;
  /** Bytes; 0 for a region that does not exist. */
  readonly size: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly mappable: boolean;
  /** Parts that may be mapped, where the kernel lists them (SPARSE_MMAP); else the whole region if `mappable`. */
  readonly mappableAreas: readonly { readonly offset: number; readonly size: number }[];
  /** Place in the device descriptor. */
  readonly fileOffset: number;
}

/** One interrupt index. Source: linux/vfio.h, `struct vfio_irq_info`. */
export interface IrqInfo {
  readonly index: number;
  /** Vectors that the index has; 0 where it does not exist. */
  readonly count: number;
  readonly eventfd: boolean;
  readonly maskable: boolean;
  readonly automasked: boolean;
  readonly noResize: boolean;
}

/** PCI interrupt indexes of VFIO. */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;

/** PCI region indexes of VFIO. */
export const RegionIndex = { BAR0: 0, BAR1: 1, BAR2: 2, BAR3: 3, BAR4: 4, BAR5: 5, ROM: 6, CONFIG: 7, VGA: 8 } as const;

/** One VFIO_DEVICE_SET_IRQS call. Source: linux/vfio.h, `struct vfio_irq_set`. */
export interface IrqRequest {
  readonly index: number;
  readonly start: number;
  readonly action: 'mask' | 'unmask' | 'trigger';
  /** `none`: no data, `count` says how many. `bool`: one byte a vector. `eventfd`: one descriptor a vector, -1 for none. */
  readonly data:
    | { readonly kind: 'none'; readonly count: number }
    | { readonly kind: 'bool'; readonly values: readonly boolean[] }
    | { readonly kind: 'eventfd'; readonly fds: readonly Fd[] };
}

/** See {@link DeviceChannel.mapRange}. */
export interface MappedRange {
  /** User address. */
  readonly address: bigint;
  close(): void;
}

/** A device as somebody serves it: kernel VFIO over system calls, later a server over a socket. All failures throw a `VfioError`. */
export interface DeviceChannel {
  /** The backend that this device came from. A function that is given a device uses this one. */
  readonly system: SystemCalls;
  /** The device descriptor, where there is one; -1 else. */
  readonly fd: Fd;
  info(): DeviceInfo;
  /** Throws `ERR_VFIO_ARGUMENT` for an index that the device does not have. */
  region(index: number): RegionInfo;
  /** Reads `into.length` bytes at `offset` of a region. Throws `ERR_VFIO_SHORT_ACCESS` when fewer came, `ERR_VFIO_DEVICE_GONE`, ... */
  read(region: number, offset: number, into: Uint8Array): void;
  write(region: number, offset: number, from: Uint8Array): void;
  /**
   * A window on a part of a region. `mapped` needs the part to be mappable, and maps whole pages around it; `positioned` reads and writes
   * through the descriptor; `auto` (the default) maps where it can.
   */
  window(region: number, offset: number, length: number, access?: 'auto' | 'mapped' | 'positioned'): RegisterWindow;
  /**
   * Maps whole pages of a region for the address spaces of other devices (peer-to-peer). Closed with the device, at the latest.
   * Throws `ERR_VFIO_NOT_SUPPORTED` where they cannot be mapped.
   */
  mapRange(region: number, offset: number, length: number): MappedRange;
  irq(index: number): IrqInfo;
  /**
   * @returns 0, or the positive number of vectors that the kernel could have given ([IRQ-26]); the caller decides what that means
   */
  setIrqs(request: IrqRequest): number;
  /** Function reset. Throws `ERR_VFIO_NOT_SUPPORTED` where the device has none. */
  reset(): Promise<void>;
  /**
   * Whether mapped windows reach the device. One that was touched while they did not reads all-ones from then on; where that was
   * only for memory decoding or power, and both are on again, this maps it afresh: the window works again, and its parts.
   *
   * Throws `ERR_VFIO_DEVICE_GONE` once the device left; `ERR_VFIO_DEVICE_ASLEEP` while memory decoding is off or the device is in
   * D3, if a window was touched meanwhile.
   */
  checkAlive(): void;
  /**
   * How often {@link checkAlive} has mapped windows afresh, whoever called it. A driver that finds more than it last saw knows that writes
   * to its registers may have been lost.
   */
  readonly remappings: number;
  readonly closed: boolean;
}

/** When a step of closing runs: in this order. */
export const closePhases = ['interrupts', 'bus master', 'windows', 'device', 'memory'] as const;
export type ClosePhase = (typeof closePhases)[number];

/** An open device. `PciDevice.from(device)` adds PCI; `interrupts(device)` adds interrupts. */
export interface Device {
  readonly channel: DeviceChannel;
  /** The name by which it was opened: `dddd:bb:dd.f` for PCI. */
  readonly address: string;
  /** Memory that the device can reach. */
  readonly dma: DmaSpace;
  readonly closed: boolean;
  /**
   * Runs `step` when the device closes, in its phase (within one phase, last registered first). A step that throws does not stop the others;
   * the first error is thrown at the end.
   * @returns a function that takes the step out again
   */
  onClose(phase: ClosePhase, step: () => void): () => void;
  /** Interrupts off, bus mastering off, windows unmapped, memory unmapped, device closed, memory freed, group and container closed. Idempotent. */
  close(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}
