import { describe, expect, it } from 'vitest';
import { Random } from '../testing/random.js';
import { PairList } from './pair-list.js';

type Pair = [number, number];
const compare = (a: Pair, b: Pair) => a[0] - b[0] || a[1] - b[1];
/** Index of the first pair of a sorted array that is not before this one. */
function place(pairs: readonly Pair[], pair: Pair): number {
  let [low, high] = [0, pairs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(pairs[middle] as Pair, pair) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function all(list: PairList): Pair[] {
  const pairs: Pair[] = [];
  for (list.seek(Number.NEGATIVE_INFINITY, 0); list.first < Number.POSITIVE_INFINITY; list.next()) {
    pairs.push([list.first, list.second]);
  }
  return pairs;
}

describe('PairList', () => {
  it('is empty at first, and looking at it finds nothing', () => {
    const list = new PairList();
    list.seek(1, 1);
    expect([list.first, list.second, list.firstBefore, list.secondBefore]).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
    list.seekLast();
    expect(list.first).toBe(Number.POSITIVE_INFINITY);
    expect(list.remove(1, 1)).toBe(false);
  });

  it.each([1, 2])(
    'holds what a sorted array holds while it grows to thousands and shrinks to none (seed %i)',
    (seed) => {
      const random = new Random(seed);
      const list = new PairList();
      const pairs: Pair[] = [];
      for (const wanted of [3000, 1000, 4000, 0, 300, 0]) {
        while (pairs.length !== wanted) {
          // Numbers beyond 32 bits, as page numbers are; few different first ones, as sizes are.
          const pair: Pair = [random.below(50) * 2 ** 33, random.word()];
          const grows = random.below(100) < 70 === pairs.length < wanted;
          const at = place(pairs, pair);
          list.seek(...pair);
          const [after, before] = [pairs[at], pairs[at - 1]];
          const right =
            list.first === (after?.[0] ?? Number.POSITIVE_INFINITY) &&
            list.second === (after?.[1] ?? Number.POSITIVE_INFINITY) &&
            list.firstBefore === (before?.[0] ?? Number.NEGATIVE_INFINITY) &&
            list.secondBefore === (before?.[1] ?? Number.NEGATIVE_INFINITY);
          if (!right) expect.unreachable(`${list.first} ${list.second} instead of ${after}, behind ${before}`);
          if (grows) {
            list.insert(...pair);
            pairs.splice(at, 0, pair);
          } else {
            expect(list.remove(...pair)).toBe(false);
            const [gone] = pairs.splice(random.below(pairs.length), 1);
            if (gone !== undefined) expect(list.remove(...gone)).toBe(true);
          }
          expect(list.length).toBe(pairs.length);
        }
        expect(JSON.stringify(all(list))).toBe(JSON.stringify(pairs));
        list.seekLast();
        expect(list.first).toBe(pairs.at(-1)?.[0] ?? Number.POSITIVE_INFINITY);
      }
      list.insert(1, 2);
      list.clear();
      expect(all(list)).toEqual([]);
    },
  );
});
