/** The kernel's side of the suite: file systems with real files, made and checked by the guest's own driver and tools. */

import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { command, note } from '../guest.js';

/** Runs a command beside the event loop, so that notes go out meanwhile, and returns its standard output. */
const run = async (name: string, ...args: readonly string[]): Promise<string> =>
  (await promisify(execFile)(name, args, { maxBuffer: 2 ** 26 })).stdout;

export interface Chosen {
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * Real files below `folders`, in the order of the walk, until they are `bytes` in all. The walk stops there: each look
 * at a file costs the guest about a millisecond.
 */
export function choose(folders: readonly string[], bytes: number): Chosen {
  const files: string[] = [];
  const waiting = [...folders];
  let sum = 0;
  let looked = 0;
  for (let folder = waiting.shift(); folder !== undefined && sum < bytes; folder = waiting.shift()) {
    const entries = readdirSync(folder, { withFileTypes: true });
    waiting.push(...entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name)));
    for (const entry of entries.filter((entry) => entry.isFile() && !/[\\\n]/.test(entry.name))) {
      const path = join(folder, entry.name);
      const { size } = statSync(path);
      if (++looked % 4096 === 0) note(`${looked} files looked at`);
      if (size < 32 * 1024 || size > 16 * 2 ** 20 || sum >= bytes) continue;
      files.push(path);
      sum += size;
    }
  }
  return { files, bytes: sum };
}

/** Makes a file system on a block device, copies the files into it, and unmounts it. */
export async function makeFileSystem(device: string, files: readonly string[]): Promise<void> {
  await run('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device);
  mkdirSync('/mnt/made', { recursive: true });
  await run('mount', '-t', 'ext4', device, '/mnt/made');
  const list = '/tmp/files.list';
  writeFileSync(list, `${files.join('\n')}\n`);
  await run('bash', '-c', `set -o pipefail; tar -C / -P -cf - -T ${list} | tar -C /mnt/made -xf -`);
  await run('umount', '/mnt/made');
}

/** SHA-256 of each file, by name, from the tool of the machine. */
export async function checksums(files: readonly string[], below = ''): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let first = 0; first < files.length; first += 100) {
    const batch = files.slice(first, first + 100).map((file) => `${below}${file}`);
    for (const line of (await run('sha256sum', ...batch)).split('\n')) {
      if (line !== '') found.set(line.slice(66 + below.length), line.slice(0, 64));
    }
    note(`${Math.min(first + 100, files.length)} of ${files.length} checksums`);
  }
  return found;
}

/** Mounts a device read-only, compares each file with its original, and gives the number of files that are right. */
export async function compareFiles(
  device: string,
  originals: ReadonlyMap<string, string>,
): Promise<{ right: number; wrong: string[] }> {
  mkdirSync('/mnt/checked', { recursive: true });
  command('mount', '-t', 'ext4', '-o', 'ro', device, '/mnt/checked');
  try {
    const found = await checksums([...originals.keys()], '/mnt/checked');
    const wrong = [...originals].filter(([file, sum]) => found.get(file) !== sum).map(([file]) => file);
    return { right: originals.size - wrong.length, wrong };
  } finally {
    command('umount', '/mnt/checked');
  }
}
