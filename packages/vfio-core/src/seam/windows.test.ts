import { describe, expect, it } from 'vitest';
import { Errno } from '../errors/index.js';
import { codeOf, describeRegisterWindow } from '../testing/register-window-contract.js';
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

describeRegisterWindow('MappedWindow', (bytes) => new MappedWindow(bytes));
describeRegisterWindow('PositionedWindow', (bytes) => new PositionedWindow(file(bytes), 3, 0, bytes.length));

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
    expect(codeOf(() => window.read64(0))).toBe('ERR_VFIO_WINDOW_RANGE');
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
    expect(codeOf(() => new PositionedWindow(gone, 3, 0, 8).read32(0))).toBe('ERR_VFIO_DEVICE_GONE');
    expect(codeOf(() => new PositionedWindow(gone, 3, 0, 8).write32(0, 1))).toBe('ERR_VFIO_DEVICE_GONE');
    const short = new PositionedWindow(file(new Uint8Array(2)), 3, 0, 8);
    expect(codeOf(() => short.read32(0))).toBe('ERR_VFIO_SHORT_ACCESS');
  });
});
