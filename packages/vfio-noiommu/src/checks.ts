/** What can be known to fail before anything is opened, each with its cure. */

import { driverOf, findGroup, type IommuGroup, type SystemCalls, servesVfio, VfioError } from 'vfio-core';

const parameter = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';
/** Bit of the capability in `/proc/self/status`. Source: linux/capability.h. */
const CAP_SYS_RAWIO = 17n;

/**
 * The no-IOMMU group of a device, with everything in place to open it.
 * @throws `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_SUPPORTED` for a device that has an IOMMU, `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_API`,
 * `ERR_VFIO_NOIOMMU_OFF`, `ERR_VFIO_NOT_BOUND`, `ERR_VFIO_PERMISSION`
 */
export function noIommuGroup(system: SystemCalls, address: string): IommuGroup {
  const group = findGroup(system, address);
  if (group !== undefined && !group.noiommu) throw hasIommu(group, address);
  requireMode(system);
  const driver = driverOf(system, address);
  if (group === undefined || !servesVfio(driver)) throw notBound(address, driver);
  requireCapability(system, group.path);
  return group;
}

function hasIommu(group: IommuGroup, address: string): VfioError {
  return new VfioError(
    'ERR_VFIO_NOT_SUPPORTED',
    `${address} has an IOMMU (group ${group.id}) that keeps it inside the memory it is given: there is no need to be unsafe.`,
    {
      remedy: `Open it the ordinary way:  await PciDevice.open('${address}')`,
      path: group.path,
      details: { address, group: group.id },
    },
  );
}

/** [NOI-1] */
function requireMode(system: SystemCalls): void {
  const value = system.readFile(parameter);
  if (typeof value !== 'number') {
    if (value.trim() === 'Y' || value.trim() === '1') return;
    throw modeOff();
  }
  if (typeof system.status('/sys/module/vfio') === 'number') {
    throw new VfioError('ERR_VFIO_NOT_LOADED', 'The vfio module is not loaded.', {
      remedy: 'Load it with the unsafe mode on:  modprobe vfio enable_unsafe_noiommu_mode=1; modprobe vfio-pci',
      path: parameter,
    });
  }
  throw new VfioError('ERR_VFIO_API', 'This kernel was built without no-IOMMU mode.', {
    remedy: 'Use a kernel with CONFIG_VFIO_NOIOMMU=y.',
    path: parameter,
    errno: -value,
  });
}

/** Also when it was switched off after the device was bound ([NOI-18]). */
export function modeOff(): VfioError {
  return new VfioError('ERR_VFIO_NOIOMMU_OFF', 'No-IOMMU mode is switched off in the kernel.', {
    remedy: `Switch it on, then bind the device again:  echo Y > ${parameter}`,
    path: parameter,
  });
}

function notBound(address: string, driver: string | undefined): VfioError {
  // [NOI-2] The group is made at bind, and only while the parameter is Y.
  return new VfioError(
    'ERR_VFIO_NOT_BOUND',
    `${address} is ${driver === undefined ? 'bound to no driver' : `bound to ${driver}`}.`,
    {
      remedy: `Bind it to vfio-pci while no-IOMMU mode is on:  vfio bind ${address} --yes`,
      path: `/sys/bus/pci/devices/${address}/driver`,
      details: { address, driver },
    },
  );
}

/** [NOI-10] The kernel tests it too, at four places; this says it in words, and before anything is open. */
function requireCapability(system: SystemCalls, path: string): void {
  const status = system.readFile('/proc/self/status');
  const match = typeof status === 'string' ? /^CapEff:\s*([0-9a-f]+)/m.exec(status) : null;
  if (match === null || ((BigInt(`0x${match[1]}`) >> CAP_SYS_RAWIO) & 1n) === 1n) return;
  throw lacksCapability(path);
}

export function lacksCapability(path: string, cause?: unknown): VfioError {
  return new VfioError('ERR_VFIO_PERMISSION', `${path} is for processes with CAP_SYS_RAWIO only.`, {
    remedy:
      'Run as root of the machine (not of a container): rights on the file are not enough, and CAP_SYS_ADMIN is needed as well.',
    errno: 1,
    path,
    details: { capability: 'CAP_SYS_RAWIO' },
    ...(cause === undefined ? {} : { cause }),
  });
}
