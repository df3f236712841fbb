/** Directories that hold files of the program: /run, /tmp and hugetlbfs. */

import { ByteStore } from '../byte-store.js';
import { EISDIR, ENOENT } from '../errno.js';
import { type Memory, MemoryFile } from '../memory.js';
import type { DirectoryNode, FileNode, Node } from './nodes.js';

interface RamFile extends FileNode {
  readonly store: ByteStore;
}

/** A directory of files in memory. With pages of 2 MiB it is hugetlbfs: files there can be mapped and not written. */
export class RamDirectory implements DirectoryNode {
  readonly kind = 'directory';
  private readonly files = new Map<string, RamFile>();

  constructor(
    private readonly memory: Memory,
    private readonly pageSize: number,
    private readonly folders: Record<string, DirectoryNode> = {},
  ) {}

  names(): string[] {
    return [...Object.keys(this.folders), ...this.files.keys()];
  }

  get(name: string): Node | undefined {
    return this.files.get(name) ?? (Object.hasOwn(this.folders, name) ? this.folders[name] : undefined);
  }

  create(name: string): FileNode {
    const store = new ByteStore(0);
    const { memory, pageSize } = this;
    let openings = 0;
    let removed = false;
    const forget = () => {
      if (removed && openings === 0) memory.drop(store);
    };
    const file: RamFile & { gone(): void } = {
      kind: 'file',
      mode: 0o644,
      store,
      read: () => {
        const bytes = new Uint8Array(store.length);
        store.read(0, bytes);
        return bytes;
      },
      write: (text) => {
        const bytes = new TextEncoder().encode(text);
        store.truncate(0);
        store.length = bytes.length;
        store.write(0, bytes);
        return 0;
      },
      open: () => {
        openings++;
        return new MemoryFile(name, store, pageSize, memory, () => {
          openings--;
          forget();
        });
      },
      gone: () => {
        removed = true;
        forget();
      },
    };
    this.files.set(name, file);
    return file;
  }

  remove(name: string): number {
    const file = this.files.get(name) as (RamFile & { gone(): void }) | undefined;
    if (file === undefined) return Object.hasOwn(this.folders, name) ? -EISDIR : -ENOENT;
    this.files.delete(name);
    file.gone();
    return 0;
  }
}
