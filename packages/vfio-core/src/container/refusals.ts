/** Errors of opening: what was refused, and why as far as the file system tells. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, systemError } from '../errors/system-error.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { type GroupMember, type IommuGroup, servesVfio } from './find-group.js';
import { type AdvisedMember, adviseOn, lineOf, whatParts } from './group-advice.js';

/** The error for an open that failed; where rights are lacking, it says whose the file is. */
export function notPermitted(system: SystemCalls, path: string, result: number, facts: CallFacts): VfioError {
  const refused = result === -Errno.EACCES || result === -Errno.EPERM;
  const status = refused ? system.status(path) : -1;
  if (typeof status === 'number') return systemError(result, { syscall: 'open', path, ...facts });
  const mode = `0${(status.mode & 0o7777).toString(8)}`;
  return new VfioError(
    'ERR_VFIO_PERMISSION',
    `${path} may not be opened by this user: it belongs to user ${status.uid} and group ${status.gid}, mode ${mode}.`,
    {
      remedy: `Run as root, or give yourself the file:  sudo chown $USER ${path}`,
      syscall: 'open',
      path,
      errno: -result,
      details: { owner: status.uid, group: status.gid, mode: status.mode },
    },
  );
}

const describe = ({ address, className, driver }: GroupMember): string =>
  `${address} (${className}) is bound to ${driver}`;

/** The error for a group that the kernel calls not viable: which members hold it, and what to do with each. */
export function notViable(group: IommuGroup, facts: { request: string; answer?: string; errno?: number }): VfioError {
  const members = adviseOn(group);
  const blocking = members.filter(({ blocksGroup }) => blocksGroup);
  const why =
    blocking.length > 0
      ? blocking.map(describe).join(', ')
      : 'the kernel calls it not viable, though no host driver shows in sysfs';
  // What would have to be bound; bridges are harmless and cannot be bound.
  const bind = members.filter(({ todo }) => todo === 'bind').map(({ address }) => address);
  const parts = whatParts(group);
  return new VfioError('ERR_VFIO_GROUP_NOT_VIABLE', `IOMMU group ${group.id} cannot be used: ${why}.`, {
    remedy: [...cure(members, bind), ...(parts === undefined ? [] : [`${parts}.`])].join('\n  '),
    syscall: 'ioctl',
    path: group.path,
    ...facts,
    details: { group: group.id, members, bind, parts },
  });
}

/** The command, then each member with which something else is to be done than to bind it, or nothing. */
function cure(members: readonly AdvisedMember[], bind: readonly string[]): string[] {
  if (members.every(({ blocksGroup }) => !blocksGroup)) return ['See the kernel log: dmesg | tail.'];
  const others = members.filter(({ todo, driver }) => todo !== 'bind' && !servesVfio(driver)).map(lineOf);
  if (bind.length === 0) return others;
  return [`Bind every endpoint of the group to vfio-pci:  vfio bind ${bind.join(' ')} --yes`, ...others];
}
