/** The address of a PCI function: `dddd:bb:dd.f`, domain, bus, device, function. */

import { VfioError } from '../errors/error.js';

const pattern = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/;

/**
 * The address as the kernel writes it: lower case, with its domain (`01:00.0` becomes `0000:01:00.0`).
 * Throws `ERR_VFIO_ARGUMENT` for anything else.
 */
export function pciAddress(text: string): string {
  const match = pattern.exec(String(text).trim().toLowerCase());
  if (match === null) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `${JSON.stringify(text)} is not the address of a PCI function.`, {
      remedy: 'Write it as domain:bus:device.function in hexadecimal, as lspci -D does: 0000:01:00.0.',
      details: { address: text },
    });
  }
  const [, domain = '0000', bus, device, fn] = match;
  return `${domain}:${bus}:${device}.${fn}`;
}
