/** What every backend must do alike. The same tests run against the Linux backend and against the simulation. */

import { describe, expect, it } from 'vitest';
import { type EventWatch, type MemoryMapping, OpenFlag, type SystemCalls } from '../seam/system-calls.js';

const ENOENT = -2;
const EBADF = -9;
const EAGAIN = -11;
const EINVAL = -22;
const ENOTTY = -25;
const missing = '/no/such/file';
/** No process has this many descriptors. */
const notOpen = 0x7fff_0000;

function mapping(result: MemoryMapping | number): MemoryMapping {
  expect(result).toBeTypeOf('object');
  return result as MemoryMapping;
}

function watching(result: EventWatch | number): EventWatch {
  expect(result).toBeTypeOf('object');
  return result as EventWatch;
}

/**
 * Describes the contract of {@link SystemCalls}.
 * @param make a fresh backend for each test; `undefined` where this machine has none, and then all is skipped
 */
export function describeSystemCalls(name: string, make: () => SystemCalls | undefined): void {
  const backend = (): SystemCalls => make() as SystemCalls;

  describe.skipIf(make() === undefined)(`system calls of ${name}`, () => {
    describe('eventfd', () => {
      it('gives its value once, then answers EAGAIN until somebody adds to it', () => {
        const system = backend();
        const fd = system.eventfd(3);
        expect(fd).toBeGreaterThanOrEqual(0);
        expect(system.eventfdRead(fd)).toBe(3);
        expect(system.eventfdRead(fd)).toBe(EAGAIN);
        expect(system.eventfdWrite(fd, 2)).toBe(0);
        expect(system.eventfdWrite(fd, 5)).toBe(0);
        expect(system.eventfdRead(fd)).toBe(7);
        expect(system.close(fd)).toBe(0);
      });

      it('gives each eventfd a descriptor of its own', () => {
        const system = backend();
        const [a, b] = [system.eventfd(1), system.eventfd(2)];
        expect(a).not.toBe(b);
        expect(system.eventfdRead(b)).toBe(2);
        expect(system.eventfdRead(a)).toBe(1);
        system.close(a);
        system.close(b);
      });

      it('is polled without taking its value', () => {
        const system = backend();
        const fd = system.eventfd(0);
        expect(system.poll(fd, 0)).toBe(0);
        expect(system.poll(fd, 1)).toBe(0);
        system.eventfdWrite(fd, 4);
        expect(system.poll(fd, 0)).toBe(1);
        expect(system.poll(fd, -1)).toBe(1);
        expect(system.eventfdRead(fd)).toBe(4);
        expect(system.poll(fd, 0)).toBe(0);
        system.close(fd);
      });
    });

    describe('watch', () => {
      it('calls back with the value, taken, each time that it is above 0', async () => {
        const system = backend();
        const fd = system.eventfd(0);
        const counts: number[] = [];
        let next: () => void = () => {};
        const watch = watching(
          system.watch(fd, (count) => {
            counts.push(count);
            next();
          }),
        );
        watch.ref();
        for (const count of [3, 4]) {
          const arrived = new Promise<void>((resolve) => {
            next = resolve;
          });
          system.eventfdWrite(fd, count);
          await arrived;
          expect(system.eventfdRead(fd)).toBe(EAGAIN);
        }
        expect(counts).toEqual([3, 4]);
        watch.close();
        system.close(fd);
      });

      it('finds what was there before it, and what came in several pieces as one sum', async () => {
        const system = backend();
        const fd = system.eventfd(1);
        system.eventfdWrite(fd, 1);
        let watch: EventWatch | undefined;
        const count = await new Promise<number>((resolve) => {
          watch = watching(system.watch(fd, resolve));
          watch.ref();
          system.eventfdWrite(fd, 5);
        });
        expect(count).toBe(7);
        watch?.close();
        system.close(fd);
      });

      it('never calls back within the call that adds', async () => {
        const system = backend();
        const fd = system.eventfd(0);
        let writing = false;
        let within = false;
        let watch: EventWatch | undefined;
        await new Promise<void>((resolve) => {
          watch = watching(
            system.watch(fd, () => {
              within = writing;
              resolve();
            }),
          );
          watch.ref();
          writing = true;
          system.eventfdWrite(fd, 1);
          writing = false;
        });
        expect(within).toBe(false);
        watch?.close();
        system.close(fd);
      });

      it('is silent after close, which may come twice, and leaves the eventfd open', async () => {
        const system = backend();
        const fd = system.eventfd(0);
        const other = system.eventfd(0);
        const counts: number[] = [];
        const watch = watching(system.watch(fd, (count) => counts.push(count)));
        watch.close();
        watch.close();
        watch.ref();
        watch.unref();
        system.eventfdWrite(fd, 9);
        // A second eventfd that is served proves that the loop went round.
        await new Promise<void>((resolve) => {
          const proof = watching(
            system.watch(other, () => {
              proof.close();
              resolve();
            }),
          );
          proof.ref();
          system.eventfdWrite(other, 1);
        });
        expect(counts).toEqual([]);
        expect(system.eventfdRead(fd)).toBe(9);
        system.close(fd);
        system.close(other);
      });

      it('may be closed by its own callback', async () => {
        const system = backend();
        const fd = system.eventfd(1);
        await new Promise<void>((resolve) => {
          const watch = watching(
            system.watch(fd, () => {
              watch.close();
              resolve();
            }),
          );
          watch.ref();
        });
        expect(system.eventfdWrite(fd, 1)).toBe(0);
        expect(system.eventfdRead(fd)).toBe(1);
        system.close(fd);
      });
    });

    describe('memory', () => {
      it('is zeroed, writable, whole pages, and has an address of its own', () => {
        const system = backend();
        const length = 2 * system.pageSize;
        const a = mapping(system.memory({ kind: 'anonymous', length }));
        const b = mapping(system.memory({ kind: 'anonymous', length }));
        expect(a.length).toBe(length);
        expect(a.bytes.length).toBe(length);
        expect(a.bytes.every((byte) => byte === 0)).toBe(true);
        expect(a.address % BigInt(system.pageSize)).toBe(0n);
        const apart = a.address < b.address ? b.address - a.address : a.address - b.address;
        expect(apart).toBeGreaterThanOrEqual(BigInt(length));
        a.bytes.fill(7);
        expect(b.bytes.every((byte) => byte === 0)).toBe(true);
        a.unmap();
        b.unmap();
      });

      it('is detached by unmap, which may come twice', () => {
        const system = backend();
        const memory = mapping(system.memory({ kind: 'anonymous', length: system.pageSize }));
        const { bytes } = memory;
        bytes[0] = 1;
        memory.unmap();
        memory.unmap();
        expect(bytes.length).toBe(0);
        expect(bytes[0]).toBeUndefined();
        expect(memory.length).toBe(system.pageSize);
      });

      it('of a memory file is the file: what one way writes, the other reads', () => {
        const system = backend();
        const page = system.pageSize;
        const fd = system.memfd('contract');
        expect(fd).toBeGreaterThanOrEqual(0);
        expect(system.truncate(fd, 3 * page)).toBe(0);
        const memory = mapping(system.memory({ kind: 'file', fd, offset: page, length: page }));
        expect(system.pwrite(fd, Uint8Array.of(1, 2, 3), page + 5)).toBe(3);
        expect([...memory.bytes.subarray(4, 9)]).toEqual([0, 1, 2, 3, 0]);
        memory.bytes[page - 1] = 42;
        const read = new Uint8Array(2);
        expect(system.pread(fd, read, 2 * page - 1)).toBe(2);
        expect([...read]).toEqual([42, 0]);
        memory.unmap();
        system.close(fd);
      });

      it('of a memory file is the same in every mapping of it, and outlives the descriptor', () => {
        const system = backend();
        const page = system.pageSize;
        const fd = system.memfd('contract');
        system.truncate(fd, page);
        const a = mapping(system.memory({ kind: 'file', fd, offset: 0, length: page }));
        const b = mapping(system.memory({ kind: 'file', fd, offset: 0, length: page }));
        expect(system.close(fd)).toBe(0);
        a.bytes[100] = 5;
        expect(b.bytes[100]).toBe(5);
        b.bytes[101] = 6;
        expect(a.bytes[101]).toBe(6);
        a.unmap();
        b.unmap();
      });

      it('of a memory file reads zero where a hole was punched, and nowhere else', () => {
        const system = backend();
        const page = system.pageSize;
        const fd = system.memfd('contract');
        system.truncate(fd, 3 * page);
        const memory = mapping(system.memory({ kind: 'file', fd, offset: 0, length: 3 * page }));
        memory.bytes.fill(0xab);
        expect(system.punchHole(fd, page, page)).toBe(0);
        expect(memory.bytes.subarray(page, 2 * page).every((byte) => byte === 0)).toBe(true);
        expect(memory.bytes.subarray(0, page).every((byte) => byte === 0xab)).toBe(true);
        expect(memory.bytes.subarray(2 * page).every((byte) => byte === 0xab)).toBe(true);
        memory.unmap();
        system.close(fd);
      });

      it('of length 0 is refused with EINVAL', () => {
        expect(backend().memory({ kind: 'anonymous', length: 0 })).toBe(EINVAL);
      });

      it('has an address where it is a WebAssembly memory, page-aligned, shared or not', () => {
        const system = backend();
        for (const shared of [false, true]) {
          const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared });
          const address = system.addressOf(memory.buffer);
          expect(address).toBeTypeOf('bigint');
          expect((address as bigint) % BigInt(system.pageSize)).toBe(0n);
          expect(memory.buffer.byteLength).toBe(2 * 65536);
        }
      });

      it('has none where it lies in the ordinary heap', () => {
        const system = backend();
        const buffer = new ArrayBuffer(65536);
        expect(system.addressOf(buffer)).toBe(EINVAL);
        expect(buffer.byteLength).toBe(65536);
        expect(system.addressOf(new SharedArrayBuffer(65536))).toBe(EINVAL);
        expect(system.addressOf(new ArrayBuffer(100))).toBe(EINVAL);
      });
    });

    describe('positioned access', () => {
      it('refuses memory files of pages that no machine has', () => {
        const system = backend();
        expect(system.memfd('contract', 3 * system.pageSize)).toBe(-22);
        expect(system.memfd('contract', 2 ** 40)).toBe(-19);
      });

      it('ends at the end of the file', () => {
        const system = backend();
        const fd = system.memfd('contract');
        system.truncate(fd, 10);
        system.pwrite(fd, Uint8Array.of(1, 2), 8);
        const into = new Uint8Array(4).fill(9);
        expect(system.pread(fd, into, 8)).toBe(2);
        expect([...into]).toEqual([1, 2, 9, 9]);
        expect(system.pread(fd, into, 10)).toBe(0);
        system.close(fd);
      });

      it('reads and writes the part that a view shows, and nothing around it', () => {
        const system = backend();
        const fd = system.memfd('contract');
        const from = Uint8Array.of(1, 2, 3, 4, 5);
        expect(system.pwrite(fd, from.subarray(1, 4), 0)).toBe(3);
        const into = new Uint8Array(5);
        expect(system.pread(fd, into.subarray(2), 0)).toBe(3);
        expect([...into]).toEqual([0, 0, 2, 3, 4]);
        system.close(fd);
      });
    });

    it('answers EBADF for a descriptor that is not open', async () => {
      const system = backend();
      const bytes = new Uint8Array(8);
      for (const fd of [-1, notOpen]) {
        expect(system.close(fd)).toBe(EBADF);
        expect(system.ioctl(fd, 0x3b64)).toBe(EBADF);
        expect(await system.ioctlAsync(fd, 0x3b64, bytes)).toBe(EBADF);
        expect(system.pread(fd, bytes, 0)).toBe(EBADF);
        expect(system.pwrite(fd, bytes, 0)).toBe(EBADF);
        expect(system.eventfdRead(fd)).toBe(EBADF);
        expect(system.eventfdWrite(fd, 1)).toBe(EBADF);
        expect(system.poll(fd, 0)).toBe(EBADF);
        expect(system.watch(fd, () => {})).toBe(EBADF);
        expect(system.truncate(fd, 0)).toBe(EBADF);
        expect(system.punchHole(fd, 0, system.pageSize)).toBe(EBADF);
        expect(system.mapDevice(fd, 0, system.pageSize, 3)).toBe(EBADF);
        expect(system.memory({ kind: 'file', fd, offset: 0, length: system.pageSize })).toBe(EBADF);
      }
    });

    it('closes a descriptor once', () => {
      const system = backend();
      const fd = system.eventfd(1);
      expect(system.close(fd)).toBe(0);
      expect(system.close(fd)).toBe(EBADF);
      expect(system.eventfdRead(fd)).toBe(EBADF);
    });

    it('answers ENOTTY for an ioctl that the file does not know', async () => {
      const system = backend();
      const fd = system.eventfd(0);
      expect(system.ioctl(fd, 0x3b64)).toBe(ENOTTY);
      expect(system.ioctl(fd, 0x3b64, 1)).toBe(ENOTTY);
      expect(await system.ioctlAsync(fd, 0x3b64, new Uint8Array(8))).toBe(ENOTTY);
      system.close(fd);
    });

    it('answers ENOENT for what is not there', () => {
      const system = backend();
      expect(system.open(missing, OpenFlag.readOnly)).toBe(ENOENT);
      expect(system.readFile(missing)).toBe(ENOENT);
      expect(system.writeFile(`${missing}/deeper`, 'x')).toBe(ENOENT);
      expect(system.list(missing)).toBe(ENOENT);
      expect(system.readLink(missing)).toBe(ENOENT);
      expect(system.status(missing)).toBe(ENOENT);
      expect(system.unlink(missing)).toBe(ENOENT);
    });

    it('throws a TypeError for an argument of the wrong type', () => {
      const system = backend();
      const fd = system.memfd('contract');
      expect(() => system.open(5 as never, 0)).toThrow(TypeError);
      expect(() => system.pread(fd, 'text' as never, 0)).toThrow(TypeError);
      expect(() => system.pwrite(fd, [1, 2] as never, 0)).toThrow(TypeError);
      expect(() => system.eventfdWrite('3' as never, 1)).toThrow(TypeError);
      expect(() => system.readFile(undefined as never)).toThrow(TypeError);
      system.close(fd);
    });

    it('has a clock that never goes back, and sleeps by it', async () => {
      const system = backend();
      const before = system.now();
      const after = system.now();
      expect(after).toBeGreaterThanOrEqual(before);
      await system.sleep(20);
      // A timer of Node may fire a millisecond early.
      expect(system.now() - after).toBeGreaterThanOrEqual(18);
    });

    it('gives every exit step a handle, and takes it back once', () => {
      const system = backend();
      const fd = system.eventfd(0);
      const handles = [
        system.onExit(1, { call: 'pwrite', fd, bytes: Uint8Array.of(1), offset: 0 }),
        system.onExit(0, { call: 'ioctl', fd, request: 0x3b6e, bytes: new Uint8Array(8) }),
        system.onExit(2, { call: 'munmap', address: 0x1000n, length: 4096 }),
        system.onExit(2, { call: 'unlink', path: missing }),
        system.onExit(3, { call: 'close', fd }),
      ];
      expect(new Set(handles).size).toBe(handles.length);
      for (const handle of handles) {
        system.cancelExit(handle);
        system.cancelExit(handle);
      }
      expect(system.close(fd)).toBe(0);
    });

    it('has a store barrier that can be called as a plain function', () => {
      const { storeBarrier } = backend();
      expect(storeBarrier()).toBeUndefined();
    });
  });
}
