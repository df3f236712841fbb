/** Which programs have an IOMMU group open. */

import type { SystemCalls } from 'vfio-core';
import { names, readText } from '../discovery/sysfs.js';

/** A process that has a group open. */
export interface VfioHolder {
  readonly pid: number;
  /** Its name, as in /proc/PID/comm. */
  readonly command?: string;
}

/**
 * Processes with the node of this group open, this one among them. Only those whose descriptors may be looked at: all for
 * root, one's own else. One that closed the group and kept the device alone is not found.
 */
export function vfioHolders(system: SystemCalls, group: number): VfioHolder[] {
  const nodes = new Set([`/dev/vfio/${group}`, `/dev/vfio/noiommu-${group}`]);
  return names(system, '/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) =>
      names(system, `/proc/${pid}/fd`).some((fd) => {
        const target = system.readLink(`/proc/${pid}/fd/${fd}`);
        return typeof target === 'string' && nodes.has(target);
      }),
    )
    .map((pid) => {
      const command = readText(system, `/proc/${pid}/comm`);
      return { pid: Number(pid), ...(command === undefined ? {} : { command }) };
    });
}
