import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OpenFlag, Protection } from '../seam/system-calls.js';
import { describeLinux, hasAddon } from '../testing/describe-linux.js';
import { describeDeviceMapping } from '../testing/device-mapping-contract.js';
import { describeSystemCalls } from '../testing/system-calls-contract.js';
import { linux } from './index.js';

describeSystemCalls('Linux', () => (hasAddon ? linux() : undefined));

/** A file that is cut short raises SIGBUS as a device does that sleeps. Its pages begin one page in. */
describeDeviceMapping('Linux', () => {
  if (!hasAddon) return undefined;
  const system = linux();
  const page = system.pageSize;
  const fd = system.memfd('sleeper');
  const wake = () => {
    system.truncate(fd, 3 * page);
    system.pwrite(fd, Uint8Array.of(0x44, 0x33, 0x22, 0x11), page);
    system.pwrite(fd, Uint8Array.of(0x88, 0x77, 0x66, 0x55), 2 * page);
  };
  wake();
  return {
    ...{ system, fd, offset: page, wake, first: 0x11223344, second: 0x55667788 },
    sleep: () => system.truncate(fd, page),
    end: () => system.close(fd),
  };
});

describe('small files of Linux, without the addon', () => {
  it('are read, written, listed, told apart and removed', () => {
    const system = linux();
    const folder = mkdtempSync(join(tmpdir(), 'vfio-core-'));
    const path = join(folder, 'a');
    expect(system.writeFile(path, 'one\n')).toBe(0);
    expect(system.writeFile(path, '2\n')).toBe(0);
    expect(system.readFile(path)).toBe('2\n');
    symlinkSync('a', join(folder, 'b'));
    expect((system.list(folder) as string[]).sort()).toEqual(['a', 'b']);
    expect(system.readLink(join(folder, 'b'))).toBe('a');
    expect(system.readLink(path)).toBe(-22);
    expect(system.status(join(folder, 'b'))).toMatchObject({ type: 'link' });
    expect(system.status(path)).toMatchObject({ type: 'file', mode: 0o644 });
    expect(system.status(folder)).toMatchObject({ type: 'directory', mode: 0o700 });
    expect(system.readFile(folder)).toBe(-21);
    expect(system.list(path)).toBe(-20);
    expect(system.unlink(path)).toBe(0);
    expect(existsSync(path)).toBe(false);
    rmSync(folder, { recursive: true });
  });

  it('keep ENOENT for a missing file of sysfs, where creating one would be refused', () => {
    expect(linux().writeFile('/sys/bus/pci/no-such-file', 'x')).toBe(-2);
  });
});

describeLinux('system calls of Linux', () => {
  it('open and read an ordinary file, and create one with the mode asked for', () => {
    const system = linux();
    const folder = mkdtempSync(join(tmpdir(), 'vfio-core-'));
    const path = join(folder, 'a');
    writeFileSync(path, 'hello');
    const fd = system.open(path, OpenFlag.readOnly | OpenFlag.closeOnExec);
    const into = new Uint8Array(10);
    expect(system.pread(fd, into, 1)).toBe(4);
    expect(new TextDecoder().decode(into.subarray(0, 4))).toBe('ello');
    expect(system.pwrite(fd, into, 0)).toBe(-9);
    expect(system.close(fd)).toBe(0);
    const made = system.open(join(folder, 'b'), OpenFlag.readWrite | OpenFlag.create | OpenFlag.exclusive, 0o600);
    expect(made).toBeGreaterThanOrEqual(0);
    expect(system.status(join(folder, 'b'))).toMatchObject({ mode: 0o600 });
    expect(system.open(join(folder, 'b'), OpenFlag.readWrite | OpenFlag.create | OpenFlag.exclusive)).toBe(-17);
    system.close(made);
    rmSync(folder, { recursive: true });
  });

  it('refuse a path that is too long, and a path with a NUL inside', () => {
    const system = linux();
    expect(system.open(`/${'x'.repeat(10_000)}`, 0)).toBe(-36);
    expect(() => system.open('/dev/null\0x', 0)).toThrow(TypeError);
  });

  it('refuse what a number cannot say exactly', () => {
    const system = linux();
    const fd = system.memfd('numbers');
    for (const offset of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '0' as never, 1n as never]) {
      expect(() => system.pread(fd, new Uint8Array(1), offset)).toThrow(TypeError);
    }
    expect(() => system.ioctl(fd, -1)).toThrow(TypeError);
    expect(() => system.ioctl(fd, 2 ** 32)).toThrow(TypeError);
    expect(() => system.close(2 ** 32)).toThrow(TypeError);
    expect(system.pread(fd, new Uint8Array(1), -1)).toBe(-22);
    system.close(fd);
  });

  it('map a device part into a window of registers', () => {
    const system = linux();
    const fd = system.memfd('registers');
    system.truncate(fd, 2 * system.pageSize);
    system.pwrite(fd, Uint8Array.of(0x78, 0x56, 0x34, 0x12), system.pageSize + 8);
    const mapped = system.mapDevice(fd, system.pageSize, system.pageSize, Protection.read | Protection.write);
    if (typeof mapped === 'number') throw new Error(`mapDevice: ${mapped}`);
    const { window } = mapped;
    expect(window.length).toBe(system.pageSize);
    expect(window.read32(8)).toBe(0x12345678);
    window.write32(12, 0xdeadbeef);
    const back = new Uint8Array(4);
    system.pread(fd, back, system.pageSize + 12);
    expect([...back]).toEqual([0xef, 0xbe, 0xad, 0xde]);
    expect(mapped.faulted).toBe(false);
    mapped.unmap();
    mapped.unmap();
    expect(window.closed).toBe(true);
    expect(window.read32(8)).toBe(0xffffffff);
    expect(system.mapDevice(fd, 1, system.pageSize, Protection.read)).toBe(-22);
    system.close(fd);
  });

  it('take the address of memory that an ioctl points to, and leave the caller’s bytes there as they were', async () => {
    // PAGEMAP_SCAN of linux/fs.h: `vec` is a pointer at 40, `walk_end` comes back at 32. Kernels before 6.7 do not know it.
    const [major = 0, minor = 0] = release().split('.').map(Number);
    const known = major > 6 || (major === 6 && minor >= 7);
    const PAGEMAP_SCAN = 0xc0606610;
    const PAGE_IS_PRESENT = 8n;
    const system = linux();
    const memory = system.memory({ kind: 'anonymous', length: 4 * system.pageSize });
    if (typeof memory === 'number') throw new Error(`memory: ${memory}`);
    memory.bytes[system.pageSize] = 1;
    const end = memory.address + BigInt(memory.length);
    const call = async (async: boolean) => {
      const argument = new Uint8Array(96);
      const fields = new BigUint64Array(argument.buffer);
      fields.set([96n, 0n, memory.address, end, 0n, 0x5555n, 4n, 0n, 0n, PAGE_IS_PRESENT, 0n, PAGE_IS_PRESENT]);
      const found = new Uint8Array(4 * 24);
      const places = { pointers: [{ at: 40, bytes: found }] };
      const fd = system.open('/proc/self/pagemap', OpenFlag.readOnly);
      const regions = async
        ? await system.ioctlAsync(fd, PAGEMAP_SCAN, argument, places)
        : system.ioctl(fd, PAGEMAP_SCAN, argument, places);
      system.close(fd);
      return { regions, walkEnd: fields[4], pointer: fields[5], first: new BigUint64Array(found.buffer)[0] };
    };
    const first = memory.address + BigInt(system.pageSize);
    const expected = known
      ? { regions: 1, walkEnd: end, pointer: 0x5555n, first }
      : { regions: -25, walkEnd: 0n, pointer: 0x5555n, first: 0n };
    expect(await call(false)).toEqual(expected);
    expect(await call(true)).toEqual(expected);
    memory.unmap();
  });

  it('refuse places that do not lie in the argument, or are of the wrong type', async () => {
    const system = linux();
    const bytes = new Uint8Array(8);
    expect(() => system.ioctl(0, 1, bytes, { pointers: [{ at: 1, bytes }] })).toThrow(RangeError);
    expect(() => system.ioctl(0, 1, bytes, { fds: [{ at: 2 ** 40, fd: 1 }] })).toThrow(RangeError);
    expect(() => system.ioctl(0, 1, bytes, { fds: [{ at: -4, fd: 1 }] })).toThrow(TypeError);
    expect(() => system.ioctl(0, 1, bytes, { pointers: [{ at: 0, bytes: 'x' as never }] })).toThrow(TypeError);
    expect(() => system.ioctl(0, 1, bytes, { pointers: 7 as never })).toThrow(TypeError);
    expect(() => system.ioctl(0, 1, bytes, 'x' as never)).toThrow(TypeError);
    expect(() => system.ioctl(0, 1, 5, { fds: [{ at: 0, fd: 1 }] })).toThrow(TypeError);
    expect(() => system.ioctl(0, 1, 'x' as never)).toThrow(TypeError);
    await expect(system.ioctlAsync(0, 1, 'x' as never)).rejects.toThrow(TypeError);
    const thrown = new Error('from a getter');
    const hostile = {
      get pointers(): never {
        throw thrown;
      },
    };
    expect(() => system.ioctl(0, 1, bytes, hostile)).toThrow(thrown);
  });

  it('watch one eventfd twice, and refuse what no event loop can wait for', () => {
    const system = linux();
    const fd = system.eventfd(0);
    const watches = [system.watch(fd, () => {}), system.watch(fd, () => {})];
    for (const watch of watches) {
      if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
      watch.close();
    }
    system.close(fd);
    const file = system.open('/proc/self/exe', OpenFlag.readOnly);
    expect(system.watch(file, () => {})).toBe(-1);
    expect(() => system.watch(fd, 'x' as never)).toThrow(TypeError);
    system.close(file);
  });

  it('keep memory that was moved to another buffer, so that nothing there reads what was freed', () => {
    const system = linux();
    const memory = system.memory({ kind: 'anonymous', length: 16 * system.pageSize });
    if (typeof memory === 'number') throw new Error(`memory: ${memory}`);
    memory.bytes.fill(3);
    // Node 20 has no transfer(), and structuredClone copies there.
    const buffer = memory.bytes.buffer as ArrayBuffer & { transfer?(): ArrayBuffer };
    const moved = buffer.transfer ? buffer.transfer() : structuredClone(buffer, { transfer: [buffer] });
    memory.unmap();
    expect(memory.bytes.length).toBe(0);
    expect(new Uint8Array(moved).every((byte) => byte === 3)).toBe(true);
  });

  it('answer ENOMEM for more memory than there are addresses', () => {
    const system = linux();
    expect(system.memory({ kind: 'anonymous', length: 2 ** 50 })).toBe(-12);
    expect(system.memory({ kind: 'anonymous', length: -4096 })).toBe(-12);
  });

  it('leave nothing mapped where a window cannot be that long', () => {
    const system = linux();
    const fd = system.memfd('too-long-a-window');
    const length = 2 ** 33;
    system.truncate(fd, length);
    let outcome: unknown;
    try {
      outcome = system.mapDevice(fd, 0, length, Protection.read);
    } catch (thrown) {
      outcome = (thrown as { code?: string }).code;
    }
    // Which of the two depends on the longest buffer that this Node makes.
    expect(['ERR_VFIO_ARGUMENT', -12]).toContain(outcome);
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('too-long-a-window');
    system.close(fd);
  });

  it('refuse resizable memory, which gives pages back', () => {
    const resizable = new (ArrayBuffer as new (bytes: number, options: object) => ArrayBuffer)(65536, {
      maxByteLength: 2 * 65536,
    });
    expect(linux().addressOf(resizable)).toBe(-22);
  });

  it('refuse the buffer that a WebAssembly memory left behind when it grew, although they knew it', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
    const { buffer } = memory;
    expect(linux().addressOf(buffer)).toBe(linux().addressOf(buffer));
    memory.grow(1);
    expect(linux().addressOf(buffer)).toBe(-22);
  });
});
