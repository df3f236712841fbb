import { describe, expect, it } from 'vitest';
import { churn, meanRequest, type Quarter } from '../testing/allocator-churn.js';
import { checkAgainstModel } from '../testing/allocator-properties.js';
import { Random } from '../testing/random.js';
import { IovaAllocator } from './iova-allocator.js';

const seeds = [1, 2, 3, 4, 5];

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

  it('gives alignments up to the largest page, and refuses one that is no power of two', () => {
    const iovas = new IovaAllocator(wide, 4096);
    expect(iovas.allocate(page)).toBe(0x1000n);
    expect(iovas.allocate(page, { alignment: 1n << 30n })).toBe(1n << 30n);
    expect(iovas.allocate(1n << 31n, { alignment: 1n << 30n })).toBe(1n << 32n);
    expect(iovas.allocate(page, { alignment: 2n ** 53n })).toBeUndefined();
    expect(() => iovas.allocate(page, { alignment: 0x3000n })).toThrow('not a power of two');
    expect(() => iovas.allocate(page, { alignment: 0n })).toThrow('not a power of two');
  });

  it('finds an aligned place among many holes that are not aligned', () => {
    const iovas = new IovaAllocator([{ start: 0x1_0000_0000n, end: 0x1_ffff_ffffn }], 4096);
    const step = 0x20_0000n;
    // 1000 holes of 2 MiB, each one page behind a border of 2 MiB; what lies behind them is one hole of the right size, then a page.
    for (let index = 0n; index < 1000n; index++)
      expect(iovas.take(0x1_0000_0000n + 2n * index * step, step + page)).toBe(true);
    const last = 0x1_0000_0000n + 2000n * step;
    expect(iovas.take(last + step, 0x1_ffff_ffffn - last - step + 1n)).toBe(true);
    expect(iovas.largestFree).toBe(2n * step - page);
    expect(iovas.allocate(step, { alignment: step })).toBe(last);
    expect(iovas.allocate(step, { alignment: step })).toBeUndefined();
    expect(iovas.allocate(step - page)).toBe(0x1_0000_0000n + step + page);
  });

  it('takes a fixed address, or says what is in the way', () => {
    const iovas = new IovaAllocator(wide, 4096);
    expect(iovas.take(0x10_0000n, 0x1800n)).toBe(true);
    expect(iovas.obstacle(0x10_1000n, page)).toBe('in use');
    expect(iovas.take(0x10_1000n, page)).toBe(false);
    expect(iovas.obstacle(0xf_f000n, 0x1001n)).toBe('in use');
    expect(iovas.obstacle(0x10_2000n, page)).toBeUndefined();
    for (const outside of [0n, 0x800n, 0xfee0_0000n, 0xfedf_f000n, 0x7f_ffff_f000n, 2n ** 60n]) {
      expect(iovas.obstacle(outside, 0x2000n)).toBe('outside');
    }
    expect(iovas.count).toBe(1);
    expect(iovas.free(0x10_0000n)).toBe(true);
    expect(iovas.take(0x10_1000n, page)).toBe(true);
  });

  it('says who holds an address', () => {
    const iovas = new IovaAllocator(wide, 4096);
    iovas.take(0x10_0000n, 0x3000n);
    const range = { start: 0x10_0000n, end: 0x10_2fffn };
    for (const address of [0x10_0000n, 0x10_2fffn]) expect(iovas.holder(address)).toEqual(range);
    for (const address of [0x0f_ffffn, 0x10_3000n, 2n ** 60n]) expect(iovas.holder(address)).toBeUndefined();
  });

  it('tells how much is free, and the largest piece that it would give', () => {
    const iovas = new IovaAllocator([{ start: 0x1_0000_0000n, end: 0x1_000f_ffffn }], 4096);
    expect([iovas.freeBytes, iovas.largestFree, iovas.holes]).toEqual([0x10_0000n, 0x10_0000n, 1]);
    iovas.take(0x1_0004_0000n, 0x1_0000n);
    expect([iovas.freeBytes, iovas.largestFree, iovas.holes]).toEqual([0xf_0000n, 0xb_0000n, 2]);
    expect(iovas.allocate(0xb_1000n)).toBeUndefined();
    // The border of the window for what does not stay is no obstacle.
    iovas.free(iovas.allocate(page, { shortLived: true }) as bigint);
    expect(iovas.windows).toEqual([{ start: 0x1_000e_0000n, end: 0x1_000f_ffffn }]);
    expect(iovas.largestFree).toBe(0xb_0000n);
    expect(iovas.allocate(0xb_0000n)).toBe(0x1_0005_0000n);
  });

  it('names what is handed out outside the ranges, when they have changed', () => {
    const iovas = new IovaAllocator(wide, 4096);
    const [low, high] = [0x10_0000n, 0x2_0000_0000n];
    iovas.take(low, 0x2000n);
    iovas.take(high, 0x2000n);
    expect(iovas.setRanges(wide)).toEqual([]);
    expect(iovas.setRanges([{ start: 0n, end: 0x10_0fffn }])).toEqual([
      { start: low, end: low + 0x1fffn },
      { start: high, end: high + 0x1fffn },
    ]);
    expect(iovas.free(low)).toBe(true);
    expect(iovas.stranded).toEqual([{ start: high, end: high + 0x1fffn }]);
    expect(iovas.setRanges(wide)).toEqual([]);
    expect(iovas.obstacle(high, page)).toBe('in use');
  });

  it.each(seeds)('answers as a plain model does, through any sequence of calls (seed %i)', (seed) => {
    const { allocated, refused, freed, taken, moved, stranded, mostLive } = checkAgainstModel(seed, 60_000);
    expect(Math.min(allocated, freed)).toBeGreaterThan(20_000);
    expect(Math.min(refused, taken, stranded)).toBeGreaterThan(500);
    expect(moved).toBeGreaterThan(50);
    expect(mostLive).toBeGreaterThan(30);
  });
});

describe('the window for what does not stay', () => {
  const GiB = 2n ** 30n;

  it('is the top eighth of the largest range, at most 64 GiB, and the same of what 32 bits reach', () => {
    const iovas = new IovaAllocator(wide, 4096);
    expect(iovas.windows).toEqual([]);
    iovas.allocate(page, { shortLived: true });
    expect(iovas.windows).toEqual([
      { start: 0xe000_0000n, end: 0xfedf_ffffn },
      { start: 0x70_4000_0000n, end: 0x7f_ffff_ffffn },
    ]);
    const small = new IovaAllocator([{ start: 0x1_0000_0000n, end: 0x1_0000_4fffn }], 4096);
    expect(small.allocate(page, { shortLived: true })).toBe(0x1_0000_0000n);
    expect(small.windows).toEqual([]);
  });

  it('takes what does not stay, whatever it must lie below, and nothing else while there is room', () => {
    const iovas = new IovaAllocator(wide, 4096);
    const inWindow = (at: bigint | undefined) =>
      iovas.windows.some(({ start, end }) => at !== undefined && at >= start && at <= end);
    for (const below of [undefined, 2n ** 32n, 2n ** 40n, 0xf000_0000n]) {
      const options = below === undefined ? {} : { below };
      expect(inWindow(iovas.allocate(0x40_0000n, { ...options, shortLived: true }))).toBe(true);
      expect(inWindow(iovas.allocate(0x40_0000n, options))).toBe(false);
    }
    // 28 bits do not reach a window: then it is taken from the rest.
    expect(iovas.allocate(page, { below: 1n << 28n, shortLived: true })).toBeLessThan(1n << 28n);
  });

  it('lends and borrows where one side has no room: nothing is refused while addresses are free', () => {
    const iovas = new IovaAllocator([{ start: 4n * GiB, end: 20n * GiB - 1n }], 4096);
    expect(iovas.allocate(2n * GiB, { shortLived: true })).toBe(18n * GiB);
    expect(iovas.allocate(2n * GiB, { shortLived: true })).toBe(4n * GiB);
    expect(iovas.allocate(12n * GiB)).toBe(6n * GiB);
    expect(iovas.allocate(page)).toBeUndefined();
    iovas.free(18n * GiB);
    expect(iovas.allocate(GiB)).toBe(18n * GiB);
    expect(iovas.allocate(2n * GiB, { shortLived: true })).toBeUndefined();
  });

  it('leaves the rest as it is, however much comes and goes in it', () => {
    const iovas = new IovaAllocator(wide, 4096);
    const random = new Random(7);
    const stays = Array.from({ length: 1000 }, () => iovas.allocate(BigInt(1 + random.below(0x10_0000))) as bigint);
    for (let index = 0; index < stays.length; index += 3) iovas.free(stays[index] as bigint);
    iovas.free(iovas.allocate(page, { shortLived: true }) as bigint);
    const before = [iovas.holes, iovas.freeBytes, iovas.largestFree];
    const live: bigint[] = [];
    for (let step = 0; step < 20_000; step++) {
      const wishes = { shortLived: true, ...(random.once(2) ? { below: 2n ** 32n } : {}) };
      const start = iovas.allocate(BigInt(1 + random.below(0x20_0000)), wishes) as bigint;
      expect(iovas.windows.some((window) => start >= window.start && start <= window.end)).toBe(true);
      live.push(start);
      if (live.length > 100) iovas.free(live.splice(random.below(100), 1)[0] as bigint);
    }
    for (const start of live) iovas.free(start);
    expect([iovas.holes, iovas.freeBytes, iovas.largestFree]).toEqual(before);
  });
});

describe('coming and going', () => {
  // Three quarters full: then the smallest leftovers would soon be all there is, were holes not chosen and joined well.
  it.each([
    ['three quarters full', 0.75],
    ['one part in a hundred full', 0.01],
  ])('does not cut up the free addresses more and more: %s', (_name, full) => {
    const live = 2000;
    const size = BigInt(Math.round((live * meanRequest) / full));
    const [first, , , last] = churn(1, 300_000, live, [{ start: 2n ** 32n, end: 2n ** 32n + size }]) as [
      Quarter,
      Quarter,
      Quarter,
      Quarter,
    ];
    expect(first.holes).toBeGreaterThan(100);
    expect(last.holes).toBeLessThan(1.1 * first.holes);
    expect(last.freeBytes - last.largestFree).toBeLessThan(1.25 * (first.freeBytes - first.largestFree));
    expect(last.refused).toBe(0);
  });
});
