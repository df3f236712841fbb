import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentKey, remembered } from './cache.js';
import { describePackages, newestPackage, unpackedPackages } from './packages.js';
import { command } from './process.js';

/** A line of kernels that the lab can boot. */
export type KernelLine = '6.1' | '6.12';

/** A kernel unpacked into the cache; nothing of it is installed on the machine. */
export interface Kernel {
  readonly line: KernelLine;
  /** What `uname -r` says in the guest. */
  readonly release: string;
  /** The compressed image that QEMU boots. */
  readonly image: string;
  /** The folder whose `lib/modules/RELEASE` holds the modules. */
  readonly root: string;
  /** Identifies the packages that it came from. */
  readonly key: string;
}

interface Remembered {
  readonly release: string;
  readonly root: string;
  readonly key: string;
}

const imagePattern: Readonly<Record<KernelLine, RegExp>> = {
  '6.1': /^linux-image-6\.1\.0-\d+-amd64$/,
  // From Debian 12's security suite, named by the kernel's own version.
  '6.12': /^linux-image-6\.12\.\d+\+deb12(u\d+)?-amd64$/,
};

/** Whether a package is the image of a kernel that the lab boots for a line. */
export const isImage = (line: KernelLine, name: string): boolean => imagePattern[line].test(name);

/** The packages with the headers and build scripts of a release: the kernel's own, the common part, the scripts. */
export function headerPackages(
  line: KernelLine,
  release: string,
): readonly [own: string, common: string, kbuild: string] {
  const version = release.replace(/-amd64$/, '');
  const kbuild = line === '6.1' ? line : version;
  return [`linux-headers-${release}`, `linux-headers-${version}-common`, `linux-kbuild-${kbuild}`];
}

/** Fetches and unpacks the newest kernel of a line, or takes the one that the cache already holds. */
export async function prepareKernel(line: KernelLine, say: (line: string) => void, refresh = false): Promise<Kernel> {
  const known = await remembered(`kernel-${line}`, refresh, () => fetchKernel(line, say));
  return { line, ...known, image: join(known.root, `boot/vmlinuz-${known.release}`) };
}

async function fetchKernel(line: KernelLine, say: (line: string) => void): Promise<Remembered> {
  const name = await newestPackage(`linux-image-${line}`, imagePattern[line]);
  const root = await unpackedPackages([name], say);
  const release = readdirSync(join(root, 'lib/modules'))[0];
  if (!release) throw new Error(`package ${name} has no folder below lib/modules`);
  if (!existsSync(join(root, 'lib/modules', release, 'modules.dep'))) await command('depmod', ['-b', root, release]);
  return { release, root, key: contentKey(await describePackages([name])) };
}

/** Headers and build scripts for out-of-tree modules of a kernel, made usable where they were unpacked. */
export async function kernelHeaders(kernel: Kernel, say: (line: string) => void): Promise<string> {
  const [own, common, kbuild] = headerPackages(kernel.line, kernel.release);
  const root = await unpackedPackages([own, common, kbuild], say);
  const folder = join(root, 'usr/src', own);
  const makefile = join(folder, 'Makefile');
  // Debian's file includes the common part by its absolute path on an installed system.
  writeFileSync(makefile, `include ${join(root, 'usr/src', common, 'Makefile')}\n`);
  return folder;
}
