/** A view of a DMA buffer from another thread of the process. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { VfioError } from '../errors/error.js';
import { systemError } from '../errors/system-error.js';
import { ContiguousBuffer } from './buffer.js';
import type { DmaBuffer, DmaTicket } from './dma.js';
import { BufferLife } from './life.js';
import { PagedBuffer } from './paged-buffer.js';

/**
 * Makes a view of the memory of a buffer that another thread owns. Closing the view unmaps it here and nothing else; the owner decides
 * how long devices can reach the memory. When it closes the buffer, the view counts as closed and gives no device address any more;
 * its bytes are memory that nobody uses, until the view is closed too.
 *
 * Throws `ERR_VFIO_CLOSED` where the buffer was closed.
 * @param ticket from {@link DmaBuffer.share}
 */
export function attachDma(ticket: DmaTicket, options: BackendOption = {}): DmaBuffer {
  const system = options.backend ?? defaultBackend();
  const { fd, offset, mapped, start = 0, length, address, pages } = ticket;
  const life = ticket.life === undefined ? undefined : new BufferLife(ticket.life);
  // Say first that it is looked at, then look whether it still is what the ticket says: the owner does it the other way round.
  life?.enter();
  const mapping = life?.ended ? undefined : system.memory({ kind: 'file', fd, offset, length: mapped });
  // Once more: the descriptor's number may have been another file's by then.
  if (mapping === undefined || typeof mapping === 'number' || life?.ended) {
    life?.leave();
    if (typeof mapping === 'number') {
      throw systemError(mapping, { what: 'attaching a DMA buffer', syscall: 'mmap', code: 'ERR_VFIO_CLOSED' });
    }
    mapping?.unmap();
    throw new VfioError('ERR_VFIO_CLOSED', 'the buffer was closed by its owner.');
  }
  const bytes = mapping.bytes.subarray(start, start + length);
  const release = () => {
    mapping.unmap();
    life?.leave();
  };
  if (pages === undefined) return new ContiguousBuffer({ bytes, address, ticket, release });
  return new PagedBuffer({ bytes, start, pages: pages.addresses, pageSize: pages.size, ticket, release });
}
