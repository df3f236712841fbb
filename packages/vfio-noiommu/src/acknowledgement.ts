/** The sentence without which nothing here opens a device. */

import { VfioError } from 'vfio-core';

/** What has to be said, word for word, as `{ acknowledge }`: who writes it down has read it. */
export const acknowledgement = 'this device can read and write all memory of this machine';

/** @throws `ERR_VFIO_NOT_ACKNOWLEDGED` for anything but {@link acknowledgement} */
export function requireAcknowledgement(said: unknown): void {
  if (said === acknowledgement) return;
  throw new VfioError(
    'ERR_VFIO_NOT_ACKNOWLEDGED',
    'Without an IOMMU nothing keeps a device, or a mistake in its driver, from the memory of the whole machine.',
    { remedy: `If that is what you want, say so: openUnsafe(address, { acknowledge: '${acknowledgement}' }).` },
  );
}
