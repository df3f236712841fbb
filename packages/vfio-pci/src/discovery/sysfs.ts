/** Reading sysfs through the seam: values that are absent are `undefined`, since every kernel lacks some of them. */

import type { SystemCalls } from 'vfio-core';

export const pciDevices = '/sys/bus/pci/devices';
export const pciDrivers = '/sys/bus/pci/drivers';

/** The file's text without its newline; undefined where it cannot be read. */
export function readText(system: SystemCalls, path: string): string | undefined {
  const text = system.readFile(path);
  return typeof text === 'string' ? text.trim() : undefined;
}

/** A number in decimal or with 0x; undefined where there is none. */
export function readNumber(system: SystemCalls, path: string): number | undefined {
  const text = readText(system, path);
  const value = text === undefined || text === '' ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** The last part of where a link leads: the name of the driver, the number of the group. */
export function linkName(system: SystemCalls, path: string): string | undefined {
  const target = system.readLink(path);
  return typeof target === 'string' ? baseName(target) : undefined;
}

export const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Names in a directory, sorted; none where it cannot be read. */
export function names(system: SystemCalls, path: string): string[] {
  const found = system.list(path);
  return typeof found === 'number' ? [] : [...found].sort();
}

export const exists = (system: SystemCalls, path: string): boolean => typeof system.status(path) !== 'number';

/** What `driver_override` holds; the kernel writes `(null)` for nothing. */
export function readOverride(system: SystemCalls, address: string): string | undefined {
  const text = readText(system, `${pciDevices}/${address}/driver_override`);
  return text === undefined || text === '' || text === '(null)' ? undefined : text;
}

/** The driver that a function is bound to. */
export const driverOf = (system: SystemCalls, address: string): string | undefined =>
  linkName(system, `${pciDevices}/${address}/driver`);
