// The queue face of the NVMe driver against one function on raw typed arrays, both on a controller that costs almost nothing:
// it completes what it is told of, in order. Prints ns per I/O, best and median of the rounds; the controller is in both figures.
import type { DmaBuffer, RegisterWindow, SystemCalls } from 'vfio-core';
import { QueuePair } from '../packages/drivers-example/src/nvme/queue.js';

const DEPTH = 256;
const ROUNDS = 9;
const IO_PER_ROUND = 1_000_000;
const TAIL = 0x1008;
const HEAD = 0x100c;
const BLOCKS = 1 << 20;

class Memory {
  readonly bytes: Uint8Array;
  readonly closed = false;
  readonly contiguous = true;
  constructor(
    readonly length: number,
    readonly base: number,
  ) {
    this.bytes = new Uint8Array(length);
  }
  low(offset: number): number {
    return (this.base + offset) >>> 0;
  }
  high(_offset: number): number {
    return 1;
  }
}

const memory = (length: number, base: number) => new Memory(length, base) as unknown as DmaBuffer;

/** Completes the commands between the last tail and the new one. */
class Controller {
  private done = 0;
  private at = 0;
  private phase = 1;
  constructor(
    private readonly submissions: Uint32Array,
    private readonly completions: Uint32Array,
  ) {}
  tail(tail: number): void {
    while (this.done !== tail) {
      const slot = this.submissions[this.done * 16]! >>> 16;
      this.completions[this.at * 4 + 3] = slot | (this.phase << 16);
      if (++this.at === DEPTH) {
        this.at = 0;
        this.phase ^= 1;
      }
      if (++this.done === DEPTH) this.done = 0;
    }
  }
}

const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return (seed >>> 8) % (BLOCKS - 8);
};

function withClasses(batch: number): () => void {
  const submission = memory(DEPTH * 64, 0x10_0000);
  const completion = memory(DEPTH * 16, 0x20_0000);
  const controller = new Controller(new Uint32Array(submission.bytes.buffer), new Uint32Array(completion.bytes.buffer));
  const window = {
    length: 0x2000,
    closed: false,
    read32: () => 1,
    write32: (offset: number, value: number) => {
      if (offset === TAIL) controller.tail(value);
    },
  } as unknown as RegisterWindow;
  const system = { now: () => 0, storeBarrier: () => {} } as unknown as SystemCalls;
  const disk = { id: 1, blockSize: 512, blocks: BigInt(BLOCKS), blockCount: BLOCKS };
  const queue = new QueuePair({
    ...{ id: 1, depth: DEPTH, pageSize: 4096, maxTransfer: 1 << 17, listBytes: 256, timeout: 30_000, readOnly: false },
    ...{ system, window, tailDoorbell: TAIL, headDoorbell: HEAD, submission, completion },
    lists: memory(DEPTH * 256, 0x30_0000),
    namespaces: [disk],
    alive: () => {},
    remappings: () => 0,
    release: async () => {},
  });
  const buffers = Array.from({ length: batch }, (_, slot) => memory(4096, 0x100_0000 + slot * 4096));
  const next = random(1);
  let done = 0;
  const again = (slot: number, _status: number) => {
    done++;
    queue.read(slot, disk, next(), buffers[slot]!, 8);
  };
  for (let slot = 0; slot < batch; slot++) queue.read(slot, disk, next(), buffers[slot]!, 8);
  queue.ring();
  return () => {
    for (done = 0; done < IO_PER_ROUND; ) queue.poll(again);
  };
}

function withRawArrays(batch: number): () => void {
  const sq = new Uint32Array(DEPTH * 16);
  const cq = new Uint32Array(DEPTH * 4);
  const doorbells = new Uint32Array(2);
  const controller = new Controller(sq, cq);
  const next = random(1);
  let tail = 0;
  let head = 0;
  let phase = 1;
  const put = (slot: number) => {
    const at = tail * 16;
    const lba = next();
    sq[at] = 2 | (slot << 16);
    sq[at + 1] = 1;
    for (let word = 2; word < 6; word++) sq[at + word] = 0;
    sq[at + 6] = 0x100_0000 + slot * 4096;
    sq[at + 7] = 1;
    sq[at + 8] = 0;
    sq[at + 9] = 0;
    sq[at + 10] = lba;
    sq[at + 11] = 0;
    sq[at + 12] = 7;
    for (let word = 13; word < 16; word++) sq[at + word] = 0;
    if (++tail === DEPTH) tail = 0;
  };
  for (let slot = 0; slot < batch; slot++) put(slot);
  controller.tail(tail);
  return () => {
    for (let done = 0; done < IO_PER_ROUND; ) {
      for (;;) {
        const word = cq[head * 4 + 3]! | 0;
        if (((word >>> 16) & 1) !== phase) break;
        if (++head === DEPTH) {
          head = 0;
          phase ^= 1;
        }
        done++;
        put(word & 0xffff);
      }
      doorbells[0] = head;
      doorbells[1] = tail;
      controller.tail(tail);
    }
  };
}

const nanoseconds = (round: () => void): number => {
  const start = process.hrtime.bigint();
  round();
  return Number(process.hrtime.bigint() - start) / IO_PER_ROUND;
};
const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

console.log(
  `ns per I/O, controller included; best / median of ${ROUNDS} rounds of ${IO_PER_ROUND} I/Os, in alternation`,
);
for (const batch of [1, 8, 32]) {
  const contenders = [
    { name: 'queue pair', round: withClasses(batch), times: [] as number[] },
    { name: 'raw arrays', round: withRawArrays(batch), times: [] as number[] },
  ];
  for (const { round } of contenders) round(); // warm up
  for (let i = 0; i < ROUNDS; i++) for (const one of contenders) one.times.push(nanoseconds(one.round));
  for (const { name, times } of contenders) {
    console.log(
      `batch ${String(batch).padStart(2)}  ${name}  ${Math.min(...times).toFixed(1)} / ${median(times).toFixed(1)}`,
    );
  }
}
