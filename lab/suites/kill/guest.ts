import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { Nvme } from 'vfio-drivers-example';
import { bind } from 'vfio-pci';
import { check, field, mark, mode, monitor, note, openFiles, program, same, test } from '../guest.js';
import { openForMode } from '../open.js';

const address = '0000:01:00.0';
const kills = 20;
const counterFile = '/dev/shm/kill-counters';
/** The guest's program runs in the checkout. */
const victimProgram = resolve('lab/suites/kill/victim.mjs');
/** Takes most of what is free in a guest of 2 GiB. */
const watchedMiB = 600;

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** What the killed process wrote down: operations submitted, completed, failed. */
function counters(): { submitted: number; completed: number; failed: number } {
  const bytes = readFileSync(counterFile);
  const [submitted = 0, completed = 0, failed = 0] = new Uint32Array(bytes.buffer, bytes.byteOffset, 4);
  return { submitted, completed, failed };
}

async function startVictim(): Promise<ChildProcess> {
  writeFileSync(counterFile, new Uint8Array(4096));
  const child = spawn(process.execPath, [victimProgram, address, mode, counterFile], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (data) => {
    errors += data;
  });
  for (let waited = 0; waited < 60_000; waited += 20) {
    check(child.exitCode === null, `the process ended by itself: ${errors}`);
    if (counters().completed > 64) return child;
    await sleep(20);
  }
  throw new Error(`the process completed nothing: ${JSON.stringify(counters())} ${errors}`);
}

interface Watch {
  /** The watcher has filled its ordinary memory, at `at` of its address space, and takes what becomes free from now on. */
  readonly ready: Promise<{ readonly pid: number; readonly at: number }>;
  readonly found: Promise<{ readonly foreign: number; readonly huge: number }>;
}

/** Starts the watcher, with `mebibytes` of ordinary memory. */
function watch(milliseconds: number, mebibytes = watchedMiB): Watch {
  const child = spawn(program('watcher'), [String(mebibytes), String(milliseconds)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const ready = new Promise<{ pid: number; at: number }>((done, fail) => {
    child.stdout.on('data', (data) => {
      output += data;
      const filled = /^filled ([0-9a-f]+)$/m.exec(output);
      if (filled !== null) done({ pid: child.pid as number, at: Number.parseInt(filled[1] as string, 16) });
    });
    child.on('close', (code) => fail(new Error(`the watcher ended with ${code}: ${output}`)));
  });
  const found = once(child, 'close').then(() => {
    const [, huge, foreign] = /^huge (\d+)\nforeign (\d+)$/m.exec(output) ?? [];
    check(foreign !== undefined, `the watcher did not finish: ${output}`);
    return { foreign: Number(foreign), huge: Number(huge) };
  });
  return { ready, found };
}

/** Opens the device, reads one block, closes; the descriptors of this process are as before. */
async function reopen(): Promise<void> {
  const before = openFiles();
  const nvme = await Nvme.open(await openForMode(address));
  const [disk] = nvme.namespaces;
  check(disk !== undefined, 'no namespace after the kill');
  const buffer = nvme.dma.allocate(disk.blockSize);
  await disk.read(0n, buffer);
  buffer.close();
  await nvme[Symbol.asyncDispose]();
  same(openFiles(), before, 'descriptors after close');
}

test('the device is bound, and opens once before anything is killed', async () => {
  bind(address);
  await reopen();
  await reopen();
});

if (mode === 'noiommu')
  test('the watcher finds a byte that another process writes into its memory', async () => {
    const { ready, found } = watch(500, 16);
    const { pid, at } = await ready;
    const memory = openSync(`/proc/${pid}/mem`, 'r+');
    writeSync(memory, new Uint8Array([1]), 0, 1, at + 123 * 4096);
    closeSync(memory);
    same((await found).foreign, 1, 'foreign words');
  });

// What is in flight then takes about a second, so that the device is still at work when the process is gone.
async function throttle(bytesPerSecond: number): Promise<void> {
  const answer = await monitor(`block_set_io_throttle disk ${bytesPerSecond} 0 0 0 0 0`);
  check(!/Error|not found/i.test(answer), `the monitor says: ${answer}`);
}

if (mode === 'noiommu')
  test('the watcher finds what a device writes into huge pages that are freed too early', async () => {
    const victim = await startVictim();
    // Slower than below: the watcher, too, needs a while to start.
    await throttle(500_000);
    await sleep(200);
    victim.kill('SIGSTOP');
    const files = readdirSync('/dev/hugepages');
    check(files.length > 0, 'no file of the process on hugetlbfs');
    for (const file of files) truncateSync(`/dev/hugepages/${file}`);
    const { foreign, huge } = await watch(8000, 1).found;
    victim.kill('SIGKILL');
    await once(victim, 'exit');
    await throttle(0);
    check(huge > 0, 'the watcher got no huge page');
    check(foreign > 0, `no foreign word in ${huge} huge pages`);
    note(`${foreign} foreign words in ${huge} huge pages`);
    field('foreignWordsWhenFreedTooEarly', foreign);
    await reopen();
  });

test(
  `a process is killed ${kills} times with operations in flight, and the device opens again each time`,
  async () => {
    const inFlight: number[] = [];
    let foreignWords = 0;
    for (let kill = 1; kill <= kills; kill++) {
      const victim = await startVictim();
      await throttle(2_000_000);
      await sleep(200);
      const watcher = mode === 'noiommu' ? watch(1500) : undefined;
      await watcher?.ready;
      mark(`kill ${kill}`);
      victim.kill('SIGKILL');
      await once(victim, 'exit');
      const { submitted, completed, failed } = counters();
      same(failed, 0, 'failed operations');
      check(submitted > completed, `nothing was in flight: ${submitted} submitted, ${completed} completed`);
      inFlight.push(submitted - completed);
      foreignWords += (await watcher?.found)?.foreign ?? 0;
      await throttle(0);
      await reopen();
      note(`kill ${kill}: ${submitted - completed} in flight`);
    }
    same(inFlight.length, kills, 'kills');
    field('kills', inFlight.length);
    field('inFlight', { least: Math.min(...inFlight), most: Math.max(...inFlight) });
    if (mode === 'noiommu') {
      field('foreignWords', foreignWords);
      same(foreignWords, 0, 'foreign words in freed memory');
    }
  },
  { seconds: 1200 },
);
