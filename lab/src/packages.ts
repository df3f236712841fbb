import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cached, contentKey, withLock } from './cache.js';
import { CannotRun } from './cannot-run.js';
import { cacheFolder, findProgram } from './paths.js';
import { command } from './process.js';

/** A program (or a file, by absolute path) that must be there, and the Debian package that brings it. */
export interface Tool {
  readonly program: string;
  readonly package: string;
}

/** What every run in a guest needs. */
export const guestTools: readonly Tool[] = [
  { program: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  { program: 'depmod', package: 'kmod' },
  { program: 'xz', package: 'xz-utils' },
  { program: 'tar', package: 'tar' },
  { program: 'lspci', package: 'pciutils' },
  { program: 'mkfs.ext4', package: 'e2fsprogs' },
  { program: 'setpriv', package: 'util-linux' },
];

/** What building a kernel module or a C program needs. */
export const buildTools: readonly Tool[] = [
  { program: 'gcc-12', package: 'gcc-12' },
  { program: 'make', package: 'make' },
  { program: 'ld', package: 'binutils' },
  { program: '/usr/include/stdio.h', package: 'libc6-dev' },
  { program: '/usr/lib/x86_64-linux-gnu/libelf.so.1', package: 'libelf1' },
];

const present = (tool: Tool) =>
  tool.program.startsWith('/') ? existsSync(tool.program) : findProgram(tool.program) !== undefined;

/** Throws {@link CannotRun} unless this is a machine of the kind that the lab is written for. */
export function checkMachine(machine: { readonly platform: string; readonly arch: string } = process): void {
  const missing: string[] = [];
  if (machine.platform !== 'linux' || machine.arch !== 'x64') {
    missing.push(`a Linux machine of architecture x64 (this one is ${machine.platform} ${machine.arch})`);
  } else {
    for (const program of ['apt-get', 'apt-cache', 'dpkg-deb']) {
      if (!findProgram(program)) missing.push(`${program} (the lab takes its kernels from Debian 12's packages)`);
    }
  }
  if (missing.length > 0) throw new CannotRun(missing);
}

// Lists and cache of our own: the state of the machine's apt stays as it is, and no right to change it is needed.
function aptOptions(): string[] {
  const apt = join(cacheFolder(), 'apt');
  for (const folder of ['lists/partial', 'archives/partial']) mkdirSync(join(apt, folder), { recursive: true });
  return [
    ['Dir::State::lists', join(apt, 'lists')],
    ['Dir::Cache', apt],
    ['Dir::Cache::archives', join(apt, 'archives')],
    ['APT::Sandbox::User', ''],
    ['DPkg::Lock::Timeout', '300'],
    ['Acquire::Retries', '3'],
  ].flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

let listsAreFresh = false;

async function refreshLists(): Promise<string[]> {
  const options = aptOptions();
  if (!listsAreFresh) {
    const lists = join(cacheFolder(), 'apt/lists');
    const old = Date.now() - statSync(lists).mtimeMs > 12 * 3600e3;
    if (old || !readdirSync(lists).some((name) => name.endsWith('_Packages') || name.includes('_Packages.'))) {
      await command('apt-get', [...options, 'update'], { seconds: 180 });
    }
    listsAreFresh = true;
  }
  return options;
}

/** Installs the packages of the missing tools when this is root; throws {@link CannotRun} when it cannot. */
export async function needTools(
  tools: readonly Tool[],
  say: (line: string) => void,
  user: number | undefined = process.getuid?.(),
): Promise<void> {
  const missing = tools.filter((tool) => !present(tool));
  if (missing.length === 0) return;
  const names = [...new Set(missing.map((tool) => tool.package))];
  if (user !== 0) {
    throw new CannotRun(
      missing.map((tool) => `${tool.program} (as root: apt-get install --no-install-recommends ${tool.package})`),
    );
  }
  say(`installing ${names.join(' ')}`);
  await withLock('apt', async () => {
    const options = await refreshLists();
    await command('apt-get', [...options, 'install', '-y', '--no-install-recommends', ...names]);
  });
  const still = missing.filter((tool) => !present(tool));
  if (still.length > 0) throw new CannotRun(still.map((tool) => `${tool.program} (not in package ${tool.package})`));
}

/** The newest available package whose name matches, by version order of the names. */
export async function newestPackage(search: string, wanted: RegExp): Promise<string> {
  return withLock('apt', async () => {
    const options = await refreshLists();
    const names = (await command('apt-cache', [...options, 'pkgnames', search]))
      .split('\n')
      .filter((n) => wanted.test(n));
    const newest = names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
    if (!newest) throw new CannotRun([`package ${wanted} in this machine's apt sources`]);
    return newest;
  });
}

/** What identifies the available version of packages: name, version and hash of each. */
export async function describePackages(names: readonly string[]): Promise<string> {
  return withLock('apt', async () => {
    const options = await refreshLists();
    const shown = await command('apt-cache', [...options, 'show', '--no-all-versions', ...names]);
    return shown
      .split('\n')
      .filter((line) => /^(Package|Version|SHA256):/.test(line))
      .join('\n');
  });
}

/** Downloads packages and unpacks them into one cached folder, without installing anything. */
export async function unpackedPackages(names: readonly string[], say: (line: string) => void): Promise<string> {
  const key = contentKey(await describePackages(names));
  return cached('packages', key, async (folder) => {
    say(`fetching ${names.join(' ')}`);
    const debs = join(folder, '.debs');
    mkdirSync(debs);
    const options = await withLock('apt', refreshLists);
    await command('apt-get', [...options, 'download', ...names], { cwd: debs });
    for (const deb of readdirSync(debs)) await command('dpkg-deb', ['-x', join(debs, deb), folder]);
    await command('rm', ['-r', debs]);
  });
}
