/** Who this process is, and whether another one is still there. */

import { type SystemCalls, VfioError } from 'vfio-core';

/** A process, told apart from a later one of the same number by when it started. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as text; `0` where the kernel does not say. Source: proc(5), field 22 of `/proc/PID/stat`. */
  readonly start: string;
}

/** Fields 1 and 22 of a stat line. The second field is the program's name in brackets, in which anything may stand. */
function parse(stat: string): ProcessIdentity | undefined {
  const pid = Number.parseInt(stat, 10);
  const rest = stat
    .slice(stat.lastIndexOf(')') + 1)
    .trim()
    .split(/\s+/);
  if (!Number.isInteger(pid)) return undefined;
  const start = rest[19];
  return { pid, start: start !== undefined && /^\d+$/.test(start) ? start : '0' };
}

/** This process. */
export function self(system: SystemCalls): ProcessIdentity {
  const stat = system.readFile('/proc/self/stat');
  const identity = typeof stat === 'string' ? parse(stat) : undefined;
  if (identity !== undefined) return identity;
  const link = system.readLink('/proc/self');
  const pid = typeof link === 'string' ? Number.parseInt(link, 10) : Number.NaN;
  if (Number.isInteger(pid)) return { pid, start: '0' };
  throw new VfioError('ERR_VFIO_SYSTEM', 'This process does not learn its own number.', {
    remedy: 'Mount procfs: mount -t proc none /proc.',
    path: '/proc/self/stat',
  });
}

/** Whether that very process is still there. In doubt, yes. */
export function isAlive(system: SystemCalls, { pid, start }: ProcessIdentity): boolean {
  const mine = self(system);
  if (mine.pid === pid) return mine.start === start || start === '0' || mine.start === '0';
  const stat = system.readFile(`/proc/${pid}/stat`);
  if (typeof stat === 'number') return stat !== -ENOENT && stat !== -ESRCH;
  const there = parse(stat);
  return there === undefined || there.start === start || start === '0' || there.start === '0';
}

const ENOENT = 2;
const ESRCH = 3;
