/** Checks of devices: those bound to vfio-pci, or the one that was asked about. */

import { chooseWay, isVfioError } from 'vfio-core';
import { devices, findDevice, type PciFunction } from 'vfio-pci';
import { Capability, type Check, hasCapability, type Surroundings } from './check.js';
import { noiommuMode } from './machine.js';

/** The checks of one device: its binding, its group and the group's other members, the right to open the group. */
export function checkDevice(around: Surroundings, address: string): Check[] {
  let fn: PciFunction;
  try {
    fn = findDevice(address, { backend: around.system });
  } catch (error) {
    if (!isVfioError(error)) throw error;
    return [{ id: 'device', title: `Device ${address}`, status: 'failed', found: error.summary, cure: 'vfio list' }];
  }
  return [checkBinding(fn), ...checkGroup(around, fn)];
}

/** The same for every device that is bound to vfio-pci. */
export function checkBoundDevices(around: Surroundings): Check[] {
  const bound = devices({ backend: around.system }).filter((fn) => fn.driver === 'vfio-pci');
  if (bound.length === 0)
    return [
      {
        id: 'devices',
        title: 'Devices for VFIO',
        status: 'warning',
        found: 'no device is bound to vfio-pci',
        cure: 'vfio list, then: vfio bind ADDRESS --yes',
      },
    ];
  return bound.flatMap((fn) => [checkBinding(fn), ...checkGroup(around, fn)]);
}

function checkBinding(fn: PciFunction): Check {
  const base = { id: 'driver', title: `${fn.address} driver` };
  if (fn.driver === 'vfio-pci') return { ...base, status: 'ok', found: 'vfio-pci' };
  return { ...base, status: 'failed', found: fn.driver ?? 'none', cure: `vfio bind ${fn.address} --yes` };
}

function checkGroup(around: Surroundings, fn: PciFunction): Check[] {
  const { address, iommuGroup } = fn;
  const base = { id: 'group', title: `${address} IOMMU group` };
  if (iommuGroup === undefined) {
    // In no-IOMMU mode binding makes the group.
    const cure = noiommuMode(around.system) ? `vfio bind ${address} --yes` : 'switch the IOMMU on (see IOMMU above)';
    return [{ ...base, status: 'failed', found: 'none: no IOMMU covers it', cure }];
  }
  const members = iommuGroup.members();
  const blocking = members.filter((member) => member.blocksGroup);
  const others = members.filter((member) => member.address !== address);
  const list = others
    .map((member) => `${member.address} (${member.className}, ${member.driver ?? 'no driver'})`)
    .join(', ');
  const found = others.length === 0 ? `${iommuGroup.id}, alone in it` : `${iommuGroup.id}, with ${list}`;
  const group: Check =
    blocking.length === 0
      ? { ...base, status: 'ok', found }
      : {
          ...base,
          status: 'failed',
          found,
          cure: `vfio bind ${blocking.map((member) => member.address).join(' ')} --yes`,
        };
  if (iommuGroup.noiommu) return [group, checkGroupAccess(around, fn, `noiommu-${iommuGroup.id}`)];
  const way = chooseWay(around.system, {}, address);
  const taken: Check = {
    id: 'way',
    title: `${address} way into the kernel`,
    status: 'ok',
    found: `${way.name}: ${way.reason}`,
  };
  // The device's own file was tried for that; its group is not opened then.
  return way.name === 'iommufd' ? [group, taken] : [group, taken, checkGroupAccess(around, fn, String(iommuGroup.id))];
}

/** The node's owner and mode are compared with who we are: opening it would take it from a program that is about to start. */
function checkGroupAccess(around: Surroundings, fn: PciFunction, name: string): Check {
  const path = `/dev/vfio/${name}`;
  const base = { id: 'group-access', title: `${fn.address} group node ${path}` };
  const status = around.system.status(path);
  if (typeof status === 'number')
    return { ...base, status: 'failed', found: 'missing', cure: `vfio bind ${fn.address} --yes` };
  if (name.startsWith('noiommu-') && !hasCapability(around, Capability.SYS_RAWIO))
    return { ...base, status: 'failed', found: 'no-IOMMU mode needs CAP_SYS_RAWIO', cure: 'run as root' };
  const mine =
    around.uid === 0 ||
    (status.uid === around.uid && (status.mode & 0o600) === 0o600) ||
    (status.mode & 0o006) === 0o006;
  if (mine) return { ...base, status: 'ok', found: `owner ${status.uid}, mode ${(status.mode & 0o777).toString(8)}` };
  return {
    ...base,
    status: 'failed',
    found: `owner ${status.uid}, mode ${(status.mode & 0o777).toString(8)}: not yours`,
    cure: `sudo chown ${around.uid} ${path}`,
  };
}
