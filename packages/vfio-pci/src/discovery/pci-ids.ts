/** Names of vendors and devices from the system's own pci.ids. This package carries no copy. */

import type { SystemCalls } from 'vfio-core';

const places = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids', '/usr/share/pci.ids'];

/** Vendor and device, both 16 bits. */
export interface PciIds {
  readonly vendor: number;
  readonly device: number;
}

/** Names found in pci.ids. */
export interface PciNames {
  readonly vendor?: string;
  readonly device?: string;
}

const key = (ids: PciIds): number => ids.vendor * 0x10000 + ids.device;

/**
 * Names for these ids, in one pass over the file (about 40,000 lines).
 * @returns a function from ids to names; it knows none where the machine has no pci.ids
 */
export function lookupNames(system: SystemCalls, wanted: readonly PciIds[]): (ids: PciIds) => PciNames {
  if (wanted.length === 0) return () => ({});
  for (const place of places) {
    const text = system.readFile(place);
    if (typeof text === 'string') return parsePciIds(text, wanted);
  }
  return () => ({});
}

/**
 * The same from the text of a pci.ids: `vvvv  Vendor` at a line's start, `<tab>dddd  Device` below it. Subsystems (two
 * tabs) and the class list at the end are passed over; lines of another shape are ignored.
 */
export function parsePciIds(text: string, wanted: readonly PciIds[]): (ids: PciIds) => PciNames {
  const vendors = new Set(wanted.map((ids) => ids.vendor));
  const devices = new Set(wanted.map(key));
  const vendorNames = new Map<number, string>();
  const deviceNames = new Map<number, string>();
  let vendor = -1;
  const line = /^(\t?)([0-9a-f]{4}) {2}(.+)$|^C /gm;
  for (let found = line.exec(text); found !== null; found = line.exec(text)) {
    const [, indent, digits, name] = found;
    if (digits === undefined || name === undefined) break;
    const id = Number.parseInt(digits, 16);
    if (indent === '') {
      vendor = vendors.has(id) ? id : -1;
      if (vendor >= 0) vendorNames.set(id, name.trim());
    } else if (vendor >= 0 && devices.has(key({ vendor, device: id }))) {
      deviceNames.set(key({ vendor, device: id }), name.trim());
    }
  }
  return (ids) => {
    const vendorName = vendorNames.get(ids.vendor);
    const deviceName = deviceNames.get(key(ids));
    return {
      ...(vendorName === undefined ? {} : { vendor: vendorName }),
      ...(deviceName === undefined ? {} : { device: deviceName }),
    };
  };
}
