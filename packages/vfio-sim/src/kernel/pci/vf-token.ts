/** The secret that who drives a physical function shares with the users of its virtual ones: [FEAT-13] to [FEAT-15]. */

import { EACCES, EINVAL } from '../errno.js';
import type { KernelLog } from '../log.js';
import type { Slot } from './slot.js';

/** A UUID as 32 hexadecimal digits, in lower case. */
export type VfToken = string;

export const tokenOf = (bytes: Uint8Array): VfToken =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** What stands behind a device's name: undefined for nothing, a negative errno for anything but one token. */
export function tokenBehind(name: string): VfToken | undefined | number {
  let token: VfToken | undefined;
  const spaces = /^ +/;
  for (let rest = name.replace(spaces, ''); rest !== ''; rest = rest.replace(spaces, '')) {
    const found = /^vf_token=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/i.exec(rest);
    if (found === null || token !== undefined) return -EINVAL;
    token = (found[1] as string).replaceAll('-', '').toLowerCase();
    rest = rest.slice(found[0].length);
  }
  return token;
}

/**
 * Whether who has this token, or none, may open the function: 0 or a negative errno. The first who opens a physical function with one
 * chooses it.
 */
export function checkToken(slot: Slot, token: VfToken | undefined, log: KernelLog): number {
  const refuse = (why: string, errno: number): number => {
    log.add(`vfio-pci ${slot.address}: ${why}`);
    return -errno;
  };
  const compare = (wanted: VfToken | undefined): number => {
    if (token === undefined) return refuse('VF token required to access device', EACCES);
    return token === wanted ? 0 : refuse('Incorrect VF token provided for device', EACCES);
  };
  const { physical } = slot;
  if (physical !== undefined) {
    if (physical.driver === 'vfio-pci') return compare(physical.token);
    return token === undefined ? 0 : refuse('VF token incorrectly provided, PF not bound to vfio-pci', EINVAL);
  }
  if (slot.virtualFunctions === 0) {
    return token === undefined ? 0 : refuse('VF token incorrectly provided, not a PF or VF', EINVAL);
  }
  if (slot.neighbours().some((other) => other.physical === slot && other.device !== undefined))
    return compare(slot.token);
  slot.token = token ?? slot.token;
  return 0;
}
