import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { isVfioError } from 'vfio-core';
import { Nvme } from 'vfio-drivers-example';
import { bind, PciDevice } from 'vfio-pci';
import { whatIsHere } from '../../../tests/programs/01-list.js';
import { firstDriver } from '../../../tests/programs/02-first-driver.js';
import { readDisk } from '../../../tests/programs/03-disk.js';
import { readFast } from '../../../tests/programs/04-fast.js';
import { checksumOf } from '../../../tests/programs/09-checksum.js';
import { checksumOfDisk } from '../../../tests/programs/09-webassembly.js';
import { roundTripWithoutIommu } from '../../../tests/programs/10-without-iommu.js';
import { blockDevice } from '../block-device.js';
import { check, field, loadModule, mode, same, test } from '../guest.js';
import { openForMode } from '../open.js';

const eduAddress = '0000:01:00.0';
const diskAddress = '0000:02:00.0';

test('program 12: a device that is not bound is refused with the command that binds it', async () => {
  try {
    (await PciDevice.open(eduAddress)).close();
  } catch (error) {
    check(isVfioError(error), `not an error of the SDK: ${String(error)}`);
    check(/vfio bind 0000:01:00\.0/.test(error.message) || mode === 'noiommu', error.message);
    return;
  }
  throw new Error('it opened');
});

/** What the kernel's own driver writes to the disk, for program 9 to find. */
const written = new Uint8Array(16 << 20).map((_, i) => (i * 2654435761) >>> 24);

if (mode === 'iommu')
  test('the kernel’s own driver writes what program 9 will look for', async () => {
    loadModule('nvme');
    const disk = openSync(await blockDevice(diskAddress), 'r+');
    for (let at = 0; at < written.length; ) at += writeSync(disk, written, at, written.length - at, at);
    fsyncSync(disk);
    closeSync(disk);
  });

test('program 1: lists the functions of this machine', () => {
  bind(eduAddress);
  bind(diskAddress);
  const lines: string[] = [];
  whatIsHere((line) => lines.push(line));
  check(
    lines.some((line) => /^0000:01:00\.0 .* vfio-pci \d+$/.test(line)),
    lines.join('\n'),
  );
  check(
    lines.some((line) => /^0000:02:00\.0 .* vfio-pci \d+$/.test(line)),
    lines.join('\n'),
  );
});

test('program 2: drives the edu device', async () => {
  const { factorial, copied } = await firstDriver(() => openForMode(eduAddress));
  same(factorial, 3628800, 'factorial');
  same(copied, 'through a device', 'DMA both ways');
});

test('program 3: reads a disk into a buffer and as a stream', async () => {
  const { streamed, same: equal } = await readDisk(() => openForMode(diskAddress));
  same(streamed, 4 << 20, 'bytes streamed');
  check(equal, 'the stream differs from the read');
});

test('program 4: keeps a queue full in this thread', async () => {
  const nvme = await Nvme.open(await openForMode(diskAddress));
  const queue = await nvme.createQueuePair({ depth: 64 });
  const buffers = Array.from({ length: 32 }, () => nvme.dma.allocate(4096));
  same(readFast(queue, buffers, 2000), { done: 2000, failed: 0 });
  await nvme[Symbol.asyncDispose]();
});

test('program 4: hands a queue to a Worker, which keeps it full', async () => {
  const nvme = await Nvme.open(await openForMode(diskAddress));
  const queue = await nvme.createQueuePair({ depth: 64 });
  const buffers = Array.from({ length: 32 }, () => nvme.dma.allocate(4096));
  const worker = new Worker(resolve('tests/programs/04-worker.mjs'), {
    workerData: { ticket: queue.share(), bufferTickets: buffers.map((buffer) => buffer.share()), total: 2000 },
  });
  const outcome = await new Promise((done, fail) => {
    worker.once('message', done);
    worker.once('error', fail);
    worker.once('exit', (code) => fail(new Error(`the Worker ended with ${code}`)));
  });
  same(outcome, { done: 2000, failed: 0 });
  await worker.terminate();
  await nvme[Symbol.asyncDispose]();
  field('workerOperations', 2000);
});

if (mode === 'iommu')
  test('program 9: the disk fills a WebAssembly memory, and compiled code finds there what was written', async () => {
    const found = await checksumOfDisk(() => PciDevice.open(diskAddress));
    same(found, { checksum: checksumOf(written), bytes: written.length });
    field('webAssemblyBytes', found.bytes);
  });

if (mode === 'noiommu')
  test('program 10: the same driver without an IOMMU', async () => {
    check(await roundTripWithoutIommu(diskAddress), 'what was read is not what was written');
  });
