/** The whole way to a device: sysfs, container, group, IOMMU, device. */

import { type BackendOption, defaultBackend } from '../backend.js';
import type { Device } from '../device/device.js';
import { KernelChannel } from '../device/kernel-channel.js';
import { OpenDevice } from '../device/open-device.js';
import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { DmaSpace } from '../memory/dma.js';
import { isType1Space, Type1Space } from '../memory/type1-space.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { driverOf, findGroup, type IommuGroup, servesVfio } from './find-group.js';
import type { Group } from './group.js';
import { pciAddress } from './pci-address.js';
import { notViable } from './refusals.js';

export interface OpenOptions extends BackendOption {
  /**
   * An address space to share with other devices: `device.dma` of another one, or one of `Type1Space.open()`. By default the device gets one of its
   * own, which closes with it.
   */
  readonly space?: DmaSpace | undefined;
}

/**
 * Opens a PCI device that is bound to vfio-pci. Bus mastering is off, as VFIO leaves it.
 *
 * Each thing that can be wrong has its own error, and then nothing is left open: `ERR_VFIO_ARGUMENT` (not an address),
 * `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NO_IOMMU`, `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_NOT_BOUND` (which driver holds it),
 * `ERR_VFIO_PERMISSION` (whose the file is), `ERR_VFIO_BUSY`, `ERR_VFIO_GROUP_NOT_VIABLE` (which members are in the way),
 * `ERR_VFIO_UNSAFE_INTERRUPTS`, `ERR_VFIO_API`.
 *
 * @param address `dddd:bb:dd.f`; the domain may be left out
 */
export async function openDevice(address: string, options: OpenOptions = {}): Promise<Device> {
  const name = pciAddress(address);
  const shared = sharedSpace(options);
  const system = shared?.system ?? options.backend ?? defaultBackend();
  const found = usableGroup(system, name);
  const space = shared ?? Type1Space.make(system, true);
  let group: Group;
  try {
    group = space.join(found);
  } catch (thrown) {
    if (shared === undefined) space.close();
    throw thrown;
  }
  try {
    const fd = await group.openDevice(name).catch((thrown) => {
      throw explainRefusal(thrown, group, found);
    });
    const channel = new KernelChannel(system, fd, name);
    return new OpenDevice({ channel, address: name, dma: space, after: () => space.leave(found.path) });
  } catch (thrown) {
    space.leave(found.path);
    throw thrown;
  }
}

function sharedSpace({ space, backend }: OpenOptions): Type1Space | undefined {
  if (space === undefined) return undefined;
  if (!isType1Space(space)) {
    throw new VfioError('ERR_VFIO_ARGUMENT', 'devices behind an IOMMU cannot share this address space.', {
      remedy: 'Pass device.dma of a device that openDevice() opened, or Type1Space.open().',
    });
  }
  if (space.closed) throw new VfioError('ERR_VFIO_CLOSED', 'the address space was closed.');
  if (backend !== undefined && backend !== space.system) {
    throw new VfioError('ERR_VFIO_ARGUMENT', 'the address space belongs to another backend.');
  }
  return space;
}

/** The group of a device that vfio-pci holds; all that sysfs can say against it is said here. */
function usableGroup(system: SystemCalls, address: string): IommuGroup {
  const group = findGroup(system, address);
  const driver = driverOf(system, address);
  const holder = driver === undefined ? 'bound to no driver' : `bound to ${driver}`;
  if (group === undefined) {
    throw new VfioError('ERR_VFIO_NO_IOMMU', `${address} is in no IOMMU group: the IOMMU is off, or there is none.`, {
      path: `/sys/bus/pci/devices/${address}/iommu_group`,
      details: { address, driver },
    });
  }
  if (!servesVfio(driver)) {
    if (typeof system.status('/sys/bus/pci/drivers/vfio-pci') === 'number') {
      throw new VfioError('ERR_VFIO_NOT_LOADED', `vfio-pci is not loaded, and ${address} is ${holder}.`, {
        remedy: `Load it and bind the device:  modprobe vfio-pci && vfio bind ${address} --yes`,
        path: '/sys/bus/pci/drivers/vfio-pci',
        details: { address, driver },
      });
    }
    throw new VfioError('ERR_VFIO_NOT_BOUND', `${address} is ${holder}, not to vfio-pci.`, {
      remedy: `Bind it:  vfio bind ${address} --yes`,
      path: `/sys/bus/pci/devices/${address}/driver`,
      details: { address, driver, group: group.id },
    });
  }
  if (group.noiommu) {
    throw new VfioError(
      'ERR_VFIO_NO_IOMMU',
      `no IOMMU isolates ${address}: its group ${group.path} is one of no-IOMMU mode.`,
      {
        remedy: 'Switch the IOMMU on; or, knowing what that means, open it with openUnsafe() of vfio-noiommu.',
        path: group.path,
        details: { address, group: group.id },
      },
    );
  }
  return group;
}

/** GET_DEVICE_FD says EINVAL for a group that a host driver took meanwhile ([GRP-27]). */
function explainRefusal(thrown: unknown, group: Group, found: IommuGroup): unknown {
  if (!isVfioError(thrown) || thrown.errno !== Errno.EINVAL) return thrown;
  const { viable, flags } = group.status();
  return viable ? thrown : notViable(found, { request: 'VFIO_GROUP_GET_STATUS', answer: `flags ${flags}` });
}
