/** What an {@link IovaAllocator} must hold to through any sequence of calls, for as many steps as wanted. */

import type { AddressRange } from '../memory/dma.js';
import { IovaAllocator, type IovaOptions } from '../memory/iova-allocator.js';
import { Random } from './random.js';

/** Inclusive, like the ranges. */
type Live = AddressRange;

const page = 4096n;
const hex = (value: bigint | undefined) => (value === undefined ? 'nothing' : `0x${value.toString(16)}`);
const up = (value: bigint, step: bigint) => ((value + step - 1n) / step) * step;

/** Sets of usable ranges: the borders that matter lie among few pages, so that steps meet them often. */
const rangeSets: readonly (readonly AddressRange[])[] = [
  [
    { start: 0n, end: 0x7ffffn },
    { start: 0xfed0_0000n, end: 0xfeff_ffffn },
    { start: 0xffff_0000n, end: 0x1_0007_ffffn },
  ],
  [
    { start: 0n, end: 0x3ffffn },
    { start: 0xfed8_0000n, end: 0x1_0007_ffffn },
  ],
  [{ start: 0n, end: 0x1f_ffffn }],
  [
    { start: 0x10_0000n, end: 0x10_0fffn },
    { start: 0x20_0800n, end: 0x30_07ffn },
    { start: 2n ** 53n - 0x4_0000n, end: 2n ** 64n - 1n },
  ],
];

/** The plain model: a sorted list of what is live. Everything is found by walking over it. */
class Model {
  readonly live: Live[] = [];

  insert(start: bigint, end: bigint): void {
    const index = this.live.findIndex((one) => one.start > start);
    this.live.splice(index < 0 ? this.live.length : index, 0, { start, end });
  }

  overlaps(start: bigint, end: bigint): boolean {
    return this.live.some((one) => start <= one.end && one.start <= end);
  }

  /** Free parts of a range. */
  gaps({ start, end }: AddressRange): AddressRange[] {
    const gaps: AddressRange[] = [];
    let from = start;
    for (const one of this.live) {
      if (one.end < from) continue;
      if (one.start > end) break;
      if (one.start > from) gaps.push({ start: from, end: one.start - 1n });
      from = one.end + 1n;
    }
    if (from <= end) gaps.push({ start: from, end });
    return gaps;
  }
}

/** What the allocator's documentation says of where an allocation goes, found the slow way. */
function expected(iovas: IovaAllocator, model: Model, size: bigint, options: IovaOptions): bigint | undefined {
  const { alignment = page, below = 2n ** 53n, shortLived = false } = options;
  const { ranges, windows } = iovas;
  const step = alignment > page ? alignment : page;
  const fit = ({ start, end }: AddressRange, limit = below) => {
    const at = up(start, step);
    const last = at + size - 1n;
    return last <= end && last < limit ? at : undefined;
  };
  const msi = 0xfee0_0000n;
  const outside = ranges.flatMap((range) => {
    const window = windows.find(({ end }) => end === range.end);
    return window === undefined ? [range] : [{ start: range.start, end: window.start - 1n }];
  });
  const bySize = (parts: readonly AddressRange[]) =>
    parts
      .flatMap((part) => model.gaps(part))
      .filter(({ start, end }) => end - start + 1n >= size)
      .sort((a, b) => Number(a.end - a.start - (b.end - b.start)) || Number(a.start - b.start));
  const smallest = (parts: readonly AddressRange[]) => bySize(parts).find((gap) => fit(gap) !== undefined);
  const choose = (parts: readonly AddressRange[]) => {
    const [low, high] = [parts.filter(({ end }) => end < msi), parts.filter(({ start }) => start >= msi)];
    const cuts = high.some(({ end }) => end >= below);
    return (cuts ? (smallest(low) ?? smallest(high)) : smallest(parts)) satisfies AddressRange | undefined;
  };
  const [own, other] = shortLived ? [windows, outside] : [outside, windows];
  const hole = choose(own) ?? choose(other) ?? smallest(ranges);
  return hole === undefined ? undefined : fit(hole);
}

/** What {@link checkAgainstModel} saw, so that a test can tell that the steps were not all of one kind. */
export interface ModelRun {
  readonly steps: number;
  readonly allocated: number;
  readonly refused: number;
  readonly freed: number;
  readonly taken: number;
  readonly moved: number;
  readonly stranded: number;
  readonly mostLive: number;
}

/**
 * Random calls, each answer compared with the plain model's. Throws an error that names seed and step where they differ.
 *
 * Few holes and alignments of up to 64 KiB, so that the exact rule holds: with no more than 32 holes nothing is passed over.
 */
export function checkAgainstModel(seed: number, steps: number): ModelRun {
  const random = new Random(seed);
  const model = new Model();
  let iovas = new IovaAllocator(random.pick(rangeSets), Number(page));
  const run = { steps, allocated: 0, refused: 0, freed: 0, taken: 0, moved: 0, stranded: 0, mostLive: 0 };
  let step = 0;
  const fail = (what: string): never => {
    throw new Error(`seed ${seed}, step ${step}: ${what}`);
  };
  const same = (what: string, got: unknown, wanted: unknown) => {
    if (got !== wanted) fail(`${what}: ${String(got)} instead of ${String(wanted)}`);
  };

  const allocate = () => {
    const bytes = BigInt(1 + random.below(random.once(10) ? 0x40000 : 0x6000));
    const options: IovaOptions = {
      ...(random.once(3) ? { alignment: 1n << BigInt(10 + random.below(7)) } : {}),
      ...(random.once(4)
        ? { below: random.pick([0x2_0000n, 0x2_0800n, 0xfef8_0000n, 2n ** 32n, 2n ** 32n + 0x2_0000n]) }
        : {}),
      ...(random.once(3) ? { shortLived: true } : {}),
    };
    const size = up(bytes, page);
    const got = iovas.allocate(bytes, options);
    // After the call: the first that is short-lived sets the window aside.
    const wanted = expected(iovas, model, size, options);
    if (got !== wanted) {
      fail(`${size} bytes ${options.shortLived ? 'for a while ' : ''}at ${hex(got)} instead of ${hex(wanted)}`);
    }
    if (got === undefined) run.refused++;
    else {
      run.allocated++;
      if (model.overlaps(got, got + size - 1n)) fail(`${hex(got)} is in use`);
      model.insert(got, got + size - 1n);
    }
  };

  const take = () => {
    const range = random.pick(iovas.ranges);
    const start = range.start + BigInt(random.below(Number(range.end - range.start) + 0x2000)) - 0x1000n;
    const at = random.once(8) ? start : (start / page) * page;
    const size = up(BigInt(1 + random.below(0x4000)), page);
    const inside = at % page === 0n && iovas.ranges.some((one) => at >= one.start && at + size - 1n <= one.end);
    const wanted = !inside ? 'outside' : model.overlaps(at, at + size - 1n) ? 'in use' : undefined;
    same(`obstacle at ${hex(at)}`, iovas.obstacle(at, size), wanted);
    same(`take ${hex(at)}`, iovas.take(at, size), wanted === undefined);
    if (wanted !== undefined) return;
    run.taken++;
    model.insert(at, at + size - 1n);
  };

  const free = () => {
    const [gone] = model.live.splice(random.below(model.live.length), 1);
    if (gone === undefined) return;
    run.freed++;
    same(`free ${hex(gone.start)}`, iovas.free(gone.start), true);
    same('free again', iovas.free(gone.start), false);
  };

  const move = () => {
    const stranded = iovas.setRanges(random.pick(rangeSets));
    const { ranges } = iovas;
    const wanted = model.live.filter(({ start, end }) => !ranges.some((one) => start >= one.start && end <= one.end));
    same('stranded', stranded.map(({ start }) => start).join(), wanted.map(({ start }) => start).join());
    run.moved++;
    run.stranded += stranded.length;
  };

  const look = () => {
    same('count', iovas.count, model.live.length);
    const gaps = iovas.ranges.flatMap((range) => model.gaps(range)).map(({ start, end }) => end - start + 1n);
    same(
      'free bytes',
      iovas.freeBytes,
      gaps.reduce((sum, size) => sum + size, 0n),
    );
    same('largest free', iovas.largestFree, BigInt(Math.max(0, ...gaps.map(Number))));
    const { start, end } = random.pick(iovas.ranges);
    const address = start + BigInt(random.below(Number(end - start) + 1));
    const holder = model.live.find((one) => address >= one.start && address <= one.end);
    same(`holder of ${hex(address)}`, hex(iovas.holder(address)?.start), hex(holder?.start));
  };

  for (; step < steps; step++) {
    // As many go as come where a score is live: all are gone now and then, and the space is full now and then.
    const wanted = 4 + ((step >> 9) & 31);
    if (random.below(2 * wanted) >= model.live.length) random.once(8) ? take() : allocate();
    else free();
    run.mostLive = Math.max(run.mostLive, model.live.length);
    if (random.once(16)) look();
    if (random.once(500)) move();
    if (random.once(20_000)) {
      for (const { start } of model.live.splice(0)) iovas.free(start);
      same('free after all', iovas.largestFree, new IovaAllocator(iovas.ranges, Number(page)).largestFree);
      iovas = new IovaAllocator(random.pick(rangeSets), Number(page));
    }
  }
  return run;
}
