/** Configuration space through sysfs: for looking, without opening the device. */

import { type BackendOption, check, defaultBackend, OpenFlag, pciAddress, VfioError } from 'vfio-core';
import { pciDevices } from '../discovery/sysfs.js';
import { ConfigSpace } from './config-space.js';

/**
 * A snapshot of a function's configuration space, as the kernel shows it in sysfs, whatever driver it has. Users other
 * than root get the first 64 bytes: then capabilities throw `ERR_VFIO_NOT_SUPPORTED`.
 * Throws `ERR_VFIO_ARGUMENT` for something that is no address, `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_PERMISSION`.
 */
export function readConfig(address: string, options: BackendOption = {}): ConfigSpace {
  const name = pciAddress(address);
  const system = options.backend ?? defaultBackend();
  const path = `${pciDevices}/${name}/config`;
  const fd = check(system.open(path, OpenFlag.readOnly | OpenFlag.closeOnExec), {
    syscall: 'open',
    path,
    what: `reading the configuration space of ${name}`,
    codes: { ENOENT: 'ERR_VFIO_NO_DEVICE' },
    details: { address: name },
  });
  try {
    const bytes = new Uint8Array(4096);
    let length = 0;
    while (length < bytes.length) {
      const got = check(system.pread(fd, bytes.subarray(length), length), { syscall: 'pread', path });
      if (got === 0) break;
      length += got;
    }
    if (length < 64) {
      throw new VfioError('ERR_VFIO_SHORT_ACCESS', `${path} gave ${length} bytes of 64 at least.`, {
        path,
        details: { length },
      });
    }
    return ConfigSpace.from(bytes.subarray(0, length), name);
  } finally {
    system.close(fd);
  }
}
