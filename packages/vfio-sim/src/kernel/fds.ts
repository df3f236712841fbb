/** Open files and the table of descriptors. */

import type { DeviceMapping } from 'vfio-core';
import type { UserArgument } from './argument.js';
import { EBADF, EINVAL, EMFILE, ENODEV, ENOTTY } from './errno.js';

/** What stands behind a descriptor. A call that a file does not have answers as Linux does. */
export abstract class OpenFile {
  /** For messages and {@link FdTable.entries}: a path, or `anon_inode:[eventfd]`. */
  abstract readonly path: string;
  /** O_RDONLY, O_WRONLY or O_RDWR. */
  access = 2;
  private references = 1;

  /** What its fdinfo says beyond position and flags: whole lines. */
  get details(): string {
    return '';
  }

  ioctl(_request: number, _argument: UserArgument): number {
    return -ENOTTY;
  }

  pread(_into: Uint8Array, _offset: number): number {
    return -EINVAL;
  }

  pwrite(_from: Uint8Array, _offset: number): number {
    return -EINVAL;
  }

  mapDevice(_offset: number, _length: number, _protection: number): DeviceMapping | number {
    return -ENODEV;
  }

  truncate(_bytes: number): number {
    return -EINVAL;
  }

  /** The last reference went. */
  protected released(): void {}

  /** One more holder: another descriptor, a mapping, another file. */
  hold(): void {
    this.references++;
  }

  release(): void {
    if (--this.references === 0) this.released();
  }
}

export class FdTable {
  private readonly table = new Map<number, OpenFile>();

  /** @param limit how many descriptors the process may have, 0 to 2 included */
  constructor(private readonly limit: number) {}

  /** Whether one more would be too many. */
  get full(): boolean {
    return this.table.size + 3 >= this.limit;
  }

  /** @returns the lowest free number, or -EMFILE (and then the file is released) */
  add(file: OpenFile): number {
    if (this.full) {
      file.release();
      return -EMFILE;
    }
    let fd = 3;
    while (this.table.has(fd)) fd++;
    this.table.set(fd, file);
    return fd;
  }

  get(fd: number): OpenFile | undefined {
    return this.table.get(fd);
  }

  close(fd: number): number {
    const file = this.table.get(fd);
    if (file === undefined) return -EBADF;
    this.table.delete(fd);
    file.release();
    return 0;
  }

  /** Number and path of every open descriptor. */
  entries(): { fd: number; path: string }[] {
    return [...this.table].map(([fd, file]) => ({ fd, path: file.path })).sort((a, b) => a.fd - b.fd);
  }

  closeAll(): void {
    for (const fd of [...this.table.keys()]) this.close(fd);
  }
}
