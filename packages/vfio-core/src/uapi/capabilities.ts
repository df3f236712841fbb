/**
 * Capability chains: what newer kernels append to the replies of the GET_INFO calls.
 * Source: linux/vfio.h, `struct vfio_info_cap_header`.
 */

import { VfioError } from '../errors/error.js';
import { decode } from './struct.js';
import { structs } from './structs.js';

/** One capability of a reply. */
export interface InfoCapability {
  readonly id: number;
  readonly version: number;
  /** Where its header starts in the reply. */
  readonly offset: number;
}

const headerSize = structs.vfio_info_cap_header.size;

/**
 * The capabilities of a reply, in its order. Bounded: each may come once.
 * Throws `ERR_VFIO_MALFORMED` for a chain that leaves the reply, enters the structure in front, or meets itself.
 * @param first the structure's `cap_offset`; 0 for no chain
 * @param structSize bytes of the structure in front
 */
export function infoCapabilities(reply: Uint8Array, first: number, structSize: number): InfoCapability[] {
  const found: InfoCapability[] = [];
  const seen = new Set<number>();
  for (let offset = first; offset !== 0; ) {
    if (seen.has(offset)) malformed(`the chain meets itself at ${offset}`, first, reply);
    if (offset < structSize) malformed(`it points into the structure in front, at ${offset}`, first, reply);
    if (offset + headerSize > reply.length) malformed(`it leaves the reply at ${offset}`, first, reply);
    seen.add(offset);
    const { id, version, next } = decode(structs.vfio_info_cap_header, reply, offset);
    found.push({ id, version, offset });
    offset = next;
  }
  return found;
}

/**
 * The elements of an array at the end of a capability.
 * Throws `ERR_VFIO_MALFORMED` where the array leaves the reply.
 */
export function capabilityArray(
  reply: Uint8Array,
  offset: number,
  count: number,
  elementSize: number,
): readonly number[] {
  if (offset + count * elementSize > reply.length) {
    malformed(`an array of ${count} elements at ${offset} leaves the reply`, offset, reply);
  }
  return Array.from({ length: count }, (_, i) => offset + i * elementSize);
}

function malformed(why: string, first: number, reply: Uint8Array): never {
  throw new VfioError('ERR_VFIO_MALFORMED', `a capability chain does not hold together: ${why}.`, {
    details: { first, length: reply.length },
  });
}
