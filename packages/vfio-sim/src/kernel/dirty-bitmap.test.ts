import { describe, expect, it } from 'vitest';
import { AddressSpace } from './address-space.js';
import { ByteStore } from './byte-store.js';
import { holds, report } from './dirty-bitmap.js';
import type { Mapping } from './mapping-table.js';

const page = 4096n;

const mapping = (first: bigint, pages: bigint): Mapping => ({
  iova: first * page,
  end: (first + pages) * page,
  flags: 3,
  pinned: [],
  locked: 0,
  void: false,
  dirty: 0n,
});

function processWith(bytes: number) {
  const space = new AddressSpace();
  const store = new ByteStore(4096);
  const bitmap = { pageSize: page, size: BigInt(bytes), address: space.add(store, 0, 4096) };
  const words = (count: number): bigint[] => {
    const read = new Uint8Array(8 * count);
    store.read(0, read);
    return [...new BigUint64Array(read.buffer)];
  };
  return { space, bitmap, words, store };
}

describe('a bitmap of written pages', () => {
  it('[T1-49] has to have a bit for each page, in whole words', () => {
    const bitmap = (size: bigint, pageSize = page) => ({ pageSize, size, address: 0n });
    expect(holds(bitmap(8n), 64n * page)).toBe(true);
    expect(holds(bitmap(8n), 65n * page)).toBe(false);
    expect(holds(bitmap(16n), 65n * page)).toBe(true);
    expect(holds(bitmap(7n), page)).toBe(false);
    expect(holds(bitmap(8n), 0n)).toBe(false);
    expect(holds(bitmap(8n, 0n), page)).toBe(false);
    expect(holds(bitmap(0x1000_0008n), page)).toBe(false);
  });

  it('[T1-50] shows all pages of a mapping, across words, and leaves the words before it', () => {
    const { space, bitmap, words, store } = processWith(32);
    store.write(0, new Uint8Array(8).fill(0xee));
    expect(report(space, bitmap, mapping(126n, 4n), 0n)).toBe(0);
    expect(words(4)).toEqual([0xeeee_eeee_eeee_eeeen, 0xc000_0000_0000_0000n, 3n, 0n]);
  });

  it('[T1-50] shows bits behind a mapping from the second time on, unless it begins with a word', () => {
    const { space, bitmap, words, store } = processWith(16);
    const [even, odd] = [mapping(64n, 2n), mapping(3n, 1n)];
    const ask = () => {
      store.write(0, new Uint8Array(16));
      for (const one of [odd, even]) report(space, bitmap, one, 0n);
      return words(2);
    };
    expect(ask()).toEqual([0b1000n, 0b11n]);
    expect(ask()).toEqual([0b100_1000n, 0b11n]);
  });

  it('is EFAULT where the process has no memory', () => {
    const { space, bitmap } = processWith(16);
    expect(report(space, { ...bitmap, address: 0x1000n }, mapping(0n, 1n), 0n)).toBe(-14);
  });
});
