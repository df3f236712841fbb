/**
 * Files that a killed process left behind. Their pages are still in reach of the device that it drove, so they go only when
 * that device was opened afresh and masters the bus no more: the kernel clears bus mastering at first open and last close
 * ([LIFE-1], [LIFE-3]), and we look.
 */

import type { SystemCalls } from 'vfio-core';
import type { HugeMount } from './hugetlbfs.js';
import { isAlive, type ProcessIdentity } from './process-identity.js';

const prefix = 'vfio-noiommu';

/** `vfio-noiommu.0000:01:00.0.4711-123456.0`: for which device, by which process, the how-manyeth of that process. */
export const fileName = (address: string, { pid, start }: ProcessIdentity, number: number): string =>
  `${prefix}.${address}.${pid}-${start}.${number}`;

/** What a name says; undefined for a file that is not ours. */
export function parseFileName(name: string): { address: string; owner: ProcessIdentity } | undefined {
  const match = /^vfio-noiommu\.([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\.(\d+)-(\d+)\.\d+$/.exec(name);
  if (match === null) return undefined;
  return { address: match[1]!, owner: { pid: Number(match[2]), start: match[3]! } };
}

/** Paths of the files that dead processes left for a device. */
export function leftovers(system: SystemCalls, mounts: readonly HugeMount[], address: string): string[] {
  const found: string[] = [];
  for (const mount of mounts) {
    const names = system.list(mount.path);
    if (typeof names === 'number') continue;
    for (const name of names) {
      const file = parseFileName(name);
      if (file?.address === address && !isAlive(system, file.owner)) found.push(`${mount.path}/${name}`);
    }
  }
  return found;
}

/**
 * Removes them.
 * @param busMastering whether the device, which the caller has open, may still write memory: then nothing is removed
 * @returns the paths that are gone
 */
export function sweepLeftovers(
  system: SystemCalls,
  mounts: readonly HugeMount[],
  address: string,
  busMastering: () => boolean,
): string[] {
  const found = leftovers(system, mounts, address);
  if (found.length === 0 || busMastering()) return [];
  return found.filter((path) => system.unlink(path) === 0);
}
