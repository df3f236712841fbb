/** What sysfs says about a device before anything is opened. */

import { driverOf, findGroup, type IommuGroup, servesVfio } from '../container/find-group.js';
import { VfioError } from '../errors/error.js';
import type { SystemCalls } from '../seam/system-calls.js';

/** The group of a device that vfio-pci holds, behind an IOMMU; all that sysfs can say against it is said here. */
export function usableGroup(system: SystemCalls, address: string): IommuGroup {
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
