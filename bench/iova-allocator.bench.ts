// Device addresses at 65,535 live mappings, as many as a container of the kernel takes: steps a second (one gives an address back, or takes
// one) and memory, beside a plain list of holes that is walked whole for each allocation. Best and median of the rounds, in alternation.
// No kept package does the same: those that hand out numbers give one at a time, and the peer here is this project's own first allocator.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { IovaAllocator, type IovaOptions } from '../packages/vfio-core/src/memory/iova-allocator.js';
import { Random } from '../packages/vfio-core/src/testing/random.js';
import { LinearAllocator } from './previous/linear-allocator.js';

const LIVE = 65_535;
const ROUNDS = 7;
const KiB = 2 ** 10;
const MiB = 2 ** 20;
const ranges = [
  { start: 0x1000n, end: 0xfedf_ffffn },
  { start: 0xfef0_0000n, end: 0x7fff_ffff_ffffn },
];

interface Allocator {
  readonly holes: number;
  allocate(size: bigint, options: IovaOptions): bigint | undefined;
  free(start: bigint): boolean;
}

interface Load {
  readonly name: string;
  readonly options: IovaOptions;
  readonly size: (random: Random) => number;
}

const mixed = (random: Random): number => {
  const kind = random.below(10);
  return 4 * KiB * (1 + random.below(kind < 5 ? 4 : kind < 8 ? 64 : 1024));
};
const loads: readonly Load[] = [
  { name: 'a page each', options: {}, size: () => 4 * KiB },
  { name: '4 KiB to 4 MiB', options: {}, size: mixed },
  { name: 'the same for a while', options: { shortLived: true }, size: mixed },
  {
    name: '4 to 16 KiB below 4 GiB',
    options: { below: 2n ** 32n },
    size: (random) => 4 * KiB * (1 + random.below(4)),
  },
  { name: '4 KiB to 4 MiB, each at 2 MiB', options: { alignment: BigInt(2 * MiB) }, size: mixed },
];

/** An allocator at its full number of mappings, one of which a step replaces. */
class Contender {
  readonly nanoseconds: number[] = [];
  private readonly random = new Random(1);
  private readonly starts: bigint[] = [];

  constructor(
    readonly name: string,
    readonly allocator: Allocator,
    private readonly load: Load,
    private readonly pairs: number,
  ) {
    for (let count = 0; count < LIVE; count++) this.starts.push(this.one());
    for (let count = 0; count < pairs; count++) this.replace();
  }

  round(): void {
    const start = process.hrtime.bigint();
    for (let count = 0; count < this.pairs; count++) this.replace();
    this.nanoseconds.push(Number(process.hrtime.bigint() - start) / (2 * this.pairs));
  }

  toString(): string {
    const sorted = [...this.nanoseconds].sort((a, b) => a - b);
    const [best, median] = [sorted[0] as number, sorted[sorted.length >> 1] as number];
    const perSecond = Math.round(1e9 / median).toLocaleString('en');
    const holes = `${this.allocator.holes} holes`.padStart(12);
    return `  ${this.name.padEnd(10)} ${best.toFixed(0)} / ${median.toFixed(0)} ns a step, ${perSecond} a second, ${holes}`;
  }

  private replace(): void {
    const index = this.random.below(LIVE);
    this.allocator.free(this.starts[index] as bigint);
    this.starts[index] = this.one();
  }

  private one(): bigint {
    const start = this.allocator.allocate(BigInt(this.load.size(this.random)), this.load.options);
    if (start === undefined) throw new Error(`${this.load.name}: no room`);
    return start;
  }
}

const linear = () => new LinearAllocator(ranges.map(({ start, end }) => ({ start, end: end + 1n })));

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const used = (): number => {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

console.log(`bytes a mapping at ${LIVE}, every second of twice as many given back, so that each lies beside a hole`);
for (const [name, make] of [
  ['allocator', () => new IovaAllocator(ranges, 4 * KiB)],
  ['plain list', linear],
] as const) {
  const before = used();
  const allocator: Allocator = make();
  const starts = Array.from({ length: 2 * LIVE }, () => Number(allocator.allocate(BigInt(4 * KiB), {})));
  for (let index = 0; index < starts.length; index += 2) allocator.free(BigInt(starts[index] as number));
  starts.length = 0;
  console.log(`  ${name.padEnd(10)} ${((used() - before) / LIVE).toFixed(1)} (${allocator.holes} holes)`);
}

console.log(`${LIVE} live mappings; best / median of ${ROUNDS} rounds, the random numbers of the load included`);
for (const load of loads) {
  console.log(load.name);
  const contenders = [
    new Contender('allocator', new IovaAllocator(ranges, 4 * KiB), load, 100_000),
    // With thousands of holes it takes hundreds of microseconds a step; it is filled in order, where there are few.
    new Contender('plain list', linear(), load, 300),
  ];
  for (let round = 0; round < ROUNDS; round++) for (const contender of contenders) contender.round();
  for (const contender of contenders) console.log(String(contender));
}
