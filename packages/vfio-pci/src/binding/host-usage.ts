/** Who in the host uses a device: file systems, swap and block devices on top of its disks. */

import { type BackendOption, defaultBackend, pciAddress, type SystemCalls } from 'vfio-core';
import { baseName, exists, names, pciDevices, readText } from '../discovery/sysfs.js';

/** One use. */
export interface HostUse {
  readonly kind: 'mount' | 'swap' | 'holder';
  /** The disk or partition: `nvme0n1p1`. */
  readonly block: string;
  /** The mount point, the swap file's path, or the block device on top (`dm-0`, `md127`). */
  readonly by: string;
  /** In words: `nvme0n1p1 is mounted at /home`. */
  readonly description: string;
}

/**
 * What the host does with a device's disks: mounts (of this process's mount namespace and of the first process's), swap areas, and block
 * devices on top (RAID, LVM, encryption). Empty for a device without disks, or one that is free. Network interfaces and
 * programs that have a disk open are not looked for. Throws `ERR_VFIO_ARGUMENT` for something that is no address.
 */
export function hostUsage(address: string, options: BackendOption = {}): HostUse[] {
  const name = pciAddress(address);
  const system = options.backend ?? defaultBackend();
  const blocks = blocksOf(system, name);
  if (blocks.length === 0) return [];
  const mounts = ['/proc/self/mountinfo', '/proc/1/mountinfo'].flatMap((path) =>
    parseMounts(readText(system, path) ?? ''),
  );
  const swaps = parseSwaps(readText(system, '/proc/swaps') ?? '');
  const uses = new Map<string, HostUse>();
  const add = (kind: HostUse['kind'], block: string, by: string, words: string) =>
    uses.set(`${kind} ${block} ${by}`, { kind, block, by, description: `${block} ${words} ${by}` });
  for (const { name: block, folder } of blocks) {
    const number = readText(system, `${folder}/dev`);
    for (const mount of mounts) {
      if (mount.device === number || baseName(mount.source) === block)
        add('mount', block, mount.point, 'is mounted at');
    }
    for (const swap of swaps) if (baseName(swap) === block) add('swap', block, swap, 'is in use as swap:');
    for (const holder of names(system, `${folder}/holders`)) add('holder', block, holder, 'is held by');
  }
  return [...uses.values()];
}

interface Block {
  readonly name: string;
  readonly folder: string;
}

/** Disks whose path in sysfs leads through the function, and their partitions. */
function blocksOf(system: SystemCalls, address: string): Block[] {
  const disks = new Set<string>();
  for (const disk of names(system, '/sys/block')) {
    const target = system.readLink(`/sys/block/${disk}`);
    if (typeof target === 'string' && target.split('/').includes(address)) disks.add(disk);
  }
  // With native multipath an NVMe disk hangs below a virtual device; only its path nvme0c1n1 hangs below the function.
  for (const controller of names(system, `${pciDevices}/${address}/nvme`)) {
    for (const entry of names(system, `${pciDevices}/${address}/nvme/${controller}`)) {
      const path = /^(nvme\d+)(?:c\d+)?(n\d+)$/.exec(entry);
      const disk = path === null ? '' : `${path[1]}${path[2]}`;
      if (disk !== '' && exists(system, `/sys/block/${disk}`)) disks.add(disk);
    }
  }
  return [...disks].flatMap((disk) => {
    const folder = `/sys/block/${disk}`;
    const parts = names(system, folder).filter((entry) => exists(system, `${folder}/${entry}/partition`));
    return [{ name: disk, folder }, ...parts.map((part) => ({ name: part, folder: `${folder}/${part}` }))];
  });
}

interface Mount {
  /** `259:1` */
  readonly device: string;
  readonly point: string;
  readonly source: string;
}

/** Source: proc_pid_mountinfo(5). The source stands two places behind a lone dash; spaces are written as \040. */
function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const parts = line.split(' ');
    const dash = parts.indexOf('-');
    const [device, point, source] = [parts[2], parts[4], parts[dash + 2]];
    if (dash < 0 || device === undefined || point === undefined || source === undefined) return [];
    return [{ device, point: unescaped(point), source: unescaped(source) }];
  });
}

const parseSwaps = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => unescaped(line.split(/\s/)[0] ?? ''))
    .filter((path) => path.startsWith('/'));

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
