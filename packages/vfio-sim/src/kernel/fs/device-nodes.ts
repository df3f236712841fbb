/** `/dev/vfio/devices`: a file for each device that vfio-pci has behind an IOMMU ([IFD-1]). */

import type { Bus } from '../bus.js';
import { EACCES, ENODEV, EPERM } from '../errno.js';
import { DeviceCdevFile } from '../iommufd/device-file.js';
import type { Machine } from '../machine.js';
import type { Slot } from '../pci/slot.js';
import { type DirectoryNode, listing } from './nodes.js';

/** The devices that have a file of their own; those without an IOMMU from 7.3 on ([NOI-28], [NOI-31]). */
export function cdevsOf(machine: Machine, bus: Bus): Slot[] {
  if (!machine.build.VFIO_DEVICE_CDEV) return [];
  return [...bus.slots.values()].filter(
    ({ vfioName, group }) => vfioName !== undefined && (group?.noiommu === false || machine.kernel.since('7.3')),
  );
}

export function devicesFolder(machine: Machine, bus: Bus, mayOpen: boolean): DirectoryNode {
  const name = (slot: Slot) => `${slot.vfioName}`;
  const all = () => cdevsOf(machine, bus);
  return listing(
    () => all().map(name),
    (wanted) => {
      const slot = all().find((one) => name(one) === wanted) as Slot;
      const open = () => {
        if (!mayOpen) return -EACCES;
        if (slot.group?.noiommu && !machine.rights.sysRawio) return -EPERM;
        return slot.offersVfio ? new DeviceCdevFile(slot, machine) : -ENODEV;
      };
      return { kind: 'character device', mode: 0o600, open };
    },
  );
}
