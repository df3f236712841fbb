/** Opening a device that no IOMMU watches over. */

import {
  type BackendOption,
  Container,
  type Device,
  defaultBackend,
  Group,
  isVfioError,
  KernelChannel,
  OpenDevice,
  pciAddress,
  RegionIndex,
  type SystemCalls,
} from 'vfio-core';
import { requireAcknowledgement } from './acknowledgement.js';
import { lacksCapability, modeOff, noIommuGroup } from './checks.js';
import { hugeMounts } from './hugetlbfs.js';
import { leftovers, sweepLeftovers } from './leftovers.js';
import { PhysicalSpace } from './physical-space.js';

/** Options of {@link openUnsafe}. */
export interface OpenUnsafeOptions extends BackendOption {
  /** The sentence {@link acknowledgement}, word for word. */
  readonly acknowledge: string;
}

/** The IOMMU model without an IOMMU. Source: linux/vfio.h, `VFIO_NOIOMMU_IOMMU`. */
const NOIOMMU = 8;
/** PCI Local Bus 3.0, section 6.2.2: the command register and its bit "bus master". */
const COMMAND = 4;
const BUS_MASTER = 1 << 2;

/**
 * Opens a device of a no-IOMMU group. What comes is a `Device` like any other, and the same drivers run on it; but the
 * addresses that `device.dma` gives are physical ones, and a wrong one that a driver writes into the device reaches
 * whatever lies there.
 *
 * At close the order is: interrupts off, bus mastering off, windows unmapped, device closed, and only then its memory
 * freed. Memory that a killed process left is removed here, once the device was opened afresh and masters the bus no more.
 * @param address `dddd:bb:dd.f`
 * @throws (rejects) `ERR_VFIO_NOT_ACKNOWLEDGED`; `ERR_VFIO_NOT_SUPPORTED` for a device that has an IOMMU; `ERR_VFIO_NOIOMMU_OFF`,
 * `ERR_VFIO_API`, `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_NOT_BOUND`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_BUSY`, `ERR_VFIO_NO_DEVICE`
 */
export async function openUnsafe(address: string, options: OpenUnsafeOptions): Promise<Device> {
  requireAcknowledgement((options as OpenUnsafeOptions | undefined)?.acknowledge);
  const name = pciAddress(address);
  const system = options.backend ?? defaultBackend();
  const { path } = noIommuGroup(system, name);
  const undo: (() => void)[] = [];
  const unwind = (): void => {
    for (const step of undo.splice(0).reverse()) step();
  };
  try {
    const container = Container.open(system);
    undo.push(() => container.close());
    const group = Group.open(system, path);
    undo.push(() => group.close());
    group.setContainer(container);
    container.setIommu(NOIOMMU);
    const fd = await group.openDevice(name);
    const channel = new KernelChannel(system, fd, name);
    undo.push(() => channel.close());
    sweepLeftovers(system, hugeMounts(system), name, () => busMastering(channel));
    const dma = new PhysicalSpace(system, name);
    const after = (): void => {
      dma.close();
      group.close();
      container.close();
    };
    return new OpenDevice({ channel, address: name, dma, after });
  } catch (error) {
    unwind();
    throw explain(error, path);
  }
}

function busMastering(channel: KernelChannel): boolean {
  const command = new Uint8Array(2);
  channel.read(RegionIndex.CONFIG, COMMAND, command);
  return (command[0]! & BUS_MASTER) !== 0;
}

/** In this mode two errnos mean something of their own: EPERM the capability ([NOI-10]), and ENODEV of SET_IOMMU the parameter ([NOI-18]). */
function explain(error: unknown, path: string): unknown {
  if (!isVfioError(error)) return error;
  if (error.errnoName === 'EPERM') return lacksCapability(path, error);
  if (error.errnoName === 'ENODEV' && error.request === 'VFIO_SET_IOMMU') return modeOff();
  return error;
}

/**
 * Paths of the memory files that killed processes left for a device. {@link openUnsafe} removes them; this only looks.
 * @param address `dddd:bb:dd.f`
 */
export function leftoverFiles(address: string, options: BackendOption = {}): string[] {
  const system: SystemCalls = options.backend ?? defaultBackend();
  return leftovers(system, hugeMounts(system), pciAddress(address));
}
