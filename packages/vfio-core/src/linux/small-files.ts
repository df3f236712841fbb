/** Small files through `node:fs`, with errnos instead of exceptions. Needs no addon. */

import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { FileStatus } from '../seam/system-calls.js';

/** What `call` returns, or the negative errno of the system call that failed in it. Other exceptions pass. */
function orErrno<T>(call: () => T): T | number {
  try {
    return call();
  } catch (thrown) {
    const { errno, syscall } = thrown as { errno?: unknown; syscall?: unknown };
    if (typeof errno === 'number' && errno < 0 && syscall !== undefined) return errno;
    throw thrown;
  }
}

const text = (value: unknown, name: string): void => {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string`);
};

export function readFile(path: string): string | number {
  text(path, 'path');
  return orErrno(() => readFileSync(path, 'utf8'));
}

/** One write(2), since a file of sysfs wants its value whole. Creates a file where the file system can. */
export function writeFile(path: string, content: string): number {
  text(path, 'path');
  text(content, 'text');
  // An attempt to create in the kernel's own file systems would be answered by EACCES and hide that the file is missing.
  const create = /^\/(sys|proc)\//.test(path) ? 0 : constants.O_CREAT;
  return orErrno(() => {
    const fd = openSync(path, constants.O_WRONLY | constants.O_TRUNC | create, 0o644);
    try {
      writeSync(fd, content);
      return 0;
    } finally {
      closeSync(fd);
    }
  });
}

export function list(path: string): string[] | number {
  text(path, 'path');
  return orErrno(() => readdirSync(path));
}

export function readLink(path: string): string | number {
  text(path, 'path');
  return orErrno(() => readlinkSync(path));
}

export function status(path: string): FileStatus | number {
  text(path, 'path');
  return orErrno(() => {
    const found = lstatSync(path);
    return { type: typeOf(found), mode: found.mode & 0o7777, uid: found.uid, gid: found.gid };
  });
}

function typeOf(found: Stats): FileStatus['type'] {
  if (found.isFile()) return 'file';
  if (found.isDirectory()) return 'directory';
  if (found.isSymbolicLink()) return 'link';
  if (found.isCharacterDevice()) return 'character device';
  if (found.isBlockDevice()) return 'block device';
  return 'other';
}

export function unlink(path: string): number {
  text(path, 'path');
  return orErrno(() => {
    unlinkSync(path);
    return 0;
  }) as number;
}
