/** A view of a DMA buffer from another thread of the process. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { systemError } from '../errors/system-error.js';
import { ContiguousBuffer } from './buffer.js';
import type { DmaBuffer, DmaTicket } from './dma.js';
import { PagedBuffer } from './paged-buffer.js';

/**
 * Makes a view of the memory of a buffer that another thread owns. Closing the view unmaps it here and nothing else; the owner decides
 * how long devices can reach the memory. A view that outlives its buffer looks at memory that nobody uses.
 *
 * Throws `ERR_VFIO_CLOSED` where the memory cannot be mapped any more.
 * @param ticket from {@link DmaBuffer.share}
 */
export function attachDma(ticket: DmaTicket, options: BackendOption = {}): DmaBuffer {
  const system = options.backend ?? defaultBackend();
  const { fd, offset, mapped, start = 0, length, address, pages } = ticket;
  const mapping = system.memory({ kind: 'file', fd, offset, length: mapped });
  if (typeof mapping === 'number') {
    throw systemError(mapping, { what: 'attaching a DMA buffer', syscall: 'mmap', code: 'ERR_VFIO_CLOSED' });
  }
  const bytes = mapping.bytes.subarray(start, start + length);
  const release = () => mapping.unmap();
  if (pages === undefined) return new ContiguousBuffer({ bytes, address, ticket, release });
  return new PagedBuffer({ bytes, start, pages: pages.addresses, pageSize: pages.size, ticket, release });
}
