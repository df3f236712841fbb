import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder } from './paths.js';

/** A short name for some content: the key under which something made from it is kept. */
export function contentKey(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Runs `work` while no other lab process on this cache runs work of the same name. */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lock = join(cacheFolder(), 'locks', name);
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch {
      const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : Number.NaN;
      if (Number.isInteger(holder) && holder > 0 && !alive(holder)) rmSync(lock, { force: true });
      else await sleep(300);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/**
 * The cached folder for a key; made by `make` in a folder beside it and renamed when it is whole, so that a
 * preparation that was interrupted leaves nothing that looks finished.
 */
export async function cached(kind: string, key: string, make: (folder: string) => Promise<void>): Promise<string> {
  const target = join(cacheFolder(), kind, key);
  if (existsSync(target)) return target;
  return withLock(`${kind}-${key}`, async () => {
    if (existsSync(target)) return target;
    // What an interrupted preparation left: nobody else makes this key while the lock is held.
    const mark = `${key}.partial-`;
    for (const name of existsSync(dirname(target)) ? readdirSync(dirname(target)) : []) {
      if (name.startsWith(mark)) rmSync(join(dirname(target), name), { recursive: true, force: true });
    }
    const partial = join(dirname(target), `${mark}${process.pid}`);
    mkdirSync(partial, { recursive: true });
    try {
      await make(partial);
      renameSync(partial, target);
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      throw error;
    }
    return target;
  });
}

/**
 * What was found out for `name` the last time, if the folder that it speaks of is still there; otherwise what `find`
 * finds out now. Keeps the lab from asking the network when the cache holds what it needs.
 */
export async function remembered<T extends { readonly root: string }>(
  name: string,
  refresh: boolean,
  find: () => Promise<T>,
): Promise<T> {
  return withLock(`memory-${name}`, async () => {
    const file = join(cacheFolder(), `${name}.json`);
    if (!refresh && existsSync(file)) {
      const known = JSON.parse(readFileSync(file, 'utf8')) as T;
      if (existsSync(known.root)) return known;
    }
    const found = await find();
    writeFileSync(`${file}.new`, JSON.stringify(found));
    renameSync(`${file}.new`, file);
    return found;
  });
}

/** A fresh folder for the records of one suite's runs. Older ones are removed but for the newest 40. */
export function recordsFolder(suite: string): string {
  const runs = join(cacheFolder(), 'runs');
  mkdirSync(runs, { recursive: true });
  const older = readdirSync(runs)
    .map((name) => join(runs, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of older.slice(39)) rmSync(folder, { recursive: true, force: true });
  const folder = join(runs, `${suite}-${new Date().toISOString().replace(/[:.]/g, '')}-${process.pid}`);
  mkdirSync(folder);
  return folder;
}
