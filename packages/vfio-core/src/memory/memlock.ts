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
  /** The process has CAP_IPC_LOCK: no limit holds ([T1-29]); unless it has that in a user namespace only, which does not count. */
  readonly lifted: boolean;
}

const CAP_IPC_LOCK = 14n;

/** Reads `/proc/self/limits` and `/proc/self/status`. */
export function memlock(system: SystemCalls): MemlockState {
  const limits = system.readFile('/proc/self/limits');
  const status = system.readFile('/proc/self/status');
  const limit = typeof limits === 'string' ? /^Max locked memory\s+(\d+|unlimited)/m.exec(limits)?.[1] : undefined;
  const used = typeof status === 'string' ? /^VmLck:\s*(\d+)\s*kB/m.exec(status)?.[1] : undefined;
  const capabilities = typeof status === 'string' ? /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] : undefined;
  return {
    limit: limit === undefined ? undefined : limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit),
    used: used === undefined ? undefined : Number(used) * 1024,
    lifted: capabilities !== undefined && ((BigInt(`0x${capabilities}`) >> CAP_IPC_LOCK) & 1n) === 1n,
  };
}

/** The error for a mapping of `needed` bytes that the kernel refused for lack of memory: the limit, or really no memory. */
export function mappingOutOfMemory(system: SystemCalls, needed: number, cause: VfioError): VfioError {
  const { limit, used = 0 } = memlock(system);
  const { errno = Errno.ENOMEM, syscall = 'ioctl', request } = cause;
  const facts = { errno, syscall, ...(request === undefined ? {} : { request }), cause };
  if (limit !== undefined && used + needed > limit) return lockedTooMuch(needed, limit, used, facts);
  return new VfioError('ERR_VFIO_NO_MEMORY', `${needed} bytes of memory could not be made available to the device.`, {
    ...facts,
    details: { needed, limit, used },
  });
}

/** The error for `needed` bytes beyond the limit; without `facts` the kernel was not asked. */
export function lockedTooMuch(
  needed: number,
  limit: number,
  used: number,
  facts: ConstructorParameters<typeof VfioError>[2] = {},
): VfioError {
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
