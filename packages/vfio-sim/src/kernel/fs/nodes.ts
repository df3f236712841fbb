/** A small virtual file system: nodes, and finding them by path. */

import { EACCES, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR } from '../errno.js';
import { OpenFile } from '../fds.js';

export interface FileNode {
  readonly kind: 'file';
  readonly mode: number;
  /** Contents, or a negative errno. */
  read?(): string | Uint8Array | number;
  /** Takes what is written: 0 or a negative errno. */
  write?(text: string): number;
  /** Files that are more than text. */
  open?(): OpenFile | number;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  names(): string[];
  get(name: string): Node | undefined;
  /** Creates an empty file, where the directory can. */
  create?(name: string): FileNode | number;
  remove?(name: string): number;
}

export interface LinkNode {
  readonly kind: 'link';
  readonly target: string;
}

export interface CharacterNode {
  readonly kind: 'character device';
  readonly mode: number;
  open(): OpenFile | number;
}

export type Node = FileNode | DirectoryNode | LinkNode | CharacterNode;

/** A directory of which the names are known; a value may be made when it is asked for, and then may be missing. */
export function directory(entries: Record<string, Node | (() => Node | undefined)>): DirectoryNode {
  const get = (name: string) => {
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
    return typeof entry === 'function' ? entry() : entry;
  };
  return { kind: 'directory', names: () => Object.keys(entries).filter((name) => get(name) !== undefined), get };
}

/** A directory whose names change. */
export const listing = (names: () => string[], get: (name: string) => Node | undefined): DirectoryNode => ({
  kind: 'directory',
  names,
  get: (name) => (names().includes(name) ? get(name) : undefined),
});

export const link = (target: string): LinkNode => ({ kind: 'link', target });

/** A read-only text file. */
export const text = (read: () => string | Uint8Array | number): FileNode => ({ kind: 'file', mode: 0o444, read });

/** A file that acts when it is written. */
export const action = (write: (text: string) => number): FileNode => ({ kind: 'file', mode: 0o200, write });

/** A file that is read and written as text. */
export const setting = (read: () => string, write: (text: string) => number): FileNode => ({
  kind: 'file',
  mode: 0o644,
  read,
  write,
});

/** A path, resolved; negative errno where it leads nowhere. `follow` says whether a link at its end is followed. */
export function resolve(root: DirectoryNode, path: string, follow: boolean): Node | number {
  if (!path.startsWith('/')) return -ENOENT;
  let budget = 40;
  let stack: Node[] = [root];
  const left = split(path);
  while (left.length > 0) {
    const name = left.shift() as string;
    if (name === '..') {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const here = stack.at(-1) as Node;
    if (here.kind !== 'directory') return -ENOTDIR;
    const next = here.get(name);
    if (next === undefined) return -ENOENT;
    if (next.kind === 'link' && (left.length > 0 || follow)) {
      if (--budget === 0) return -ELOOP;
      if (next.target.startsWith('/')) stack = [root];
      left.unshift(...split(next.target));
      continue;
    }
    stack.push(next);
  }
  return stack.at(-1) as Node;
}

const split = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

/** The directory of a path and the name in it. */
export function parentOf(root: DirectoryNode, path: string): { directory: DirectoryNode; name: string } | number {
  const cut = path.lastIndexOf('/');
  const parent = resolve(root, path.slice(0, cut) || '/', true);
  if (typeof parent === 'number') return parent;
  return parent.kind === 'directory' ? { directory: parent, name: path.slice(cut + 1) } : -ENOTDIR;
}

/** What a node reads as: bytes, or a negative errno. */
export function contents(node: Node): Uint8Array | number {
  if (node.kind === 'directory') return -EISDIR;
  if (node.kind !== 'file') return -EINVAL;
  const found = node.read?.() ?? -EACCES;
  return typeof found === 'string' ? new TextEncoder().encode(found) : found;
}

/** An open text file; read afresh by each call, as sysfs is. */
export class TextFile extends OpenFile {
  constructor(
    readonly path: string,
    private readonly node: FileNode,
  ) {
    super();
  }

  override pread(into: Uint8Array, offset: number): number {
    const bytes = contents(this.node);
    if (typeof bytes === 'number') return bytes;
    const part = bytes.subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  override pwrite(from: Uint8Array, _offset: number): number {
    const status = this.node.write?.(new TextDecoder().decode(from)) ?? -EACCES;
    return status < 0 ? status : from.length;
  }
}
