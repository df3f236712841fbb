import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cached, contentKey } from './cache.js';
import { type Kernel, kernelHeaders } from './kernel.js';
import { buildTools, describePackages, needTools, unpackedPackages } from './packages.js';
import { command } from './process.js';

/** Modules built out of tree: the folder with the `.ko` files and what identifies them. */
export interface BuiltModules {
  readonly folder: string;
  readonly key: string;
}

async function make(headers: string, folder: string, extra: readonly string[]): Promise<void> {
  // BTF of modules needs the kernel's uncompressed image, which is not packaged.
  const args = [
    '-C',
    headers,
    `M=${folder}`,
    'CC=gcc-12',
    'CONFIG_DEBUG_INFO_BTF_MODULES=',
    '-j2',
    ...extra,
    'modules',
  ];
  await command('make', args);
}

function modulesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ko'))
    .map((path) => join(folder, path));
}

/** VFIO's modules with no-IOMMU mode, which Debian's kernels are built without. */
export async function noIommuModules(kernel: Kernel, say: (line: string) => void): Promise<BuiltModules> {
  const key = contentKey('noiommu-1', kernel.key);
  const folder = await cached('modules', key, async (target) => {
    await needTools(buildTools, say);
    const headers = await kernelHeaders(kernel, say);
    const source = `linux-source-${kernel.line}`;
    const sources = await cached('sources', contentKey('vfio', await describePackages([source])), async (into) => {
      const unpacked = await unpackedPackages([source], say);
      say('unpacking drivers/vfio of the kernel source');
      const archive = join(unpacked, 'usr/src', `${source}.tar.xz`);
      await command('tar', ['-xJf', archive, '-C', into, '--strip-components=2', `${source}/drivers/vfio`]);
      rmSync(unpacked, { recursive: true, force: true });
    });
    say('building the VFIO modules with no-IOMMU mode');
    const work = join(target, '.build');
    cpSync(join(sources, 'vfio'), work, { recursive: true });
    await make(headers, work, ['KCPPFLAGS=-DCONFIG_VFIO_NOIOMMU=1']);
    for (const module of modulesBelow(work)) copyFileSync(module, join(target, basename(module)));
    rmSync(work, { recursive: true });
  });
  return { folder, key };
}

/** One module from one C file of a suite. */
export async function suiteModule(kernel: Kernel, file: string, say: (line: string) => void): Promise<BuiltModules> {
  const name = basename(file, '.c');
  const key = contentKey('suite-1', kernel.key, name, readFileSync(file));
  const folder = await cached('modules', key, async (target) => {
    await needTools(buildTools, say);
    const headers = await kernelHeaders(kernel, say);
    say(`building the module ${name}`);
    const work = join(target, '.build');
    mkdirSync(work);
    copyFileSync(file, join(work, `${name}.c`));
    writeFileSync(join(work, 'Makefile'), `obj-m := ${name}.o\n`);
    await make(headers, work, []);
    for (const module of modulesBelow(work)) copyFileSync(module, join(target, basename(module)));
    rmSync(work, { recursive: true });
  });
  return { folder, key };
}
