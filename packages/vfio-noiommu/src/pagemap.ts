/** From an address of this process to the physical one. Source: Documentation/admin-guide/mm/pagemap.rst of the kernel. */

import { Errno, OpenFlag, type SystemCalls, systemError, VfioError } from 'vfio-core';

const path = '/proc/self/pagemap';
/** Bytes of an entry: one for each page of the address space. */
const ENTRY = 8;
const PRESENT = 1n << 63n;
const FRAME = (1n << 55n) - 1n;

/**
 * Physical address of the page at `address`, which must have been touched.
 * @throws `ERR_VFIO_MASKED_FRAMES` where the kernel hides frame numbers (they read 0, or the file cannot be opened);
 * `ERR_VFIO_NO_MEMORY` for a page that is not there
 */
export function physicalAddress(system: SystemCalls, address: bigint): bigint {
  const pageSize = BigInt(system.pageSize);
  const entry = readEntry(system, Number(address / pageSize) * ENTRY);
  if ((entry & PRESENT) === 0n) {
    throw new VfioError(
      'ERR_VFIO_NO_MEMORY',
      `There is no page at address 0x${address.toString(16)} of this process.`,
      {
        path,
      },
    );
  }
  const frame = entry & FRAME;
  // Never page 0 of the machine: that is what a process without the right is told, and no memory of ours.
  if (frame === 0n) throw masked('the kernel shows frame number 0 in the place of the real one');
  return frame * pageSize + (address % pageSize);
}

function readEntry(system: SystemCalls, offset: number): bigint {
  const fd = system.open(path, OpenFlag.readOnly | OpenFlag.closeOnExec);
  if (fd === -Errno.EPERM || fd === -Errno.EACCES) throw masked('the kernel does not let it be read', -fd);
  if (fd < 0) throw systemError(fd, { syscall: 'open', path });
  try {
    const bytes = new Uint8Array(ENTRY);
    const count = system.pread(fd, bytes, offset);
    if (count === -Errno.EPERM) throw masked('the kernel does not let it be read', -count);
    if (count < 0) throw systemError(count, { syscall: 'pread', path });
    if (count !== ENTRY) {
      throw new VfioError('ERR_VFIO_NO_MEMORY', `${path} ends before offset ${offset}.`, { syscall: 'pread', path });
    }
    return new DataView(bytes.buffer).getBigUint64(0, true);
  } finally {
    system.close(fd);
  }
}

function masked(why: string, errno?: number): VfioError {
  return new VfioError('ERR_VFIO_MASKED_FRAMES', `The physical addresses of this process cannot be had: ${why}.`, {
    path,
    ...(errno === undefined ? {} : { errno }),
  });
}
