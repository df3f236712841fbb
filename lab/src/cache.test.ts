import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cached, contentKey, remembered, withLock } from './cache.js';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lab-cache-test-'));
  vi.stubEnv('VFIO_LAB_CACHE', root);
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

describe('the cache', () => {
  it('makes a key once, and again only for other content', async () => {
    let made = 0;
    const make = async (folder: string) => {
      made++;
      writeFileSync(join(folder, 'x'), 'y');
    };
    const one = await cached('kind', contentKey('a', 'b'), make);
    expect(await cached('kind', contentKey('a', 'b'), make)).toBe(one);
    expect(await cached('kind', contentKey('ab'), make)).not.toBe(one);
    expect(made).toBe(2);
    expect(readdirSync(one)).toEqual(['x']);
  });

  it('keeps nothing of a preparation that failed, nor of one that was killed', async () => {
    mkdirSync(join(root, 'kind/key.partial-999999999'), { recursive: true });
    await expect(
      cached('kind', 'key', async () => {
        throw new Error('no disk');
      }),
    ).rejects.toThrow('no disk');
    expect(readdirSync(join(root, 'kind'))).toEqual([]);
  });

  it('lets one at a time do work of the same name, and takes over the lock of a process that is gone', async () => {
    mkdirSync(join(root, 'locks'));
    writeFileSync(join(root, 'locks/work'), '999999999');
    const order: string[] = [];
    const work = (name: string) =>
      withLock('work', async () => {
        order.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        order.push(`${name} out`);
      });
    await Promise.all([work('a'), work('b')]);
    expect([order[0]?.slice(0, 1), order[2]?.slice(0, 1)].sort()).toEqual(['a', 'b']);
    expect(order.map((text) => text.slice(2))).toEqual(['in', 'out', 'in', 'out']);
    expect(existsSync(join(root, 'locks/work'))).toBe(false);
  });

  it('remembers what was found while its folder is there', async () => {
    let asked = 0;
    const find = async () => {
      asked++;
      mkdirSync(join(root, 'found'), { recursive: true });
      return { root: join(root, 'found'), release: String(asked) };
    };
    expect((await remembered('name', false, find)).release).toBe('1');
    expect((await remembered('name', false, find)).release).toBe('1');
    expect((await remembered('name', true, find)).release).toBe('2');
    rmSync(join(root, 'found'), { recursive: true });
    expect((await remembered('name', false, find)).release).toBe('3');
  });
});
