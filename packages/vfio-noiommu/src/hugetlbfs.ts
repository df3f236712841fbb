/** Where the machine offers huge pages as files. Source: Documentation/admin-guide/mm/hugetlbpage.rst of the kernel. */

import { type SystemCalls, VfioError } from 'vfio-core';

/** A mounted hugetlbfs. */
export interface HugeMount {
  readonly path: string;
  /** Bytes of its pages. */
  readonly pageSize: number;
}

const unit: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** All writable mounts, smallest pages first. */
export function hugeMounts(system: SystemCalls): HugeMount[] {
  const mounts = firstReadable(system, ['/proc/self/mounts', '/proc/mounts']);
  const found: HugeMount[] = [];
  for (const line of mounts.split('\n')) {
    const [, path, type, options = ''] = line.split(' ');
    if (type !== 'hugetlbfs' || path === undefined || options.split(',').includes('ro')) continue;
    found.push({ path: unescapePath(path), pageSize: pageSizeOf(options) ?? defaultPageSize(system) });
  }
  return found.sort((one, other) => one.pageSize - other.pageSize);
}

/** @throws `ERR_VFIO_NO_HUGEPAGES` where none is mounted */
export function hugeMount(system: SystemCalls): HugeMount {
  const [mount] = hugeMounts(system);
  if (mount !== undefined) return mount;
  throw new VfioError(
    'ERR_VFIO_NO_HUGEPAGES',
    'No hugetlbfs is mounted, and without an IOMMU memory must be huge pages.',
    {
      remedy: `Mount one and reserve pages:  mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages && ${reserve}`,
      path: '/proc/self/mounts',
    },
  );
}

function count(system: SystemCalls, { pageSize }: HugeMount, name: string): number | undefined {
  const text = system.readFile(`/sys/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB/${name}`);
  return typeof text === 'string' ? Number.parseInt(text, 10) : undefined;
}

/** Huge pages that nobody has taken; undefined where the kernel does not say. */
export const freeHugePages = (system: SystemCalls, mount: HugeMount): number | undefined =>
  count(system, mount, 'free_hugepages');

/** @returns the error for huge pages that ran out */
export function noHugePages(system: SystemCalls, mount: HugeMount, needed: number, errno: number): VfioError {
  const free = freeHugePages(system, mount);
  const total = count(system, mount, 'nr_hugepages');
  const there = free === undefined ? '' : `: ${free} of ${total ?? '?'} are free`;
  const wanted = needed === 1 ? 'a huge page was' : `${needed} huge pages were`;
  return new VfioError('ERR_VFIO_NO_HUGEPAGES', `${wanted} needed (${mount.pageSize / 1024} KiB each)${there}.`, {
    remedy: `Reserve more:  ${reserve}`,
    errno,
    syscall: 'mmap',
    path: mount.path,
    details: { needed, free, total, pageSize: mount.pageSize },
  });
}

const reserve = 'echo 64 > /proc/sys/vm/nr_hugepages';

function pageSizeOf(options: string): number | undefined {
  const match = /(?:^|,)pagesize=(\d+)([KMG]?)/.exec(options);
  return match === null ? undefined : Number(match[1]) * unit[match[2] ?? '']!;
}

/** Kernels before 4.20 do not name the page size in the mount's options: it is the machine's default one. */
function defaultPageSize(system: SystemCalls): number {
  const match = /^Hugepagesize:\s+(\d+) kB/m.exec(firstReadable(system, ['/proc/meminfo']));
  return match === null ? 2 * 1024 ** 2 : Number(match[1]) * 1024;
}

function firstReadable(system: SystemCalls, paths: readonly string[]): string {
  for (const path of paths) {
    const text = system.readFile(path);
    if (typeof text === 'string') return text;
  }
  return '';
}

/** Blanks and the like stand as octal numbers in this file. Source: fstab(5). */
const unescapePath = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
