/**
 * The driver that a function had before, kept in a small file below /run, so that another process can restore it. /run is
 * root's and empty after a boot, as is the binding itself.
 */

import type { SystemCalls } from 'vfio-core';
import type { PciFunction } from '../discovery/index.js';

/** What a function was before it was bound. */
export interface Former {
  /** Absent for no driver. */
  readonly driver?: string;
  /** Absent for no override. */
  readonly override?: string;
}

/** Where the memory of a function is. */
export const memoryPath = (address: string): string => `/run/vfio-sdk.${address}.json`;

/** @returns the file written; undefined where that failed, which keeps nobody from binding */
export function remember(system: SystemCalls, fn: PciFunction, former: Former): string | undefined {
  const path = memoryPath(fn.address);
  const text = `${JSON.stringify({ address: fn.address, vendor: fn.vendor, device: fn.device, ...former })}\n`;
  return system.writeFile(path, text) < 0 ? undefined : path;
}

/** What {@link remember} kept; undefined where there is nothing, or another device sits at the address by now. */
export function recall(system: SystemCalls, fn: PciFunction): Former | undefined {
  const text = system.readFile(memoryPath(fn.address));
  if (typeof text !== 'string') return undefined;
  const kept = parse(text);
  if (kept?.vendor !== fn.vendor || kept.device !== fn.device) return undefined;
  const name = (value: unknown) => (typeof value === 'string' && /^[\w.-]+$/.test(value) ? value : undefined);
  const driver = name(kept.driver);
  const override = name(kept.override);
  return { ...(driver === undefined ? {} : { driver }), ...(override === undefined ? {} : { override }) };
}

export function forget(system: SystemCalls, address: string): void {
  system.unlink(memoryPath(address));
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
