import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { cached, contentKey } from './cache.js';
import { type CpioEntry, characterDeviceMode, fileMode, folderMode, linkMode, packCpio, programMode } from './cpio.js';
import type { Kernel } from './kernel.js';
import type { BuiltModules } from './modules.js';
import { unpackedPackages } from './packages.js';
import { command } from './process.js';

/** What the first file system of a guest holds. */
export interface InitramfsPlan {
  readonly kernel: Kernel;
  /** Modules loaded at start, in this order, each with its parameters: `vfio enable_unsafe_noiommu_mode=1`. */
  readonly load: readonly string[];
  /** Modules that are there, below /run/lab/modules of the guest, but not loaded. */
  readonly carry: readonly string[];
  /** Modules that replace or add to those of the kernel. */
  readonly built: readonly BuiltModules[];
}

const applets = ['sh', 'mount', 'mkdir', 'modprobe', 'chroot', 'dmesg', 'sync', 'poweroff', 'ip', 'echo'];

/** The console, virtio and 9p: what the guest cannot do without. */
const baseModules = ['virtio_pci', '9pnet_virtio', '9p'];

/** Builds the compressed archive, or finds it in the cache, and returns its path. */
export async function prepareInitramfs(plan: InitramfsPlan, say: (line: string) => void): Promise<string> {
  const init = readFileSync(fileURLToPath(new URL('./init.sh', import.meta.url)));
  const builtKeys = plan.built.map(({ key }) => key);
  const key = contentKey('1', plan.kernel.key, ...plan.load, '--', ...plan.carry, '--', ...builtKeys, init);
  const folder = await cached('initramfs', key, async (target) => {
    const busybox = join(await unpackedPackages(['busybox-static'], say), 'bin/busybox');
    const load = [...baseModules, ...plan.load];
    const entries: CpioEntry[] = [
      { name: 'init', mode: programMode, data: init },
      { name: 'bin/busybox', mode: programMode, data: readFileSync(busybox) },
      { name: 'lab/modules', mode: fileMode, data: Buffer.from(`${load.join('\n')}\n`) },
      { name: 'dev/console', mode: characterDeviceMode, device: [5, 1] },
      ...['proc', 'sys', 'sbin'].map((name) => ({ name, mode: folderMode })),
      ...['bin', 'sbin'].flatMap((place) =>
        (place === 'bin' ? applets : ['modprobe']).map((name) => ({
          name: `${place}/${name}`,
          mode: linkMode,
          data: Buffer.from('/bin/busybox'),
        })),
      ),
      ...(await moduleEntries(plan, load, target)),
    ];
    writeFileSync(join(target, 'initrd.gz'), gzipSync(packCpio(entries), { level: 1 }));
  });
  return join(folder, 'initrd.gz');
}

async function moduleEntries(plan: InitramfsPlan, load: readonly string[], target: string): Promise<CpioEntry[]> {
  const { kernel } = plan;
  const names = [...load.map((line) => line.split(' ')[0] as string), ...plan.carry];
  const own = new Map(
    plan.built.flatMap(({ folder }) =>
      readdirSync(folder)
        .filter((file) => file.endsWith('.ko'))
        .map((file) => [moduleName(file), join(folder, file)] as const),
    ),
  );
  const files = new Map<string, string>();
  for (const name of names) {
    const path = own.get(moduleName(name));
    if (path) files.set(moduleName(name), path);
  }
  for (const name of names) {
    for (const path of await dependencies(kernel, name, own))
      files.set(moduleName(path), own.get(moduleName(path)) ?? path);
  }
  const tree = `lib/modules/${kernel.release}`;
  const staged = join(target, '.tree');
  await command('mkdir', ['-p', join(staged, tree, 'kernel')]);
  for (const name of ['modules.builtin', 'modules.builtin.modinfo']) {
    await command('cp', [join(kernel.root, tree, name), join(staged, tree)]);
  }
  for (const path of files.values()) {
    await command('cp', [path, join(staged, tree, 'kernel')]);
    if (path.endsWith('.xz')) await command('xz', ['-d', join(staged, tree, 'kernel', basename(path))]);
  }
  await command('depmod', ['-b', staged, kernel.release]);
  const entries = readdirSync(join(staged, tree), { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ name: path.slice(staged.length + 1), mode: fileMode, data: readFileSync(path) }));
  await command('rm', ['-r', staged]);
  return entries;
}

/** The name under which the kernel knows the module in a file. */
export const moduleName = (path: string) =>
  basename(path)
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_');

async function dependencies(kernel: Kernel, name: string, own: ReadonlyMap<string, string>): Promise<string[]> {
  const built = own.get(moduleName(name));
  if (built) {
    const needed = (await command('modinfo', ['-F', 'depends', built])).trim();
    const lists = needed === '' ? [] : needed.split(',').map((other) => dependencies(kernel, other, own));
    return [...(await Promise.all(lists)).flat(), built];
  }
  const shown = await command('modprobe', ['-d', kernel.root, '-S', kernel.release, '--show-depends', name]);
  return shown
    .split('\n')
    .filter((line) => line.startsWith('insmod '))
    .map((line) => line.split(' ')[1] as string);
}
