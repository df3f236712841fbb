/** A disk in a file. */

import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { VfioError } from 'vfio-core';
import type { BlockSize, Disk } from '../disks/disk.js';
import { checkGeometry } from '../disks/memory-disk.js';

export interface FileDiskOptions {
  /** Capacity. A file that does not exist is made with this size (sparse), a shorter one grows to it. The file's own size by default. */
  readonly bytes?: number;
  readonly blockSize?: BlockSize;
  /** The file is opened for reading only, and the namespace is write-protected. */
  readonly readOnly?: boolean;
}

/**
 * A disk in a file, for example a file system's image. Its content stays after {@link Disk.close}.
 *
 * Throws `ERR_VFIO_ARGUMENT` for a capacity that is not a positive multiple of the block size or that exceeds a read-only file, and the
 * file system's own error when the file cannot be opened.
 */
export function fileDisk(path: string, options: FileDiskOptions = {}): Disk {
  const blockSize = options.blockSize ?? 512;
  if (options.bytes !== undefined) checkGeometry(options.bytes, blockSize);
  const fd = openFile(path, options);
  try {
    let size = fstatSync(fd).size;
    const wanted = options.bytes ?? size;
    checkGeometry(wanted, blockSize);
    if (wanted > size) {
      if (options.readOnly) {
        throw new VfioError(
          'ERR_VFIO_ARGUMENT',
          `The file has ${size} bytes and cannot grow to ${wanted}: it is read-only.`,
          {
            path,
          },
        );
      }
      ftruncateSync(fd, wanted);
      size = wanted;
    }
    return new FileDisk(fd, blockSize, wanted / blockSize, options.readOnly ?? false);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openFile(path: string, options: FileDiskOptions): number {
  if (options.readOnly) return openSync(path, 'r');
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if (options.bytes === undefined || (error as { code?: string }).code !== 'ENOENT') throw error;
    return openSync(path, 'wx+');
  }
}

class FileDisk implements Disk {
  private closed = false;

  constructor(
    private readonly fd: number,
    readonly blockSize: number,
    readonly blocks: number,
    readonly readOnly: boolean,
  ) {}

  read(block: number, into: Uint8Array): void {
    const position = block * this.blockSize;
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.fd, into, done, into.length - done, position + done);
      // Somebody cut the file: what is missing reads as zeroes, like a hole.
      if (count === 0) {
        into.fill(0, done);
        return;
      }
      done += count;
    }
  }

  write(block: number, from: Uint8Array): void {
    const position = block * this.blockSize;
    for (let done = 0; done < from.length; ) {
      done += writeSync(this.fd, from, done, from.length - done, position + done);
    }
  }

  clear(block: number, count: number): void {
    const zeroes = new Uint8Array(Math.min(count * this.blockSize, 1 << 20));
    const atOnce = zeroes.length / this.blockSize;
    for (let done = 0; done < count; done += atOnce) {
      this.write(block + done, zeroes.subarray(0, Math.min(count - done, atOnce) * this.blockSize));
    }
  }

  flush(): void {
    if (!this.readOnly) fsyncSync(this.fd);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.fd);
  }
}
