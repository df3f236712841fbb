import { describe, expect, it } from 'vitest';
import { Errno, isVfioError } from '../errors/index.js';
import type { SystemCalls } from './system-calls.js';
import { MappedWindow, PositionedWindow } from './windows.js';

/** A descriptor over plain memory. */
function file(bytes: Uint8Array, calls: string[] = []): SystemCalls {
  const move = (name: string, to: Uint8Array, at: number, write: boolean) => {
    calls.push(`${name} ${to.length}@${at}`);
    const n = Math.max(0, Math.min(to.length, bytes.length - at));
    if (write) bytes.set(to.subarray(0, n), at);
    else to.set(bytes.subarray(at, at + n));
    return n;
  };
  return {
    pread: (_fd: number, into: Uint8Array, at: number) => move('pread', into, at, false),
    pwrite: (_fd: number, from: Uint8Array, at: number) => move('pwrite', from, at, true),
  } as unknown as SystemCalls;
}

const kinds = {
  MappedWindow: (bytes: Uint8Array) => new MappedWindow(bytes),
  PositionedWindow: (bytes: Uint8Array) => new PositionedWindow(file(bytes), 3, 0, bytes.length),
};

const range = (run: () => unknown) => {
  try {
    run();
  } catch (thrown) {
    return isVfioError(thrown) ? thrown.code : String(thrown);
  }
  return 'nothing thrown';
};

describe.each(Object.entries(kinds))('%s', (_name, make) => {
  it('reads and writes each width, little-endian and unsigned', () => {
    const bytes = new Uint8Array(64);
    const window = make(bytes);
    window.write8(1, 0xfe);
    window.write16(2, 0xfedc);
    window.write32(4, 0xfedcba98);
    window.write64(8, 0xfedcba9876543210n);
    expect([...bytes.subarray(0, 16)]).toEqual([
      0, 0xfe, 0xdc, 0xfe, 0x98, 0xba, 0xdc, 0xfe, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
    ]);
    expect(window.read8(1)).toBe(0xfe);
    expect(window.read16(2)).toBe(0xfedc);
    expect(window.read32(4)).toBe(0xfedcba98);
    expect(window.read64(8)).toBe(0xfedcba9876543210n);
  });

  it('refuses every access outside its bounds or off its alignment, and stores nothing then', () => {
    const bytes = new Uint8Array(30);
    const window = make(bytes);
    for (const width of [1, 2, 4, 8] as const) {
      const last = Math.floor(30 / width) * width;
      for (const offset of [last, -width, 2 ** 32, 2 ** 32 + width, -(2 ** 32), ...(width > 1 ? [1, width + 1] : [])]) {
        const name = `${width * 8}` as '8';
        expect(
          range(() => window[`read${name}`](offset)),
          `read${name}(${offset})`,
        ).toBe('ERR_VFIO_WINDOW_RANGE');
        const value = (width === 8 ? 1n : 1) as number;
        expect(
          range(() => window[`write${name}`](offset, value)),
          `write${name}(${offset})`,
        ).toBe('ERR_VFIO_WINDOW_RANGE');
      }
    }
    for (const offset of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(range(() => window.read32(offset))).toBe('ERR_VFIO_WINDOW_RANGE');
      expect(range(() => window.write32(offset, 1))).toBe('ERR_VFIO_WINDOW_RANGE');
    }
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('says in the error where and how wide the access was', () => {
    expect(() => make(new Uint8Array(16)).read32(0x10)).toThrow(/32-bit access at offset 0x10 .* window of 16 bytes/);
    expect(() => make(new Uint8Array(16)).read32(2)).toThrow(/32-bit access at offset 0x2 is not aligned/);
  });

  it('reads all-ones and stores nowhere after close', () => {
    const bytes = new Uint8Array(16);
    const window = make(bytes);
    window.close();
    window.close();
    expect(window.closed).toBe(true);
    expect([window.read8(0), window.read16(0), window.read32(0)]).toEqual([0xff, 0xffff, 0xffffffff]);
    expect(window.read64(0)).toBe(0xffffffffffffffffn);
    window.write8(0, 1);
    window.write16(0, 1);
    window.write32(0, 1);
    window.write64(0, 1n);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('gives parts on the same memory; closing a part closes it alone, closing the whole closes all parts', () => {
    const window = make(new Uint8Array(64));
    const part = window.window(16, 16);
    const inner = part.window(8, 8);
    inner.write32(4, 0x1234);
    expect(window.read32(28)).toBe(0x1234);
    expect(range(() => part.read32(16))).toBe('ERR_VFIO_WINDOW_RANGE');
    expect(range(() => window.window(60, 8))).toBe('ERR_VFIO_WINDOW_RANGE');
    const other = window.window(0, 8);
    other.close();
    expect([window.closed, part.closed, other.closed]).toEqual([false, false, true]);
    window.close();
    expect([part.closed, inner.closed]).toEqual([true, true]);
    expect(inner.read32(4)).toBe(0xffffffff);
    expect(window.window(0, 8).closed).toBe(true);
  });

  it('tells its maker once when it closes', () => {
    let told = 0;
    const window = make(new Uint8Array(8));
    window.onClose = () => told++;
    window.close();
    window.close();
    expect(told).toBe(1);
  });
});

describe('MappedWindow', () => {
  it('counts as closed, and reads all-ones, once its memory is detached', () => {
    const bytes = new Uint8Array(16);
    const window = new MappedWindow(bytes);
    const part = window.window(8, 8);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect([window.closed, part.closed]).toEqual([true, true]);
    expect([window.read32(0), part.read8(0)]).toEqual([0xffffffff, 0xff]);
    window.write32(0, 1);
  });

  it('has no 64-bit access where it starts at 4 modulo 8', () => {
    const window = new MappedWindow(new Uint8Array(16)).window(4, 8);
    expect(window.read32(4)).toBe(0);
    expect(range(() => window.read64(0))).toBe('ERR_VFIO_WINDOW_RANGE');
  });
});

describe('PositionedWindow', () => {
  it('makes one system call of exactly the width, at its place in the descriptor', () => {
    const calls: string[] = [];
    const window = new PositionedWindow(file(new Uint8Array(0x200), calls), 3, 0x100, 0x40).window(0x10, 0x10);
    window.read16(2);
    window.write32(4, 1);
    expect(calls).toEqual(['pread 2@274', 'pwrite 4@276']);
  });

  it('throws what the kernel answers: a device that is gone, or fewer bytes than asked for', () => {
    const gone = { pread: () => -Errno.ENODEV, pwrite: () => -Errno.ENODEV } as unknown as SystemCalls;
    expect(range(() => new PositionedWindow(gone, 3, 0, 8).read32(0))).toBe('ERR_VFIO_DEVICE_GONE');
    expect(range(() => new PositionedWindow(gone, 3, 0, 8).write32(0, 1))).toBe('ERR_VFIO_DEVICE_GONE');
    const short = new PositionedWindow(file(new Uint8Array(2)), 3, 0, 8);
    expect(range(() => short.read32(0))).toBe('ERR_VFIO_SHORT_ACCESS');
  });
});
