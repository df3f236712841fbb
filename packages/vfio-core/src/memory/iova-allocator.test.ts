import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IovaAllocator } from './iova-allocator.js';

const page = 4096n;
const wide = [
  { start: 0n, end: 0xfedf_ffffn },
  { start: 0xfef0_0000n, end: 0x7f_ffff_ffffn },
];

describe('IovaAllocator', () => {
  it('keeps out of page 0 and out of the MSI window, whatever ranges it is given', () => {
    const iovas = new IovaAllocator([{ start: 0n, end: 0xffff_ffff_ffffn }], 4096);
    expect(iovas.ranges).toEqual([
      { start: 0x1000n, end: 0xfedf_ffffn },
      { start: 0xfef0_0000n, end: 0xffff_ffff_ffffn },
    ]);
  });

  it('keeps below 2^53', () => {
    expect(new IovaAllocator([{ start: 0x1_0000_0000n, end: 2n ** 64n - 1n }], 4096).ranges).toEqual([
      { start: 0x1_0000_0000n, end: 2n ** 53n - 1n },
    ]);
    expect(new IovaAllocator([{ start: 2n ** 60n, end: 2n ** 64n - 1n }], 4096).allocate(1n)).toBeUndefined();
  });

  it('takes the smallest hole that fits', () => {
    const iovas = new IovaAllocator(
      [
        { start: 0x10000n, end: 0x1ffffn },
        { start: 0x40000n, end: 0x43fffn },
      ],
      4096,
    );
    expect(iovas.allocate(0x2000n)).toBe(0x40000n);
    expect(iovas.allocate(0x8000n)).toBe(0x10000n);
    expect(iovas.allocate(0x2000n)).toBe(0x42000n);
  });

  it('joins holes again, so that everything given back is one piece', () => {
    const iovas = new IovaAllocator([{ start: 0x1000n, end: 0x4fffn }], 4096);
    const taken = [1, 2, 3, 4].map(() => iovas.allocate(page) as bigint);
    expect(iovas.allocate(1n)).toBeUndefined();
    for (const start of [taken[1], taken[3], taken[0], taken[2]]) expect(iovas.free(start as bigint)).toBe(true);
    expect(iovas.allocate(0x4000n)).toBe(0x1000n);
    expect(iovas.free(0x2000n)).toBe(false);
  });

  it('respects alignment and `below`', () => {
    const iovas = new IovaAllocator(wide, 4096);
    expect(iovas.allocate(page, { alignment: 0x200000n })).toBe(0x200000n);
    const low = iovas.allocate(0x100000n, { below: 0x1000_0000n }) as bigint;
    expect(low + 0x100000n).toBeLessThanOrEqual(0x1000_0000n);
    expect(iovas.allocate(0x2000n, { below: 0x2000n })).toBeUndefined();
  });

  it('does not hand out again, after the ranges shrank, what is outside them', () => {
    const iovas = new IovaAllocator([{ start: 0x1000n, end: 0x4fffn }], 4096);
    const start = iovas.allocate(0x4000n) as bigint;
    iovas.setRanges([{ start: 0x3000n, end: 0x3fffn }]);
    expect(iovas.allocate(1n)).toBeUndefined();
    iovas.free(start);
    expect(iovas.allocate(page)).toBe(0x3000n);
    expect(iovas.allocate(1n)).toBeUndefined();
  });

  it('never overlaps, never leaves the ranges, keeps alignment and `below`, through any sequence of calls', () => {
    const step = fc.record({
      size: fc.integer({ min: 1, max: 0x9000 }),
      alignment: fc.constantFrom(0x1000n, 0x2000n, 0x10000n),
      below: fc.constantFrom(undefined, 0x20000n, 0xfee0_4000n, 0xff00_0000n),
      free: fc.option(fc.nat(40)),
      shrink: fc.boolean(),
    });
    const all = [
      { start: 0x0n, end: 0x3ffffn },
      { start: 0xfedf_0000n, end: 0xfef0_ffffn },
    ];
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const iovas = new IovaAllocator(all, 4096);
        const live: { start: bigint; end: bigint }[] = [];
        for (const { size, alignment, below, free, shrink } of steps) {
          iovas.setRanges(shrink ? all.slice(0, 1) : all);
          const start = iovas.allocate(BigInt(size), below === undefined ? { alignment } : { alignment, below });
          if (start !== undefined) {
            const end = start + ((BigInt(size) + 0xfffn) / page) * page;
            expect(start % alignment).toBe(0n);
            expect(below === undefined || end <= below).toBe(true);
            expect(iovas.ranges.some((range) => start >= range.start && end - 1n <= range.end)).toBe(true);
            expect(start >= page && (end <= 0xfee0_0000n || start > 0xfeef_ffffn)).toBe(true);
            expect(live.some((other) => start < other.end && other.start < end)).toBe(false);
            live.push({ start, end });
          }
          const gone = free === null ? undefined : live.splice(free, 1)[0];
          if (gone !== undefined) expect(iovas.free(gone.start)).toBe(true);
          expect(iovas.count).toBe(live.length);
        }
        for (const { start } of live) iovas.free(start);
        iovas.setRanges(all);
        const whole = new IovaAllocator(all, 4096);
        for (const size of [0x3f000n, 0x10000n, 0x10000n, 1n]) expect(iovas.allocate(size)).toBe(whole.allocate(size));
      }),
      { numRuns: 300 },
    );
  });
});
