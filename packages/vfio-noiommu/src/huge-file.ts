/**
 * The file on hugetlbfs whose pages are a device's memory. It has a name on purpose: the kernel frees the memory of a
 * killed process before it closes its files, the device among them, and a page that only the process held would be
 * somebody else's while the device still writes it. Pages of a named file stay.
 */

import {
  check,
  Errno,
  exitPhase,
  type Fd,
  type MemoryMapping,
  OpenFlag,
  type SystemCalls,
  systemError,
} from 'vfio-core';
import { type HugeMount, noHugePages } from './hugetlbfs.js';
import { fileName } from './leftovers.js';
import { self } from './process-identity.js';

export class HugeFile {
  readonly fd: Fd;
  readonly path: string;
  readonly mount: HugeMount;
  private readonly system: SystemCalls;
  private readonly exits: readonly number[];
  private size = 0;

  private constructor(system: SystemCalls, mount: HugeMount, path: string, fd: Fd) {
    this.system = system;
    this.mount = mount;
    this.path = path;
    this.fd = fd;
    // After the device's own step of this list, which closes it.
    this.exits = [
      system.onExit(exitPhase['memory freed'], { call: 'unlink', path }),
      system.onExit(exitPhase['memory freed'], { call: 'close', fd }),
    ];
  }

  /** Throws `ERR_VFIO_PERMISSION`, ... */
  static create(system: SystemCalls, mount: HugeMount, address: string): HugeFile {
    const process = self(system);
    const flags = OpenFlag.readWrite | OpenFlag.create | OpenFlag.exclusive | OpenFlag.closeOnExec;
    for (let number = 0; ; number++) {
      const path = `${mount.path}/${fileName(address, process, number)}`;
      const fd = system.open(path, flags, 0o600);
      if (fd >= 0) return new HugeFile(system, mount, path, fd);
      if (fd !== -Errno.EEXIST) throw systemError(fd, { what: `creating ${path}`, syscall: 'open', path });
    }
  }

  /** Maps `count` huge pages from number `index` on. Throws `ERR_VFIO_NO_HUGEPAGES`. */
  map(index: number, count: number): MemoryMapping {
    const { pageSize } = this.mount;
    const offset = index * pageSize;
    const length = count * pageSize;
    if (offset + length > this.size) {
      check(this.system.truncate(this.fd, offset + length), { syscall: 'ftruncate', path: this.path });
      this.size = offset + length;
    }
    const mapping = this.system.memory({ kind: 'file', fd: this.fd, offset, length });
    if (typeof mapping !== 'number') return mapping;
    if (mapping === -Errno.ENOMEM) throw noHugePages(this.system, this.mount, count, Errno.ENOMEM);
    throw systemError(mapping, { what: `mapping ${length} bytes of ${this.path}`, syscall: 'mmap', path: this.path });
  }

  /** Gives one huge page back to the machine. Best effort: it goes with the file otherwise. */
  punch(index: number): void {
    const { pageSize } = this.mount;
    this.system.punchHole(this.fd, index * pageSize, pageSize);
  }

  /** Only once the device was closed. */
  remove(): void {
    this.system.unlink(this.path);
    for (const exit of this.exits) this.system.cancelExit(exit);
    this.system.close(this.fd);
  }
}
