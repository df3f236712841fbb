import { describe, expect, it } from 'vitest';
import { FrameAllocator } from './frame-allocator.js';

const PAGE = 4096;
const HUGE = 2 << 20;
const anywhere = { alignment: BigInt(PAGE), below: 1n << 52n };
const make = (...addresses: bigint[]) => {
  const frames = new FrameAllocator(PAGE, HUGE);
  for (const address of addresses) frames.add(address * BigInt(HUGE));
  return frames;
};

describe('pages inside huge pages', () => {
  it('are never given out twice, and again once they are given back', () => {
    const frames = make(8n);
    const one = frames.take({ pages: 300, ...anywhere })!;
    const other = frames.take({ pages: 212, ...anywhere })!;
    expect([one, other]).toEqual([
      { index: 0, start: 0, pages: 300 },
      { index: 0, start: 300, pages: 212 },
    ]);
    expect(frames.take({ pages: 1, ...anywhere })).toBeUndefined();
    frames.give(one);
    expect(frames.take({ pages: 301, ...anywhere })).toBeUndefined();
    expect(frames.take({ pages: 300, ...anywhere })).toEqual(one);
  });

  it('do not run over the end of their huge page, though the next one is free', () => {
    const frames = make(8n, 9n);
    frames.take({ pages: 400, ...anywhere });
    expect(frames.take({ pages: 200, ...anywhere })).toEqual({ index: 1, start: 0, pages: 200 });
  });

  it('are aligned as asked, by their physical address', () => {
    const frames = make(8n);
    frames.take({ pages: 1, ...anywhere });
    expect(frames.take({ pages: 2, alignment: 0x10000n, below: 1n << 52n })).toEqual({ index: 0, start: 16, pages: 2 });
    const large = make(9n, 16n);
    expect(large.take({ pages: 1, alignment: 32n << 20n, below: 1n << 52n })).toEqual({ index: 1, start: 0, pages: 1 });
  });

  it('lie below the limit with all their bytes', () => {
    const frames = make(200n, 8n);
    const below = 9n * BigInt(HUGE) - BigInt(PAGE);
    expect(frames.take({ pages: 511, alignment: 4096n, below })).toEqual({ index: 1, start: 0, pages: 511 });
    expect(frames.take({ pages: 1, alignment: 4096n, below })).toBeUndefined();
    expect(frames.take({ pages: 1, ...anywhere })?.index).toBe(0);
  });
});

describe('more than a huge page', () => {
  it('is whole huge pages that are neighbours in the file, wherever they are in memory', () => {
    const frames = make(30n, 8n, 99n);
    frames.take({ pages: 1, ...anywhere });
    const run = frames.take({ pages: 513, ...anywhere })!;
    expect(run).toEqual({ index: 1, start: 0, pages: 1024 });
    expect(frames.take({ pages: 600, ...anywhere })).toBeUndefined();
    frames.give(run);
    expect(frames.take({ pages: 600, ...anywhere })).toEqual(run);
  });

  it('skips pages above the limit and holes', () => {
    const frames = make(1n, 500n, 2n, 3n, 4n, 5n);
    frames.remove(3);
    expect(frames.take({ pages: 1024, alignment: 4096n, below: 100n * BigInt(HUGE) })).toEqual({
      index: 4,
      start: 0,
      pages: 1024,
    });
  });
});

describe('huge pages', () => {
  it('can be taken out only while nothing of them is in use', () => {
    const frames = make(1n);
    const place = frames.take({ pages: 1, ...anywhere })!;
    expect(frames.remove(0)).toBe(false);
    frames.give(place);
    expect(frames.remove(0)).toBe(true);
    expect(frames.remove(0)).toBe(false);
    expect(frames.take({ pages: 1, ...anywhere })).toBeUndefined();
    expect(frames.add(7n * BigInt(HUGE))).toBe(1);
  });
});
