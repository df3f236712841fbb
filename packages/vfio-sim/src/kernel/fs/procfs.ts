/** /proc, as far as drivers and `doctor` look there. */

import { PAGE } from '../address-space.js';
import { EINVAL } from '../errno.js';
import { OpenFile } from '../fds.js';
import type { Machine } from '../machine.js';
import { setAside } from '../memory.js';
import { type DirectoryNode, directory, link, listing, type Node, setting, text } from './nodes.js';

const PRESENT = 1n << 63n;

export function procTree(machine: Machine): DirectoryNode {
  const { memory, rights } = machine;
  const mounts = [
    ['proc', '/proc', 'proc'],
    ['sysfs', '/sys', 'sysfs'],
    ['udev', '/dev', 'devtmpfs'],
    ['tmpfs', '/run', 'tmpfs'],
    ['hugetlbfs', '/dev/hugepages', 'hugetlbfs', 'pagesize=2M'],
    ...(memory.giant.total > 0 ? [['hugetlbfs', '/dev/hugepages-1G', 'hugetlbfs', 'pagesize=1024M']] : []),
  ];
  const self = directory({
    limits: text(() => limits(machine)),
    status: text(() => status(machine)),
    pagemap: { kind: 'file', mode: 0o400, open: () => new PagemapFile(machine) },
    fd: descriptors(machine, ({ path }) => link(path)),
    // All of this process's descriptors are close-on-exec.
    fdinfo: descriptors(machine, (file) => text(() => `pos:\t0\nflags:\t0200000${file.access}\n${file.details}`)),
    mounts: text(() => mounts.map(([from, at, type, size]) => `${from} ${at} ${type} ${options(size)} 0 0\n`).join('')),
    mountinfo: text(() =>
      mounts
        .map(
          ([from, at, type, size], index) =>
            `${20 + index} 1 0:${30 + index} / ${at} rw - ${type} ${from} ${options(size)}\n`,
        )
        .join(''),
    ),
  });
  return directory({
    self: link('4242'),
    '4242': self,
    mounts: link('self/mounts'),
    swaps: text(() => 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'),
    meminfo: text(
      () =>
        `MemTotal:       16384000 kB\nHugePages_Total: ${memory.huge.total}\nHugePages_Free:  ${memory.huge.free}\nHugepagesize:       2048 kB\n`,
    ),
    cmdline: text(() => `BOOT_IMAGE=/vmlinuz root=/dev/ram0${machine.iommu ? ' intel_iommu=on' : ''}\n`),
    sys: directory({
      kernel: directory({
        osrelease: text(() => `${machine.kernel.release}.0-simulation\n`),
        tainted: text(() => `${machine.taint}\n`),
      }),
      vm: directory({
        nr_hugepages: setting(
          () => `${memory.huge.total}\n`,
          (written) => setAside(memory.huge, written),
        ),
      }),
    }),
  });

  function status(of: Machine): string {
    const kib = (bytes: number) => String(Math.floor(bytes / 1024)).padStart(8);
    const flags: [boolean, number][] = [
      [rights.ipcLock, 14],
      [rights.sysRawio, 17],
      [rights.sysAdmin, 21],
      [rights.sysResource, 24],
    ];
    const effective = flags.reduce((bits, [has, bit]) => (has ? bits | (1 << bit) : bits), 0);
    const mask = effective.toString(16).padStart(16, '0');
    return `Name:\tnode\nPid:\t4242\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmLck:\t${kib(of.lockedBytes)} kB\nVmPin:\t${kib(of.pinnedBytes)} kB\nCapEff:\t${mask}\n`;
  }
}

/** A directory with an entry for each open descriptor. */
const descriptors = ({ fds }: Machine, entry: (file: OpenFile) => Node): DirectoryNode =>
  listing(
    () => fds.entries().map(({ fd }) => `${fd}`),
    (name) => entry(fds.get(Number(name)) as OpenFile),
  );

const options = (size: string | undefined): string => (size === undefined ? 'rw,relatime' : `rw,relatime,${size}`);

function limits({ memlock }: Machine): string {
  const value = memlock === Number.POSITIVE_INFINITY ? 'unlimited' : String(memlock);
  const row = (name: string, soft: string, hard: string, unit: string) =>
    `${name.padEnd(26)}${soft.padEnd(21)}${hard.padEnd(21)}${unit.padEnd(10)}\n`;
  return (
    row('Limit', 'Soft Limit', 'Hard Limit', 'Units') +
    row('Max open files', '1024', '1048576', 'files') +
    row('Max locked memory', value, value, 'bytes')
  );
}

/** Physical page numbers, 8 bytes a page; without CAP_SYS_ADMIN the numbers read 0. Source: Documentation/admin-guide/mm/pagemap.rst. */
class PagemapFile extends OpenFile {
  readonly path = '/proc/self/pagemap';

  constructor(private readonly machine: Machine) {
    super();
  }

  override pread(into: Uint8Array, offset: number): number {
    if (offset % 8 !== 0 || into.length % 8 !== 0) return -EINVAL;
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    for (let at = 0; at < into.length; at += 8) {
      const address = (BigInt(offset + at) / 8n) * BigInt(PAGE);
      const physical = this.machine.memory.physicalOf(address);
      const frame = physical === undefined || !this.machine.rights.sysAdmin ? 0n : physical / BigInt(PAGE);
      view.setBigUint64(at, physical === undefined ? 0n : PRESENT | frame, true);
    }
    return into.length;
  }
}
