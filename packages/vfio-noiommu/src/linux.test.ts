/** On the kernel that runs these tests, where it lets them mount hugetlbfs and have huge pages. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { attachDma } from 'vfio-core';
import { linux } from 'vfio-core/linux';
import { afterAll, describe, expect, it } from 'vitest';
import { addonPath } from '../../vfio-core/src/linux/addon.js';
import { hasAddon } from '../../vfio-core/src/testing/describe-linux.js';
import { hugeMounts } from './hugetlbfs.js';
import { leftovers, sweepLeftovers } from './leftovers.js';
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

/** A program that allocates, says where, and waits to be killed or leaves without closing. */
async function bundled(home: string): Promise<string> {
  const outfile = join(home, 'dist', 'linux', 'program.mjs');
  await build({
    stdin: {
      contents: `
        import { linux } from 'vfio-core/linux';
        import { PhysicalSpace } from './physical-space.js';
        const system = linux();
        const [, , folder, leave] = process.argv;
        const mounts = 'none ' + folder + ' hugetlbfs rw,pagesize=2M 0 0';
        const { readFile } = system;
        system.readFile = (path) => (path === '/proc/self/mounts' ? mounts : readFile.call(system, path));
        const space = new PhysicalSpace(system, '0000:01:00.0');
        space.allocate(4096).bytes.fill(1);
        console.log(space.path);
        if (leave === undefined) setInterval(() => {}, 1000);
      `,
      resolveDir: dirname(fileURLToPath(import.meta.url)),
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    logLevel: 'error',
    tsconfig: fileURLToPath(new URL('../../../tsconfig.json', import.meta.url)),
  });
  writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
  symlinkSync(dirname(dirname(addonPath())), join(home, 'prebuilds'));
  return outfile;
}

const mount = hasAddon ? mountHugePages() : undefined;
const title = 'memory without an IOMMU, on this kernel';
const machine = mount === undefined ? describe.skip : describe;

machine(
  mount === undefined
    ? `${title} (skipped: it takes the native addon, root, hugetlbfs and four free huge pages)`
    : title,
  () => {
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

    it('outlives a killed process as a file, which is then known as a leftover and can be swept', async () => {
      const home = mkdtempSync(join(tmpdir(), 'vfio-noiommu-'));
      try {
        const program = await bundled(home);
        const child = spawn(process.execPath, [program, mount!.path], { stdio: ['ignore', 'pipe', 'inherit'] });
        const [said] = (await once(child.stdout, 'data')) as [Buffer];
        child.kill('SIGKILL');
        await once(child, 'exit');
        const path = said.toString().trim();
        const mounts = hugeMounts(here);
        expect(leftovers(here, mounts, '0000:01:00.0')).toEqual([path]);
        expect(leftovers(here, mounts, '0000:02:00.0')).toEqual([]);
        expect(sweepLeftovers(here, mounts, '0000:01:00.0', () => true)).toEqual([]);
        expect(existsSync(path)).toBe(true);
        expect(sweepLeftovers(here, mounts, '0000:01:00.0', () => false)).toEqual([path]);
        expect(readdirSync(mount!.path)).toEqual([]);
      } finally {
        rmSync(home, { recursive: true, force: true });
      }
    });

    it('is removed at the end of a process that closes nothing', async () => {
      const home = mkdtempSync(join(tmpdir(), 'vfio-noiommu-'));
      try {
        const program = await bundled(home);
        execFileSync(process.execPath, [program, mount!.path, 'leave']);
        expect(readdirSync(mount!.path)).toEqual([]);
      } finally {
        rmSync(home, { recursive: true, force: true });
      }
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
  },
);
