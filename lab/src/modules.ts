import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { cached, contentKey } from './cache.js';
import { type Kernel, kernelHeaders } from './kernel.js';
import { buildTools, describePackages, needTools, unpackedPackages } from './packages.js';
import { command } from './process.js';
import type { Mode } from './suite.js';

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

/** Some of the files below the kernel's source folder, with their paths in it. */
async function kernelSources(kernel: Kernel, paths: readonly string[], say: (line: string) => void): Promise<string> {
  const source = `linux-source-${kernel.line}`;
  return cached('sources', contentKey(...paths, '--', await describePackages([source])), async (into) => {
    const unpacked = await unpackedPackages([source], say);
    say(`unpacking ${paths.join(', ')} of the kernel source`);
    const archive = join(unpacked, 'usr/src', `${source}.tar.xz`);
    const wanted = paths.map((path) => `${source}/${path}`);
    await command('tar', ['-xJf', archive, '-C', into, '--strip-components=1', ...wanted]);
    rmSync(unpacked, { recursive: true, force: true });
  });
}

/** Builds modules in a folder that `lay` fills, and keeps the `.ko` files. */
async function build(
  target: string,
  kernel: Kernel,
  say: (line: string) => void,
  lay: (work: string) => Promise<readonly string[]> | readonly string[],
): Promise<void> {
  await needTools(buildTools, say);
  const headers = await kernelHeaders(kernel, say);
  const work = join(target, '.build');
  mkdirSync(work);
  await make(headers, work, await lay(work));
  for (const module of modulesBelow(work)) copyFileSync(module, join(target, basename(module)));
  rmSync(work, { recursive: true });
}

const defined = (...names: readonly string[]) => `KCPPFLAGS=${names.map((name) => `-D${name}=1`).join(' ')}`;

/**
 * The VFIO modules that replace the kernel's own in a mode, because Debian builds those without what the lab shows:
 * on 6.1 no-IOMMU mode; on 6.12 no-IOMMU mode, iommufd and a device file for each device, in both modes.
 */
export async function vfioModules(kernel: Kernel, mode: Mode, say: (line: string) => void): Promise<BuiltModules[]> {
  if (kernel.line === '6.1') return mode === 'noiommu' ? [await noIommuModules(kernel, say)] : [];
  return [await iommufdModules(kernel, say)];
}

async function noIommuModules(kernel: Kernel, say: (line: string) => void): Promise<BuiltModules> {
  const key = contentKey('noiommu-1', kernel.key);
  const folder = await cached('modules', key, (target) =>
    build(target, kernel, say, async (work) => {
      const sources = await kernelSources(kernel, ['drivers/vfio'], say);
      say('building the VFIO modules with no-IOMMU mode');
      cpSync(join(sources, 'drivers/vfio'), work, { recursive: true });
      return [defined('CONFIG_VFIO_NOIOMMU')];
    }),
  );
  return { folder, key };
}

async function iommufdModules(kernel: Kernel, say: (line: string) => void): Promise<BuiltModules> {
  const key = contentKey('iommufd-1', kernel.key);
  const folder = await cached('modules', key, (target) =>
    build(target, kernel, say, async (work) => {
      const sources = await kernelSources(kernel, ['drivers/vfio', 'drivers/iommu', 'lib/interval_tree.c'], say);
      say('building iommufd and the VFIO modules with device files and no-IOMMU mode');
      cpSync(join(sources, 'drivers/vfio'), join(work, 'vfio'), { recursive: true });
      const iommu = join(work, 'iommu');
      // Of the IOMMU drivers only the headers that they share with iommufd.
      mkdirSync(iommu);
      for (const name of readdirSync(join(sources, 'drivers/iommu')).filter((file) => file.endsWith('.h'))) {
        copyFileSync(join(sources, 'drivers/iommu', name), join(iommu, name));
      }
      cpSync(join(sources, 'drivers/iommu/iommufd'), join(iommu, 'iommufd'), { recursive: true });
      const spans = spanIterator(readFileSync(join(sources, 'lib/interval_tree.c'), 'utf8'));
      writeFileSync(join(iommu, 'iommufd/interval_tree_span.c'), spans);
      // What a kernel with iommufd holds itself becomes part of the module.
      appendFileSync(join(iommu, 'iommufd/Makefile'), 'iommufd-y += iova_bitmap.o interval_tree_span.o\n');
      writeFileSync(join(work, 'Makefile'), 'obj-m := iommu/iommufd/ vfio/\n');
      return [
        'CONFIG_IOMMUFD=m',
        'CONFIG_IOMMUFD_DRIVER=',
        'CONFIG_VFIO_DEVICE_CDEV=y',
        defined(
          'CONFIG_IOMMUFD_MODULE',
          'CONFIG_IOMMUFD_DRIVER',
          'CONFIG_IOMMUFD_DRIVER_CORE',
          'CONFIG_INTERVAL_TREE_SPAN_ITER',
          'CONFIG_VFIO_DEVICE_CDEV',
          'CONFIG_VFIO_NOIOMMU',
        ),
      ];
    }),
  );
  return { folder, key };
}

/** The part of `lib/interval_tree.c` that a kernel without iommufd leaves out, as a file of its own. */
export function spanIterator(intervalTree: string): string {
  const start = intervalTree.indexOf('#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER');
  if (start < 0) throw new Error('lib/interval_tree.c has no part for CONFIG_INTERVAL_TREE_SPAN_ITER');
  return `#include <linux/interval_tree.h>\n#include <linux/export.h>\n${intervalTree.slice(start)}`;
}

/** One module from one C file of a suite. */
export async function suiteModule(kernel: Kernel, file: string, say: (line: string) => void): Promise<BuiltModules> {
  const name = basename(file, '.c');
  const key = contentKey('suite-1', kernel.key, name, readFileSync(file));
  const folder = await cached('modules', key, (target) =>
    build(target, kernel, say, (work) => {
      say(`building the module ${name}`);
      copyFileSync(file, join(work, `${name}.c`));
      writeFileSync(join(work, 'Makefile'), `obj-m := ${name}.o\n`);
      return [];
    }),
  );
  return { folder, key };
}
