/** Checks of this process: rights and limits. */

import { Errno, errnoName, OpenFlag } from 'vfio-core';
import { Capability, type Check, exists, hasCapability, readText, type Surroundings } from './check.js';

export function checkContainerAccess({ system }: Surroundings): Check {
  const path = '/dev/vfio/vfio';
  const base = { id: 'container-access', title: `Opening ${path}` };
  const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
  if (fd >= 0) {
    system.close(fd);
    return { ...base, status: 'ok', found: 'allowed' };
  }
  if (fd === -Errno.EACCES || fd === -Errno.EPERM)
    return { ...base, status: 'failed', found: 'permission denied', cure: `chmod 0666 ${path}` };
  // A kernel without containers has an iommufd instead.
  if (fd === -Errno.ENOENT && exists(system, '/dev/iommu'))
    return { ...base, status: 'info', found: 'there is none: devices are opened by their own files' };
  return { ...base, status: 'failed', found: errnoName(-fd), cure: 'modprobe vfio-pci' };
}

/** Below this, a driver with a few queues and buffers soon meets the limit. */
const comfortable = 64 * 2 ** 20;

export function checkMemlock(around: Surroundings): Check {
  const base = { id: 'memlock', title: 'Locked memory' };
  const limits = readText(around.system, '/proc/self/limits') ?? '';
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1];
  if (soft === undefined) return { ...base, status: 'warning', found: 'the limit cannot be read' };
  if (soft === 'unlimited') return { ...base, status: 'ok', found: 'unlimited' };
  const size = `${Math.floor(Number(soft) / 1024)} KiB`;
  if (hasCapability(around, Capability.IPC_LOCK))
    return { ...base, status: 'ok', found: `${size}, not applied: CAP_IPC_LOCK` };
  if (Number(soft) >= comfortable) return { ...base, status: 'ok', found: size };
  return {
    ...base,
    status: 'warning',
    found: `${size}: DMA memory beyond it is refused`,
    cure: 'ulimit -l unlimited   (or LimitMEMLOCK=infinity in a systemd unit)',
  };
}
