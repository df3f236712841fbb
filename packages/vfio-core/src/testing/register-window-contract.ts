/** What every kind of register window does alike: on mapped memory, over read and write calls, over a device in software. */

import { describe, expect, it } from 'vitest';
import { isVfioError } from '../errors/index.js';
import type { RegisterWindow } from '../seam/register-window.js';

/** Code of the error that a call throws. */
export const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (thrown) {
    return isVfioError(thrown) ? thrown.code : String(thrown);
  }
  return 'nothing thrown';
};

/**
 * Describes the contract of {@link RegisterWindow}.
 * @param make a window whose registers are these bytes
 */
export function describeRegisterWindow(name: string, make: (bytes: Uint8Array) => RegisterWindow): void {
  describe(`registers of ${name}`, () => {
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
        for (const offset of [
          last,
          -width,
          2 ** 32,
          2 ** 32 + width,
          -(2 ** 32),
          ...(width > 1 ? [1, width + 1] : []),
        ]) {
          const name = `${width * 8}` as '8';
          expect(
            codeOf(() => window[`read${name}`](offset)),
            `read${name}(${offset})`,
          ).toBe('ERR_VFIO_WINDOW_RANGE');
          const value = (width === 8 ? 1n : 1) as number;
          expect(
            codeOf(() => window[`write${name}`](offset, value)),
            `write${name}(${offset})`,
          ).toBe('ERR_VFIO_WINDOW_RANGE');
        }
      }
      for (const offset of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(codeOf(() => window.read32(offset))).toBe('ERR_VFIO_WINDOW_RANGE');
        expect(codeOf(() => window.write32(offset, 1))).toBe('ERR_VFIO_WINDOW_RANGE');
      }
      expect(bytes.every((byte) => byte === 0)).toBe(true);
    });

    it('says in the error where and how wide the access was', () => {
      expect(() => make(new Uint8Array(16)).read32(0x10)).toThrow(/32-bit access at offset 0x10 .*window of 16 bytes/);
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
      expect(codeOf(() => part.read32(16))).toBe('ERR_VFIO_WINDOW_RANGE');
      expect(codeOf(() => window.window(60, 8))).toBe('ERR_VFIO_WINDOW_RANGE');
      const other = window.window(0, 8);
      other.close();
      expect([window.closed, part.closed, other.closed]).toEqual([false, false, true]);
      window.close();
      expect([part.closed, inner.closed]).toEqual([true, true]);
      expect(inner.read32(4)).toBe(0xffffffff);
      expect(window.window(0, 8).closed).toBe(true);
    });

    it('tells its maker once when it closes, its parts first', () => {
      const told: string[] = [];
      const window = make(new Uint8Array(16));
      const part = window.window(0, 8);
      part.onClose = () => told.push('part');
      window.onClose = () => told.push('whole');
      window.close();
      window.close();
      part.close();
      expect(told).toEqual(['part', 'whole']);
    });
  });
}
