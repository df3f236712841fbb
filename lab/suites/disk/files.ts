/** The kernel's side of the suite: file systems with real files, made and checked by the guest's own driver and tools. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../guest.js';

/** The block device of the namespace of a controller that the kernel's driver holds. */
export async function blockDevice(address: string): Promise<string> {
  const base = `/sys/bus/pci/devices/${address}/nvme`;
  for (let waited = 0; waited < 30_000; waited += 100) {
    try {
      const [controller] = readdirSync(base);
      const disk = readdirSync(join(base, controller as string)).find((name) => /^nvme\d+(c\d+)?n\d+$/.test(name));
      if (disk !== undefined) {
        statSync(`/dev/${disk}`);
        return `/dev/${disk}`;
      }
    } catch {
      // Not there yet: the driver probes in the background.
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`the kernel's driver made no block device for ${address}`);
}

/** Real files below `folders`, larger ones first, until they are `bytes` in all. */
export function choose(folders: readonly string[], bytes: number): string[] {
  const all = command('find', ...folders, '-xdev', '-type', 'f', '-size', '+15k', '-printf', '%s %p\\n')
    .split('\n')
    .filter(Boolean)
    .map((line) => ({ size: Number(line.slice(0, line.indexOf(' '))), path: line.slice(line.indexOf(' ') + 1) }))
    .filter(({ size, path }) => size < 16 * 2 ** 20 && !/[\\\n]/.test(path));
  const chosen: string[] = [];
  let sum = 0;
  for (const { size, path } of all.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (sum + size > bytes) break;
    chosen.push(path);
    sum += size;
  }
  return chosen;
}

/** Makes a file system on a block device, copies the files into it, and unmounts it. */
export function makeFileSystem(device: string, files: readonly string[]): void {
  command('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device);
  mkdirSync('/mnt/made', { recursive: true });
  command('mount', '-t', 'ext4', device, '/mnt/made');
  const list = '/tmp/files.list';
  writeFileSync(list, `${files.join('\n')}\n`);
  command('sh', '-c', `tar -C / -cf - --no-recursion -T ${list} 2>/dev/null | tar -C /mnt/made -xf -`);
  command('umount', '/mnt/made');
}

/** SHA-256 of each file, by name, from the tool of the machine. */
export function checksums(files: readonly string[], below = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (let first = 0; first < files.length; first += 200) {
    const batch = files.slice(first, first + 200).map((file) => `${below}${file}`);
    const { stdout } = spawnSync('sha256sum', batch, { encoding: 'utf8', maxBuffer: 2 ** 26 });
    for (const line of stdout.split('\n')) {
      if (line !== '') found.set(line.slice(66 + below.length), line.slice(0, 64));
    }
  }
  return found;
}

/** Mounts a device read-only, compares each file with its original, and gives the number of files that are right. */
export function compareFiles(
  device: string,
  originals: ReadonlyMap<string, string>,
): { right: number; wrong: string[] } {
  mkdirSync('/mnt/checked', { recursive: true });
  command('mount', '-t', 'ext4', '-o', 'ro', device, '/mnt/checked');
  try {
    const found = checksums([...originals.keys()], '/mnt/checked');
    const wrong = [...originals].filter(([file, sum]) => found.get(file) !== sum).map(([file]) => file);
    return { right: originals.size - wrong.length, wrong };
  } finally {
    command('umount', '/mnt/checked');
  }
}
