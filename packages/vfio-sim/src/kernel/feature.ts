/** VFIO_DEVICE_FEATURE, section 12 of the behaviours: of the features, the token for virtual functions ([FEAT-12]). */

import type { UserArgument } from './argument.js';
import { EFAULT, EINVAL, ENOTTY } from './errno.js';
import type { Slot } from './pci/slot.js';
import { tokenOf } from './pci/vf-token.js';

const [GET, SET, PROBE, INDEX] = [0x10000, 0x20000, 0x40000, 0xffff];
const HEADER = 8;
const TOKEN_BYTES = 16;

export function deviceFeature(slot: Slot, argument: UserArgument): number {
  const view = argument.view(HEADER);
  if (view === undefined) return -EFAULT;
  const [size, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
  const both = GET | SET;
  if (size < HEADER || (flags & ~(INDEX | both | PROBE)) !== 0) return -EINVAL;
  if ((flags & PROBE) === 0 && (flags & both) === both) return -EINVAL;
  if ((flags & INDEX) !== 0 || slot.virtualFunctions === 0) return -ENOTTY;
  if ((flags & GET) !== 0) return -EINVAL;
  if ((flags & PROBE) !== 0) return 0;
  if ((flags & SET) === 0 || size < HEADER + TOKEN_BYTES) return -EINVAL;
  const whole = argument.view(HEADER + TOKEN_BYTES);
  if (whole === undefined) return -EFAULT;
  slot.token = tokenOf(new Uint8Array(whole.buffer, whole.byteOffset + HEADER, TOKEN_BYTES));
  return 0;
}
