import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the checkout. */
export const checkout = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** The folder with one folder per suite. */
export const suitesFolder = join(checkout, 'lab/suites');

/** Where prepared kernels, modules, initial file systems and the records of runs are kept. */
export function cacheFolder(): string {
  // biome-ignore lint/suspicious/noUndeclaredEnvVars: no cached task reads it
  return resolve(process.env.VFIO_LAB_CACHE ?? join(checkout, '.cache/lab'));
}

/** The path of a program on PATH or in the system folders, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}
