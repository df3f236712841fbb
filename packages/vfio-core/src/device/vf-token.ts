/**
 * The secret that the owner of a physical function and the users of its virtual functions share.
 * Source: linux/vfio.h, VFIO_DEVICE_FEATURE_PCI_VF_TOKEN.
 */

import { VfioError } from '../errors/error.js';
import { check } from '../errors/system-error.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl } from '../uapi/constants.js';
import { encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';

/** The 16 bytes of a UUID, in the order of its text. Throws `ERR_VFIO_ARGUMENT`. */
export function vfTokenBytes(token: string): Uint8Array {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(token)) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `${JSON.stringify(token)} is no UUID.`, {
      remedy: 'Make one with crypto.randomUUID(), for both sides.',
    });
  }
  const digits = token.replaceAll('-', '');
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/**
 * Sets the secret of a physical function that has virtual ones, or will have ([FEAT-12]). It outlives the device's close ([FEAT-15]).
 * Throws `ERR_VFIO_NOT_SUPPORTED` for a device that is no physical function with virtual ones, or whose kernel is older than 5.7.
 */
export function setVfToken({ system, fd }: { readonly system: SystemCalls; readonly fd: Fd }, token: string): void {
  const struct = structs.vfio_device_feature;
  const uuid = vfTokenBytes(token);
  const flags = constants.VFIO_DEVICE_FEATURE_SET | constants.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
  const bytes = encode(struct, { flags }, struct.size + uuid.length);
  bytes.set(uuid, struct.size);
  check(system.ioctl(fd, Ioctl.VFIO_DEVICE_FEATURE, bytes), {
    what: 'setting the token for virtual functions',
    syscall: 'ioctl',
    request: 'VFIO_DEVICE_FEATURE',
    codes: { EINVAL: 'ERR_VFIO_NOT_SUPPORTED' },
    means: { ENOTTY: 'the device has no virtual functions, or the kernel is too old', EINVAL: 'the kernel takes none' },
  });
}
