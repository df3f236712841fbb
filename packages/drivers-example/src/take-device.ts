/** The first step of every driver here: a PCI device, from an address or from a device that is open already. */

import { type Device, type SystemCalls, VfioError } from 'vfio-core';
import { PciDevice } from 'vfio-pci';

/**
 * Opens an address, or takes an open device over, then hands it to `use`. The device is closed when anything fails, the one
 * that was given too: so a failed opening leaves nothing open, and its caller has nothing to clean up.
 */
export async function takeDevice<T>(
  target: string | Device,
  backend: SystemCalls | undefined,
  use: (device: PciDevice) => Promise<T>,
): Promise<T> {
  const device =
    typeof target === 'string' ? await PciDevice.open(target, backend === undefined ? {} : { backend }) : target;
  try {
    if (device.closed) throw new VfioError('ERR_VFIO_CLOSED', `The device ${device.address} is closed.`);
    return await use(PciDevice.from(device));
  } catch (error) {
    try {
      device.close();
    } catch {
      // The first error says more.
    }
    throw error;
  }
}
