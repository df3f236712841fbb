/** On the kernel that runs these tests, where it lets them mount hugetlbfs and have huge pages. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attachDma } from 'vfio-core';
import { linux } from 'vfio-core/linux';
import { afterAll, describe, expect, it } from 'vitest';
import { hugeMounts } from './hugetlbfs.js';
import { leftovers } from './leftovers.js';
import { PhysicalSpace } from './physical-space.js';
import { self } from './process-identity.js';

const reserved = '/proc/sys/vm/nr_hugepages';
const HUGE = 2 << 20;

/** A hugetlbfs of this test alone, and how to take it away; undefined where the machine allows none. */
function mountHugePages(): { path: string; undo: () => void } | undefined {
  const before = existsSync(reserved) ? readFileSync(reserved, 'utf8') : '0';
  const path = mkdtempSync(join(tmpdir(), 'huge-'));
  try {
    execFileSync('mount', ['-t', 'hugetlbfs', '-o', 'pagesize=2M', 'none', path], { stdio: 'ignore' });
  } catch {
    rmdirSync(path);
    return undefined;
  }
  const undo = (): void => {
    execFileSync('umount', [path]);
    rmdirSync(path);
    writeFileSync(reserved, before);
  };
  try {
    writeFileSync(reserved, String(Math.max(Number(before), 8)));
    if (/^HugePages_Free:\s+[4-9]|^HugePages_Free:\s+\d\d/m.test(readFileSync('/proc/meminfo', 'utf8')))
      return { path, undo };
  } catch {
    // No right to, or no memory in pieces that large.
  }
  undo();
  return undefined;
}

const mount = mountHugePages();
const title = 'memory without an IOMMU, on this kernel';
const machine = mount === undefined ? describe.skip : describe;

machine(mount === undefined ? `${title} (skipped: it takes root, hugetlbfs and four free huge pages)` : title, () => {
  const system = linux();
  /** Only the mount of this test. */
  const here = new Proxy(system, {
    get(target, name) {
      if (name === 'readFile') {
        return (path: string) =>
          path === '/proc/self/mounts' ? `none ${mount!.path} hugetlbfs rw,pagesize=2M 0 0\n` : target.readFile(path);
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

  afterAll(() => mount!.undo());

  it('has the physical addresses of pagemap, zeroed bytes, and pages of its own', () => {
    const space = new PhysicalSpace(here, '0000:01:00.0');
    const one = space.allocate(100);
    const other = space.allocate(8192, { alignment: 8192 });
    expect(one.address).toBeGreaterThan(0n);
    expect(one.address % 4096n).toBe(0n);
    expect(other.address % 8192n).toBe(0n);
    expect([...one.bytes, ...other.bytes].every((byte) => byte === 0)).toBe(true);
    one.bytes.fill(1);
    expect(other.bytes.every((byte) => byte === 0)).toBe(true);
    const view = attachDma(structuredClone(one.share()), { backend: here });
    expect([...view.bytes]).toEqual([...one.bytes]);
    view.close();
    const { bytes } = one;
    one.close();
    expect(bytes.length).toBe(0);
    expect(space.allocate(100).bytes.every((byte) => byte === 0)).toBe(true);
    space.close();
  });

  it('is a file that is there until close, and no longer', () => {
    const space = new PhysicalSpace(here, '0000:01:00.0');
    const buffer = space.allocate(2 * HUGE, { contiguous: false });
    const { pid, start } = self(here);
    expect(readdirSync(mount!.path)).toEqual([`vfio-noiommu.0000:01:00.0.${pid}-${start}.0`]);
    expect(leftovers(here, hugeMounts(here), '0000:01:00.0')).toEqual([]);
    expect(buffer.low(HUGE) % 4096).toBe(0);
    buffer.bytes[2 * HUGE - 1] = 9;
    space.close();
    expect(readdirSync(mount!.path)).toEqual([]);
    expect(buffer.bytes.length).toBe(0);
  });

  it('says how many huge pages are free when they run out, and leaves none of them taken', () => {
    const free = () => /^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1];
    const before = free();
    const space = new PhysicalSpace(here, '0000:01:00.0');
    expect(() => space.allocate(4096 * HUGE, { contiguous: false })).toThrow(
      expect.objectContaining({ code: 'ERR_VFIO_NO_HUGEPAGES' }),
    );
    space.close();
    expect(free()).toBe(before);
  });
});
