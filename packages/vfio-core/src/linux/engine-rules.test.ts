/**
 * What the hot path takes for granted of the JavaScript engine, and no specification promises: plain loads and stores of
 * typed arrays are done each time that the program says so. A second thread stands at the other end of the memory. The
 * day that an engine merges, drops or hoists them, these fail.
 */

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import type { RegisterWindow } from '../seam/register-window.js';
import { MappedWindow } from '../seam/windows.js';
import { describeLinux } from '../testing/describe-linux.js';
import { addonPath } from './addon.js';
import { linux } from './index.js';

/** Bytes of a page that this thread and another see, and how the other comes by them. */
interface Shared {
  readonly bytes: Uint8Array;
  readonly forOther: { readonly buffer?: SharedArrayBuffer; readonly fd?: number; readonly addon?: string };
  close(): void;
}

// Words of the page: 0 counts up for ever, 1 is stored to by us, 2 how often the other saw a 1 there, 3 tells it to end.
const other = `
  const { workerData, parentPort } = require('node:worker_threads');
  const { buffer, fd, addon } = workerData;
  const words = new Int32Array(buffer ?? require(addon).mapFile(fd, 0, 4096).buffer);
  parentPort.postMessage('ready');
  let n = 0;
  let seen = 0;
  while (Atomics.load(words, 3) === 0) {
    for (let i = 0; i < 1000; i++) {
      Atomics.store(words, 0, n = (n + 1) | 0);
      if (Atomics.load(words, 1) === 1) Atomics.store(words, 2, ++seen);
    }
  }
`;

async function withOther(shared: Shared, body: () => void): Promise<void> {
  const words = new Int32Array(shared.bytes.buffer, shared.bytes.byteOffset, 4);
  const thread = new Worker(other, { eval: true, workerData: shared.forOther });
  const ended = new Promise((resolve) => thread.once('exit', resolve));
  await new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
  });
  try {
    body();
  } finally {
    words[3] = 1;
    await ended;
    shared.close();
  }
}

/** How often `round` runs before it counts: by then it is compiled, so that what counts is compiled code alone. */
const warmups = 5;
const loops = 2e7;

/** The sum of what the rounds found, until one found something: how much the other thread runs is not ours to say. */
function rounds(round: () => number, found: () => number): number {
  for (let i = 0; i < warmups; i++) round();
  found();
  for (let i = 0; i < 50; i++) {
    round();
    const sum = found();
    if (sum > 0) return sum;
  }
  return 0;
}

/** Rules of one way to the memory. Fresh functions each, so that the engine compiles each for one kind of array. */
function rules(share: () => Shared): void {
  const words = (shared: Shared): Uint32Array =>
    new Uint32Array(shared.bytes.buffer, shared.bytes.byteOffset, shared.bytes.length / 4);
  const window = (shared: Shared): RegisterWindow => new MappedWindow(shared.bytes);

  /** Runs a round whose own result is what it found. */
  const counted = (round: () => number): number => {
    let last = 0;
    return rounds(
      () => {
        last = round();
        return last;
      },
      () => last,
    );
  };

  /** Runs a round, and asks the other thread what it found since the last time. */
  const seenByOther = (shared: Shared, round: () => number): number => {
    const seen = new Int32Array(shared.bytes.buffer, shared.bytes.byteOffset, 4);
    let before = 0;
    return rounds(round, () => {
      const now = Atomics.load(seen, 2);
      const more = now - before;
      before = now;
      return more;
    });
  };

  it('a load is not hoisted out of a polling loop: on a typed array', async () => {
    const shared = share();
    const array = words(shared);
    // One change could be the one between two rounds; two are seen by a loop that looks again.
    const round = new Function(
      'array',
      'loops',
      'let last = array[0], changes = 0; for (let i = 0; i < loops; i++) { const now = array[0]; if (now !== last) { changes++; last = now; } } return changes > 1 ? changes : 0;',
    );
    await withOther(shared, () => expect(counted(() => round(array, loops))).toBeGreaterThan(0));
  });

  it('a load is not hoisted out of a polling loop: through a window', async () => {
    const shared = share();
    const registers = window(shared);
    const round = new Function(
      'registers',
      'loops',
      'let last = registers.read32(0), changes = 0; for (let i = 0; i < loops; i++) { const now = registers.read32(0); if (now !== last) { changes++; last = now; } } return changes > 1 ? changes : 0;',
    );
    await withOther(shared, () => expect(counted(() => round(registers, loops))).toBeGreaterThan(0));
  });

  it('two loads in a row are not merged: on a typed array', async () => {
    const shared = share();
    const array = words(shared);
    const round = new Function(
      'array',
      'loops',
      'let differ = 0; for (let i = 0; i < loops; i++) { if (array[0] !== array[0]) differ++; } return differ;',
    );
    await withOther(shared, () => expect(counted(() => round(array, loops))).toBeGreaterThan(0));
  });

  it('two loads in a row are not merged: through a window', async () => {
    const shared = share();
    const registers = window(shared);
    const round = new Function(
      'registers',
      'loops',
      'let differ = 0; for (let i = 0; i < loops; i++) { if (registers.read32(0) !== registers.read32(0)) differ++; } return differ;',
    );
    await withOther(shared, () => expect(counted(() => round(registers, loops))).toBeGreaterThan(0));
  });

  it('the first of two stores in a row is not dropped: on a typed array', async () => {
    const shared = share();
    const array = words(shared);
    const round = new Function(
      'array',
      'loops',
      'for (let i = 0; i < loops; i++) { array[1] = 1; array[1] = 2; } return 0;',
    );
    await withOther(shared, () => expect(seenByOther(shared, () => round(array, loops))).toBeGreaterThan(0));
  });

  it('the first of two stores in a row is not dropped: through a window', async () => {
    const shared = share();
    const registers = window(shared);
    const round = new Function(
      'registers',
      'loops',
      'for (let i = 0; i < loops; i++) { registers.write32(4, 1); registers.write32(4, 2); } return 0;',
    );
    await withOther(shared, () => expect(seenByOther(shared, () => round(registers, loops))).toBeGreaterThan(0));
  });
}

describe('in memory of the engine', () => {
  rules(() => {
    const buffer = new SharedArrayBuffer(4096);
    return { bytes: new Uint8Array(buffer), forOther: { buffer }, close: () => {} };
  });
});

describeLinux('in mapped memory', () => {
  rules(() => {
    const system = linux();
    const fd = system.memfd('rules');
    system.truncate(fd, 4096);
    const memory = system.memory({ kind: 'file', fd, offset: 0, length: 4096 });
    if (typeof memory === 'number') throw new Error(`memory: ${memory}`);
    return {
      bytes: memory.bytes,
      forOther: { fd, addon: addonPath() },
      close: () => {
        memory.unmap();
        system.close(fd);
      },
    };
  });
});
