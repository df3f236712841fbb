/** A day of coming and going in an {@link IovaAllocator}: whether the free addresses are cut up more and more. */

import type { AddressRange } from '../memory/dma.js';
import { IovaAllocator, type IovaOptions } from '../memory/iova-allocator.js';
import { Random } from './random.js';

const KiB = 2 ** 10;
const MiB = 2 ** 20;

/** Means over a quarter of the steps. */
export interface Quarter {
  readonly holes: number;
  /** Bytes. */
  readonly largestFree: number;
  readonly freeBytes: number;
  /** Allocations for which no hole did, of a million. */
  readonly refused: number;
}

/** Sizes and wishes as drivers have them: rings and pages, packet pools, transfer buffers, huge pages. */
function request(random: Random): { readonly size: number; readonly options: IovaOptions } {
  const kind = random.below(100);
  if (kind < 50) return { size: 4 * KiB * (1 + random.below(4)), options: {} };
  if (kind < 80) return { size: 4 * KiB * (1 + random.below(64)), options: {} };
  if (kind < 90) return { size: 4 * KiB * (1 + random.below(1024)), options: {} };
  return { size: 2 * MiB * (1 + random.below(4)), options: { alignment: BigInt(2 * MiB) } };
}

/** Bytes of an average {@link request}, by which a test chooses how full its ranges are. */
export const meanRequest = 0.5 * 10 * KiB + 0.3 * 130 * KiB + 0.1 * 2050 * KiB + 0.1 * 5 * MiB;

/**
 * Keeps `live` mappings: each step gives back one, chosen at random, and takes another. The quarters count from where each mapping was
 * replaced forty times: the order of the beginning takes that long to wear off.
 */
export function churn(seed: number, steps: number, live: number, ranges: readonly AddressRange[]): Quarter[] {
  const random = new Random(seed);
  const iovas = new IovaAllocator(ranges, 4 * KiB);
  const starts: bigint[] = [];
  let refused = 0;
  const step = () => {
    const gone = random.below(live);
    const start = starts[gone];
    if (start !== undefined) {
      if (!iovas.free(start)) throw new Error(`seed ${seed}: 0x${start.toString(16)} was not taken`);
      starts[gone] = starts[starts.length - 1] as bigint;
      starts.pop();
    }
    while (starts.length < live) {
      const { size, options } = request(random);
      const got = iovas.allocate(BigInt(size), options);
      if (got !== undefined) starts.push(got);
      else if (++refused % 1000 === 0) throw new Error(`seed ${seed}: no room for ${size} bytes`);
    }
  };
  for (let count = 0; count < 40 * live; count++) step();
  return [1, 2, 3, 4].map(() => {
    const sums = { holes: 0, largestFree: 0, freeBytes: 0 };
    const every = Math.max(1, Math.floor(steps / 4 / 1000));
    let samples = 0;
    refused = 0;
    for (let count = 0; count < steps / 4; count++) {
      step();
      if (count % every !== 0) continue;
      samples++;
      sums.holes += iovas.holes;
      sums.largestFree += Number(iovas.largestFree);
      sums.freeBytes += Number(iovas.freeBytes);
    }
    return {
      holes: Math.round(sums.holes / samples),
      largestFree: Math.round(sums.largestFree / samples),
      freeBytes: Math.round(sums.freeBytes / samples),
      refused: Math.round((refused / (steps / 4)) * 1e6),
    };
  });
}
