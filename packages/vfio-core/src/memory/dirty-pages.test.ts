import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitmapBytes, checkDirtyRange, DirtyPages } from './dirty-pages.js';

const range = (pages: number, pageSize = 4096, iova = 0x10000n) => ({ iova, size: BigInt(pages * pageSize), pageSize });

describe('pages that devices wrote', () => {
  it('are the bits of the bitmap, whatever stands behind the last', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.nat(511), (bits, some) => {
        const pages = 1 + (some % (8 * bits.length));
        const written = Array.from({ length: pages }, (_, page) => page).filter(
          (page) => (((bits[page >> 3] as number) >> (page & 7)) & 1) === 1,
        );
        const dirty = new DirtyPages(range(pages), bits);
        expect([...dirty]).toEqual(written.map((page) => page * 4096));
        expect(dirty.count).toBe(written.length);
        for (let page = 0; page < pages; page++) expect(dirty.has(page * 4096 + 17)).toBe(written.includes(page));
        const inRuns = [...dirty.ranges()].flatMap(({ start, end }) =>
          Array.from({ length: Number(end + 1n - start) / 4096 }, (_, i) => Number(start - 0x10000n) / 4096 + i),
        );
        expect(inRuns).toEqual(written);
      }),
    );
  });

  it('come in runs that do not touch', () => {
    const ranges = [...new DirtyPages(range(16), Uint8Array.of(0b0110_1000, 0b1000_0001)).ranges()];
    expect(ranges).toEqual([
      { start: 0x13000n, end: 0x13fffn },
      { start: 0x15000n, end: 0x16fffn },
      { start: 0x18000n, end: 0x18fffn },
      { start: 0x1f000n, end: 0x1ffffn },
    ]);
  });

  it('are none outside of the range', () => {
    const dirty = new DirtyPages(range(3), Uint8Array.of(0xff));
    expect([-1, 3 * 4096, Number.NaN].map((offset) => dirty.has(offset))).toEqual([false, false, false]);
  });
});

describe('a range whose written pages are asked for', () => {
  it('has a bitmap of whole words of 64 bits', () => {
    expect([1, 64, 65, 128].map((pages) => checkDirtyRange(range(pages)))).toEqual([8, 8, 16, 16]);
    expect(bitmapBytes(1n << 32n, 2 ** 21)).toBe(256);
  });

  it.each([
    ['no bytes', range(0)],
    ['a part of a page', { ...range(1), size: 4097n }],
    ['a start inside a page', { ...range(1), iova: 5n }],
    ['pages of a size that is none', { ...range(1), pageSize: 3 * 4096 }],
    ['pages of no bytes', { ...range(1), pageSize: 0 }],
    ['an end behind 64 bits', { ...range(2), iova: 2n ** 64n - 4096n }],
    ['a negative start', { ...range(2), iova: -4096n }],
    ['more than a bitmap of 256 MiB holds', { iova: 0n, size: 2n ** 43n + 4096n, pageSize: 4096 }],
  ])('is refused: %s', (_what, wrong) => {
    expect(() => checkDirtyRange(wrong)).toThrow('ERR_VFIO_ARGUMENT');
  });
});
