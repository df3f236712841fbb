/** Errors of mapping memory for devices: what the kernel's answer means here. */

import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { SystemCalls } from '../seam/system-calls.js';
import type { Backing } from './backing.js';
import type { MapOptions } from './dma.js';
import type { IovaAllocator } from './iova-allocator.js';
import { mappingOutOfMemory } from './memlock.js';

/** What was thrown, with what is known of the memory added. */
export function explainMapping(system: SystemCalls, thrown: unknown, { size, kind }: Backing): unknown {
  if (!isVfioError(thrown)) return thrown;
  const { errno, syscall = 'ioctl', request, path } = thrown;
  if (errno === undefined) return thrown;
  const facts = {
    errno,
    syscall,
    ...(request === undefined ? {} : { request }),
    ...(path === undefined ? {} : { path }),
    details: thrown.details,
    cause: thrown,
  };
  if (errno === Errno.ENOMEM) return mappingOutOfMemory(system, size, thrown);
  if (errno === Errno.ENOSPC) return tooManyMappings(facts);
  if (kind === 'registers') {
    return new VfioError('ERR_VFIO_MAPPING', "the kernel does not let devices reach another device's registers here.", {
      ...facts,
      remedy:
        'iommufd takes memory only; a container (way: "container") takes registers, while memory decoding of their device is on.',
    });
  }
  if (errno === Errno.EFAULT) {
    return new VfioError(
      'ERR_VFIO_MAPPING',
      'the memory cannot be pinned for a device: part of it is not there, or not of a kind that can.',
      {
        ...facts,
        remedy:
          'Map ordinary memory, a memfd or huge pages; for memory that may only be read pass { direction: "device-reads" }.',
      },
    );
  }
  return thrown;
}

/** The limit on the number of mappings; without `facts` the kernel was not asked. */
export const tooManyMappings = (facts: ConstructorParameters<typeof VfioError>[2] = {}): VfioError =>
  new VfioError('ERR_VFIO_MAPPING', 'the limit on the number of DMA mappings is reached.', {
    remedy: 'Use fewer and larger buffers, or raise it:  modprobe vfio_iommu_type1 dma_entry_limit=N',
    ...facts,
  });

/** The kernel dropped the IOMMU under a space that was in use ([CTR-15]). */
export const mappingsLost = (): VfioError =>
  new VfioError(
    'ERR_VFIO_MAPPING',
    'the kernel dropped every mapping of this address space when the last device of its group was unbound or unplugged.',
    { remedy: 'Close its buffers (space.unmapAll()), open the device again, and map anew.' },
  );

/** No device addresses as wished for. */
export function noAddresses(size: number, wishes: MapOptions, iovas: IovaAllocator): VfioError {
  const { at, below, alignment } = wishes;
  const where = at === undefined ? '' : ` at 0x${at.toString(16)}`;
  return new VfioError('ERR_VFIO_NO_IOVA', `no free device addresses for ${size} bytes${where}.`, {
    details: { size, at, below, alignment, largestFree: iovas.largestFree, ranges: iovas.ranges },
  });
}
