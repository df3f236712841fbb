/** The limit on locked memory: every page that a device may reach counts against it ([T1-29], [T1-30]). */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import type { SystemCalls } from '../seam/system-calls.js';

/** Bytes. */
export interface MemlockState {
  /** RLIMIT_MEMLOCK, the soft limit; Infinity for none. Undefined where it cannot be read. */
  readonly limit: number | undefined;
  /** What the process has locked by now (VmLck). */
  readonly used: number | undefined;
}

/** Reads `/proc/self/limits` and `/proc/self/status`. */
export function memlock(system: SystemCalls): MemlockState {
  const limits = system.readFile('/proc/self/limits');
  const status = system.readFile('/proc/self/status');
  const limit = typeof limits === 'string' ? /^Max locked memory\s+(\d+|unlimited)/m.exec(limits)?.[1] : undefined;
  const used = typeof status === 'string' ? /^VmLck:\s*(\d+)\s*kB/m.exec(status)?.[1] : undefined;
  return {
    limit: limit === undefined ? undefined : limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit),
    used: used === undefined ? undefined : Number(used) * 1024,
  };
}

/** The error for a mapping of `needed` bytes that the kernel refused for lack of memory: the limit, or really no memory. */
export function mappingOutOfMemory(system: SystemCalls, needed: number, cause: unknown): VfioError {
  const { limit, used = 0 } = memlock(system);
  const facts = { errno: Errno.ENOMEM, syscall: 'ioctl', request: 'VFIO_IOMMU_MAP_DMA', cause };
  if (limit === undefined || used + needed <= limit) {
    return new VfioError('ERR_VFIO_NO_MEMORY', `${needed} bytes of memory could not be made available to the device.`, {
      ...facts,
      details: { needed, limit, used },
    });
  }
  const kib = Math.ceil((used + needed) / 1024);
  return new VfioError(
    'ERR_VFIO_MEMLOCK',
    `${needed} bytes more cannot be locked: ${used} bytes are locked and the limit (RLIMIT_MEMLOCK) is ${limit} bytes.`,
    {
      ...facts,
      remedy: `Raise the limit to ${kib} KiB or more:  ulimit -l ${kib}  (in a systemd unit: LimitMEMLOCK=${kib}K)`,
      details: { needed, limit, used },
    },
  );
}
