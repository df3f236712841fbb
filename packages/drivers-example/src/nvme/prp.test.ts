import { describe, expect, it } from 'vitest';
import { PlainBuffer } from '../testing/scripted-controller.js';
import { largestTransfer, listBytes, PrpLists } from './prp.js';

const PAGE = 4096;

/** What a controller reads out of PRP1, PRP2 and the list, as section 4.3 says: the address of each piece, and its length. */
function walk(entry: Uint32Array, lists: PlainBuffer, bytes: number): { address: bigint; bytes: number }[] {
  const pair = (words: Uint32Array, at: number) => BigInt(words[at]!) | (BigInt(words[at + 1]!) << 32n);
  const first = pair(entry, 6);
  const inFirst = PAGE - Number(first % 4096n);
  const pieces = [{ address: first, bytes: Math.min(bytes, inFirst) }];
  let left = bytes - inFirst;
  if (left <= 0) {
    expect(pair(entry, 8)).toBe(0n);
    return pieces;
  }
  if (left <= PAGE) return [...pieces, { address: pair(entry, 8), bytes: left }];
  const list = Number(pair(entry, 8) - lists.address);
  expect(list % 8).toBe(0);
  const words = new Uint32Array(lists.bytes.buffer, list);
  // A list may not run past its page without being chained.
  expect(Math.floor(list / PAGE)).toBe(Math.floor((list + Math.ceil(left / PAGE) * 8 - 1) / PAGE));
  for (let i = 0; left > 0; i += 2, left -= PAGE) pieces.push({ address: pair(words, i), bytes: Math.min(left, PAGE) });
  return pieces;
}

const LIMIT = 1 << 19;
const perSlot = listBytes(LIMIT, PAGE);
const make = () => {
  const memory = new PlainBuffer(8 * perSlot, 0x2_0000_0000n);
  return { memory, lists: new PrpLists(memory, perSlot, PAGE) };
};

describe('PRP entries', () => {
  // From one block to the largest transfer, aligned and not, over every boundary where the form changes.
  const cases = [0, 4, 512, 2048, 4092].flatMap((offset) =>
    [512, 4096 - offset, 4096, 8192 - offset, 8192, 12288 - offset, 12288, 65536, LIMIT]
      .filter((bytes) => bytes > 0)
      .map((bytes) => ({ offset, bytes })),
  );

  it.each(cases)('name $bytes bytes at offset $offset of a contiguous buffer', ({ offset, bytes }) => {
    const { memory, lists } = make();
    const buffer = new PlainBuffer(LIMIT + 8192, 0x7_ffff_0000n);
    const entries = new Uint32Array(32);
    lists.point(entries, 16, 3, buffer, offset, bytes);
    const pieces = walk(entries.subarray(16), memory, bytes);
    let expected = buffer.address + BigInt(offset);
    for (const piece of pieces) {
      expect(piece.address).toBe(expected);
      expected += BigInt(piece.bytes);
    }
    expect(expected - buffer.address).toBe(BigInt(offset + bytes));
    for (const { address } of pieces.slice(1)) expect(address % 4096n).toBe(0n);
  });

  it('name each page of a buffer that is not contiguous', () => {
    const { memory, lists } = make();
    const pages = [0x9000n, 0x3_0000_1000n, 0x5000n, 0xffff_ffff_f000n];
    const buffer = new PlainBuffer(4 * PAGE, 0x9000n, pages);
    const entry = new Uint32Array(16);
    lists.point(entry, 0, 0, buffer, 1024, 3 * PAGE);
    expect(walk(entry, memory, 3 * PAGE)).toEqual([
      { address: 0x9400n, bytes: 3072 },
      { address: 0x3_0000_1000n, bytes: 4096 },
      { address: 0x5000n, bytes: 4096 },
      { address: 0xffff_ffff_f000n, bytes: 1024 },
    ]);
  });

  it('of two slots do not share a list', () => {
    const { memory, lists } = make();
    const one = new PlainBuffer(LIMIT, 0x10_0000n);
    const two = new PlainBuffer(LIMIT, 0x90_0000n);
    const entries = new Uint32Array(32);
    lists.point(entries, 0, 0, one, 0, LIMIT);
    lists.point(entries, 16, 1, two, 0, LIMIT);
    expect(walk(entries, memory, LIMIT)[100]?.address).toBe(one.at(100 * PAGE));
    expect(walk(entries.subarray(16), memory, LIMIT)[100]?.address).toBe(two.at(100 * PAGE));
  });
});

describe('PRP lists', () => {
  it('are a power of two, so that none crosses a page, and never longer than a page', () => {
    expect(listBytes(1 << 17, PAGE)).toBe(256);
    expect(listBytes(1 << 19, PAGE)).toBe(1024);
    expect(listBytes(3 * PAGE, PAGE)).toBe(32);
    expect(listBytes(512, PAGE)).toBe(8);
    expect(listBytes(largestTransfer(PAGE), PAGE)).toBe(PAGE);
  });

  it('hold no more than 65536 of the smallest blocks on controllers of large pages', () => {
    expect(largestTransfer(4096)).toBe(2 << 20);
    expect(largestTransfer(16_384)).toBe(32 << 20);
    expect(largestTransfer(65_536)).toBe(32 << 20);
  });
});
