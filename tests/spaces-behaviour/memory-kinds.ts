/** The kinds of memory that a program can have devices reach. */

import { type DmaBuffer, type DmaSpace, type SystemCalls, VfioError } from 'vfio-core';

/** Memory in an address space, and how to let it go. */
export interface Made {
  readonly buffer: DmaBuffer;
  /** The program's own view of it, made by other means than the buffer's where there are such. */
  readonly bytes: Uint8Array;
  readonly free: () => void;
}

export interface MemoryKind {
  readonly title: string;
  /** Bytes; all kinds make as much. */
  readonly make: (space: DmaSpace & { readonly system: SystemCalls }) => Made;
  /** Huge pages that it needs: how many, of how many bytes. */
  readonly hugePages?: number;
}

/** What each kind makes, but huge pages of 1 GiB. */
export const size = 2 ** 21;
const page = 65536;

const allocated = (hugePages?: number) => (space: DmaSpace) => {
  const buffer = space.allocate(size, hugePages === undefined ? {} : { hugePages });
  return { buffer, bytes: buffer.bytes, free: () => buffer.close() };
};

const compiled = (shared: boolean) => (space: DmaSpace) => {
  const pages = size / page;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  const buffer = space.map(memory);
  return { buffer, bytes: new Uint8Array(memory.buffer), free: () => buffer.close() };
};

export const memoryKinds: readonly MemoryKind[] = [
  { title: 'memory that the space allocates', make: allocated() },
  { title: 'a WebAssembly memory', make: compiled(false) },
  { title: 'a shared WebAssembly memory', make: compiled(true) },
  {
    title: 'some pages of a WebAssembly memory',
    make: (space) => {
      const memory = new WebAssembly.Memory({ initial: 2 + size / page, maximum: 2 + size / page });
      const bytes = new Uint8Array(memory.buffer, page, size);
      const buffer = space.map(bytes);
      return { buffer, bytes, free: () => buffer.close() };
    },
  },
  {
    title: 'a part of a memfd',
    make: (space) => {
      const { system } = space;
      const fd = system.memfd('spaces');
      system.truncate(fd, 2 * size);
      const buffer = space.map({ fd, offset: size, length: size });
      const view = system.memory({ kind: 'file', fd, offset: size, length: size });
      system.close(fd);
      if (typeof view === 'number') throw new Error(`mapping the memfd: ${view}`);
      const free = () => {
        buffer.close();
        view.unmap();
      };
      return { buffer, bytes: view.bytes, free };
    },
  },
  { title: 'huge pages of 2 MiB', make: allocated(2 ** 21), hugePages: 2 ** 21 },
  { title: 'huge pages of 1 GiB', make: allocated(2 ** 30), hugePages: 2 ** 30 },
];

/** Memory that cannot be had as said, and the code that says so. */
export const refused: readonly { readonly title: string; readonly map: (space: DmaSpace) => unknown }[] = [
  { title: 'an ordinary array', map: (space) => space.map(new Uint8Array(8192)) },
  { title: 'a SharedArrayBuffer', map: (space) => space.map(new SharedArrayBuffer(65536)) },
  {
    title: 'an array that can grow',
    map: (space) => space.map(Reflect.construct(ArrayBuffer, [65536, { maxByteLength: 131072 }]) as ArrayBuffer),
  },
  {
    title: 'a part of a page',
    map: (space) => space.map(new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer, 16, 4096)),
  },
  { title: 'no bytes of a file', map: (space) => space.map({ fd: 0, length: 0 }) },
];

/** The code that something is refused with; undefined when it is not. */
export function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
  return undefined;
}
