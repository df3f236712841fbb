/** Memory that a structure points to. */

import type { AddressSpace } from '../address-space.js';

/** Copies from the process; undefined (EFAULT) where it has no such memory. */
export function readUser(space: AddressSpace, address: bigint, length: number): Uint8Array | undefined {
  const segments = space.segments(address, BigInt(length));
  if (segments === undefined) return undefined;
  const bytes = new Uint8Array(length);
  let done = 0;
  for (const { store, offset, length: run } of segments) {
    store.read(offset, bytes.subarray(done, done + run));
    done += run;
  }
  return bytes;
}

/** Copies to the process; false (EFAULT) where it has no such memory, or may not write it. */
export function writeUser(space: AddressSpace, address: bigint, bytes: Uint8Array): boolean {
  const segments = space.segments(address, BigInt(bytes.length));
  if (segments === undefined || segments.some(({ readOnly }) => readOnly)) return false;
  let done = 0;
  for (const { store, offset, length } of segments) {
    store.write(offset, bytes.subarray(done, done + length));
    done += length;
  }
  return true;
}
