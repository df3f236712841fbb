import type { DmaBuffer } from 'vfio-core';
import { PciDevice } from 'vfio-pci';
import { edu, simulation } from 'vfio-sim';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADDRESS, machine, modes } from '../testing/machine.js';
import { command, IoOpcode } from './commands.js';
import { Nvme } from './controller.js';
import type { InterruptMode } from './interrupt-mode.js';
import type { Namespace } from './namespace.js';

let host: ReturnType<typeof machine>;
let nvme: Nvme | undefined;
const clean = { openFds: 0, lockedBytes: 0, mappings: 0 };

beforeEach(() => {
  host = machine();
});
afterEach(() => {
  nvme?.close();
  nvme = undefined;
  expect(host.leaks()).toEqual(clean);
  host.backend[Symbol.dispose]();
});

const open = async (...options: Parameters<typeof host.open>): Promise<Nvme> => {
  nvme = await host.open(...options);
  return nvme;
};
const fill = (buffer: DmaBuffer, seed: number) => {
  for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = (i * 7 + (i >>> 9) * 13 + seed) & 0xff;
  return buffer.bytes.slice();
};
const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, index) => byte === b[index]);

describe.each(modes)('with %s completions', (mode: InterruptMode) => {
  it('writes, flushes and reads back every namespace, in one block and in more than one command', async () => {
    const { namespaces, dma, maxTransfer, interruptMode } = await open({ interrupts: mode });
    expect(interruptMode).toBe(mode);
    expect(namespaces.map(({ id, blockSize, blocks, bytes }) => ({ id, blockSize, blocks, bytes }))).toEqual([
      { id: 1, blockSize: 512, blocks: 8192n, bytes: 1n << 22n },
      { id: 2, blockSize: 4096, blocks: 1024n, bytes: 1n << 22n },
    ]);
    expect(maxTransfer).toBe(1 << 19);
    for (const disk of namespaces) {
      for (const bytes of [
        disk.blockSize,
        disk.blockSize * 2,
        12288,
        maxTransfer,
        maxTransfer + disk.blockSize,
        3 << 19,
      ]) {
        using buffer = dma.allocate(bytes);
        const wanted = fill(buffer, bytes + disk.id);
        await disk.write(3n, buffer);
        await disk.flush();
        buffer.bytes.fill(0);
        await disk.read(3n, buffer);
        expect(same(buffer.bytes, wanted), `${bytes} bytes of namespace ${disk.id}`).toBe(true);
      }
    }
    expect(nvme!.interruptCount > 0).toBe(mode !== 'polled');
  });

  it('runs more commands at a time than the queue holds, each to its own block', async () => {
    const { namespaces, dma } = await open({ interrupts: mode, queueDepth: 8 });
    const disk = namespaces[0]!;
    const buffers = Array.from({ length: 100 }, () => dma.allocate(512));
    for (const [index, buffer] of buffers.entries()) fill(buffer, index);
    await Promise.all(buffers.map((buffer, index) => disk.write(BigInt(index), buffer)));
    using all = dma.allocate(512 * 100);
    await disk.read(0n, all);
    for (const [index, buffer] of buffers.entries()) {
      expect(same(all.bytes.subarray(index * 512, index * 512 + 512), buffer.bytes)).toBe(true);
      buffer.close();
    }
  });

  it('rejects a command that never completes, and hands the buffer back only when the controller was stopped', async () => {
    const { namespaces, dma } = await open({ interrupts: mode, timeout: 1000 });
    const disk = namespaces[0]!;
    const buffer = dma.allocate(4096);
    host.faults.dropCompletion();
    await expect(disk.read(0n, buffer)).rejects.toMatchObject({ code: 'ERR_NVME_TIMEOUT' });
    expect(nvme!.registers.CSTS.RDY.read()).toBe(0);
    await expect(disk.read(0n, buffer)).rejects.toThrow('The controller was stopped');
    await nvme!.reset();
    await disk.read(0n, buffer);
    buffer.close();
  });

  it('shuts down in order: queues deleted, CSTS says that it is done, all memory given back', async () => {
    await open({ interrupts: mode });
    await nvme!.namespaces[0]!.flush();
    await nvme!.shutdown();
    await expect(nvme!.namespaces[0]!.flush()).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
    await nvme![Symbol.asyncDispose]();
    expect(host.leaks()).toEqual(clean);
  });

  it('rejects what is in flight when it is closed', async () => {
    const { namespaces, dma } = await open({ interrupts: mode });
    host.faults.slow(5000);
    const pending = namespaces[0]!.read(0n, dma.allocate(512)).catch((error: unknown) => error);
    nvme!.close();
    expect(await pending).toMatchObject({ code: 'ERR_VFIO_CLOSED' });
    nvme!.close();
    await expect(namespaces[0]!.flush()).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
  });
});

describe('a namespace', () => {
  let disk: Namespace;
  let buffer: DmaBuffer;
  beforeEach(async () => {
    await open();
    disk = nvme!.namespaces[0]!;
    buffer = nvme!.dma.allocate(4096);
  });

  it('moves a part of a buffer', async () => {
    const wanted = fill(buffer, 1);
    await disk.write(10n, buffer);
    using part = nvme!.dma.allocate(8192);
    await disk.read(12n, part, { blocks: 2, offset: 1536 });
    expect(same(part.bytes.subarray(1536, 2560), wanted.subarray(1024, 2048))).toBe(true);
    expect(part.bytes.subarray(0, 1536).every((byte) => byte === 0)).toBe(true);
    expect(part.bytes.subarray(2560).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a length that is not a multiple of the block size', async () => {
    using odd = nvme!.dma.allocate(1000);
    await expect(disk.read(0n, odd)).rejects.toMatchObject({
      code: 'ERR_NVME_ARGUMENT',
      details: { bytes: 1000, blockSize: 512 },
    });
    await expect(disk.read(0n, buffer, { offset: 4096 })).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT' });
  });

  it('refuses blocks outside, and more than the buffer holds', async () => {
    const refused = { code: 'ERR_NVME_ARGUMENT' };
    await expect(disk.read(8185n, buffer)).rejects.toMatchObject(refused);
    await expect(disk.read(-1n, buffer)).rejects.toMatchObject(refused);
    await expect(disk.read(0 as never, buffer)).rejects.toThrow('is a bigint');
    await expect(disk.read(0n, buffer, { blocks: 9 })).rejects.toMatchObject(refused);
    await expect(disk.read(0n, buffer, { blocks: 0 })).rejects.toMatchObject(refused);
    await expect(disk.read(0n, buffer, { blocks: 1, offset: 2 })).rejects.toMatchObject(refused);
    await disk.read(8184n, buffer);
  });

  it('refuses a buffer that was freed', async () => {
    buffer.close();
    await expect(disk.read(0n, buffer)).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
  });

  it('keeps the status whole: type, code, Do Not Retry', async () => {
    host.faults.failCommand({ status: 0x4281 });
    await expect(disk.read(0n, buffer)).rejects.toMatchObject({
      code: 'ERR_NVME_STATUS',
      details: {
        namespace: 1,
        lba: 0,
        status: { value: 0x4281, type: 2, code: 0x81, name: 'Unrecovered Read Error', doNotRetry: true },
      },
    });
    await disk.read(0n, buffer);
  });

  it('that is read refuses to write where the controller was opened read-only', async () => {
    nvme!.close();
    host = machine();
    await open({ readOnly: true });
    using own = nvme!.dma.allocate(512);
    await expect(nvme!.namespaces[0]!.write(0n, own)).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT' });
    await nvme!.namespaces[0]!.read(0n, own);
  });

  it('is safe from admin commands, too, where the controller was opened read-only', async () => {
    nvme!.close();
    host = machine();
    await open({ readOnly: true });
    for (const opcode of [0x0d, 0x10, 0x11, 0x15, 0x80, 0x84]) {
      const sent = nvme!.admin.command(command(opcode, { 1: 1 }));
      await expect(sent).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT', details: { opcode } });
    }
    await nvme!.admin.identifyController();
    const queue = await nvme!.createQueuePair({ depth: 4 });
    expect(() => queue.command(0, command(IoOpcode.write, { 1: 1 }))).toThrow('read-only');
    await queue[Symbol.asyncDispose]();
  });

  it('stops a long read at an abort, and settles once nothing is in flight any more', async () => {
    nvme!.close();
    host = machine();
    await open({ queueDepth: 2 });
    host.faults.slow(10);
    const stop = new AbortController();
    using large = nvme!.dma.allocate(2 << 20);
    const reading = nvme!.namespaces[0]!.read(0n, large, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await expect(nvme!.namespaces[0]!.read(0n, large, { signal: stop.signal })).rejects.toThrow('enough');
    host.faults.clear();
    await nvme!.namespaces[0]!.read(0n, large);
  });

  it('streams to its end in chunks of the caller, the last one shorter', async () => {
    using whole = nvme!.dma.allocate(1 << 22);
    const wanted = fill(whole, 9);
    await disk.write(0n, whole);
    const chunks: Uint8Array[] = [];
    for await (const chunk of disk.stream({ from: 1000n, chunkBytes: 1 << 20 })) chunks.push(chunk);
    expect(chunks.map((chunk) => chunk.length)).toEqual([1 << 20, 1 << 20, 1 << 20, (1 << 20) - 1000 * 512]);
    let at = 1000 * 512;
    for (const chunk of chunks) {
      expect(same(chunk, wanted.subarray(at, at + chunk.length))).toBe(true);
      at += chunk.length;
    }
  });

  it('frees the buffers of a stream that is left early, or fails', async () => {
    const before = host.leaks().lockedBytes;
    for await (const chunk of disk.stream({ chunkBytes: 65536 })) {
      expect(chunk.length).toBe(65536);
      break;
    }
    expect(host.leaks().lockedBytes).toBe(before);
    host.faults.failCommand({ status: 0x281, after: 2 });
    const read = async () => {
      for await (const chunk of disk.stream({ chunkBytes: 65536 })) expect(chunk.length).toBe(65536);
    };
    await expect(read()).rejects.toMatchObject({ code: 'ERR_NVME_STATUS' });
    expect(host.leaks().lockedBytes).toBe(before);
  });
});

describe('queue pairs', () => {
  it('are several at a time, each with its own slots, until they are closed', async () => {
    const { namespaces, dma } = await open();
    const disk = namespaces[0]!;
    using data = dma.allocate(64 * 512);
    const wanted = fill(data, 5);
    await disk.write(0n, data);
    const queues = await Promise.all([2, 5, 64].map((depth) => nvme!.createQueuePair({ depth })));
    expect(new Set(queues.map((queue) => queue.id)).size).toBe(3);
    const buffers = Array.from({ length: 64 }, () => dma.allocate(512));
    for (const queue of queues) {
      let next = 0;
      let done = 0;
      const at: number[] = [];
      const wrong: number[] = [];
      const submit = (slot: number) => {
        at[slot] = next;
        buffers[slot]!.bytes.fill(0);
        queue.read(slot, disk, next++, buffers[slot]!);
      };
      const again = (slot: number, status: number) => {
        done++;
        const start = at[slot]! * 512;
        if (status !== 0 || !same(buffers[slot]!.bytes, wanted.subarray(start, start + 512))) wrong.push(at[slot]!);
        if (next < 64) submit(slot);
      };
      for (let slot = 0; slot < queue.depth - 1 && next < 64; slot++) submit(slot);
      queue.ring();
      while (done < 64) queue.poll(again);
      expect(wrong).toEqual([]);
      expect(queue.inFlight).toBe(0);
    }
    const ids = queues.map((queue) => queue.id);
    await queues[1]![Symbol.asyncDispose]();
    const fresh = await nvme!.createQueuePair({ depth: 16 });
    expect(fresh.id).toBe(ids[1]);
    for (const buffer of buffers) buffer.close();
  });

  it('hand an error status of the controller to the handler as it is', async () => {
    await open();
    const queue = await nvme!.createQueuePair({ depth: 4 });
    using buffer = nvme!.dma.allocate(512);
    // The queue's own check is passed by: block 2^40 of namespace 1.
    queue.read(0, { id: 1, blockSize: 512, blocks: 1n << 50n, blockCount: 2 ** 50 }, 2 ** 40, buffer);
    queue.read(1, { id: 77, blockSize: 512, blocks: 1n << 50n, blockCount: 2 ** 50 }, 0, buffer);
    const unknown = new Uint32Array(16);
    unknown.set([0x7f, 1]);
    queue.command(2, unknown);
    const seen: Record<number, number> = {};
    while (Object.keys(seen).length < 3) {
      queue.poll((slot, status) => {
        seen[slot] = status;
      });
    }
    expect(Object.values(seen).map((status) => status & 0x7ff)).toEqual([0x80, 0x02, 0x01]);
  });

  it('time out in a poll, and the buffer is free after a reset', async () => {
    await open({ timeout: 500 });
    const queue = await nvme!.createQueuePair({ depth: 4 });
    const buffer = nvme!.dma.allocate(512);
    host.faults.dropCompletion();
    queue.read(3, 1, 0, buffer);
    const poll = () => {
      for (;;) queue.poll(() => {});
    };
    expect(poll).toThrow(
      expect.objectContaining({ code: 'ERR_NVME_TIMEOUT', details: expect.objectContaining({ slots: [3] }) }),
    );
    await nvme!.reset();
    buffer.close();
    expect(() => queue.poll(() => {})).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
  });

  it('are refused beyond what the controller has', async () => {
    host = machine({ queues: 2 });
    await open();
    for (const depth of [1, 4096, 2.5]) {
      await expect(nvme!.createQueuePair({ depth })).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT' });
    }
    const queue = await nvme!.createQueuePair({ depth: 2048 });
    await expect(nvme!.createQueuePair({ depth: 2 })).rejects.toThrow('All 2 queue pairs');
    queue.close();
  });
});

describe('calls that meet', () => {
  it('are one shutdown when they are two: the controller says that it is done before it is disabled', async () => {
    for (const twice of [() => nvme!.shutdown(), () => nvme![Symbol.asyncDispose]()]) {
      host = machine();
      await open();
      const { model } = host.backend.device(ADDRESS);
      const write = model.write!.bind(model);
      const seen: string[] = [];
      model.write = (bar, offset, width, value) => {
        if (offset === 0x14 && ((value >>> 14) & 3) === 1) seen.push('shutdown asked for');
        else if (offset === 0x14 && (value & 1) === 0)
          seen.push(`disabled, SHST ${(model.read!(0, 0x1c, 4) >>> 2) & 3}`);
        write(bar, offset, width, value);
      };
      await Promise.all([twice(), twice()]);
      expect(seen.slice(0, 2)).toEqual(['shutdown asked for', 'disabled, SHST 2']);
      expect(seen.filter((what) => what === 'shutdown asked for').length).toBe(1);
      nvme!.close();
    }
  });

  it('are one reset when they are two, and the controller works afterwards', async () => {
    await open();
    using buffer = nvme!.dma.allocate(4096);
    await Promise.all([nvme!.reset(), nvme!.reset()]);
    await nvme!.namespaces[0]!.read(0n, buffer);
    expect(nvme!.failed).toBeUndefined();
  });

  it('are told to wait for a reset that runs, those in flight and those that come meanwhile', async () => {
    await open();
    using buffer = nvme!.dma.allocate(4096);
    const wait = { code: 'ERR_VFIO_CLOSED', remedy: expect.stringContaining('once reset() has resolved') };
    host.faults.slow(5000);
    const pending = expect(nvme!.namespaces[0]!.read(0n, buffer)).rejects.toMatchObject(wait);
    const resetting = nvme!.reset();
    host.faults.clear();
    let resetDone = false;
    void resetting.then(() => {
      resetDone = true;
    });
    let turns = 0;
    for (; ; turns++) {
      const tries = await Promise.allSettled([
        nvme!.namespaces[0]!.read(0n, buffer),
        nvme!.createQueuePair({ depth: 2 }),
        Promise.resolve().then(() => nvme!.admin.identifyController()),
      ]);
      if (resetDone) break;
      const refused = { status: 'rejected', reason: expect.objectContaining(wait) };
      expect(tries).toEqual([refused, refused, refused]);
      await host.backend.sleep(0.1);
    }
    expect(turns).toBeGreaterThan(1);
    await pending;
    await nvme!.namespaces[0]!.read(0n, buffer);
  });

  it('follow each other when they differ: a shutdown during a reset shuts the new start down', async () => {
    await open();
    const resetting = nvme!.reset();
    await Promise.all([resetting, nvme!.shutdown()]);
    expect(nvme!.failed).toMatchObject({ summary: 'The controller was shut down.' });
    await nvme!.reset();
    using buffer = nvme!.dma.allocate(4096);
    await nvme!.namespaces[0]!.read(0n, buffer);
  });
});

describe('bad controllers', () => {
  it('that are none are told by their class, and what was given is closed', async () => {
    const sim = simulation({ devices: { [ADDRESS]: edu() } });
    await expect(Nvme.open(ADDRESS, { backend: sim })).rejects.toMatchObject({ code: 'ERR_NVME_CONTROLLER' });
    const device = await PciDevice.open(ADDRESS, { backend: sim });
    await expect(Nvme.open(device)).rejects.toThrow('0x00ff00');
    expect(device.closed).toBe(true);
    expect(sim.openFds).toEqual([]);
    sim[Symbol.dispose]();
  });

  it('are refused memory that nobody mapped for them: the command fails, the fault is reported, the next one works', async () => {
    await open();
    using buffer = nvme!.dma.allocate(512);
    const stray = Object.create(buffer, { low: { value: () => 0xdead_0000 }, high: { value: () => 0 } });
    await expect(nvme!.namespaces[0]!.read(0n, stray)).rejects.toMatchObject({ code: 'ERR_NVME_STATUS' });
    expect(host.dmaFaults()).toBeGreaterThan(0);
    await nvme!.namespaces[0]!.read(0n, buffer);
  });

  it('that never become ready are given up after CAP.TO, said in the error, with nothing left open', async () => {
    host = machine({ timeout: 1500 });
    host.faults.neverReady();
    await expect(open()).rejects.toMatchObject({ code: 'ERR_NVME_NOT_READY', details: { limit: 1500 } });
  });

  it('that answer all-ones are gone', async () => {
    host.faults.allOnes();
    await expect(open()).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_GONE' });
  });

  it('that vanish under a command are gone, and close all the same', async () => {
    await open();
    const buffer = nvme!.dma.allocate(512);
    host.faults.slow(3000);
    const reading = nvme!.namespaces[0]!.read(0n, buffer);
    host.faults.allOnes();
    await expect(reading).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_GONE' });
    await nvme![Symbol.asyncDispose]();
  });

  it('in a fatal state are told as such, and a reset mends them', async () => {
    await open();
    using buffer = nvme!.dma.allocate(512);
    host.faults.slow(3000);
    const reading = nvme!.namespaces[0]!.read(0n, buffer);
    host.faults.fatal();
    await expect(reading).rejects.toMatchObject({ code: 'ERR_NVME_FATAL' });
    host.faults.clear();
    await nvme!.reset();
    await nvme!.namespaces[0]!.read(0n, buffer);
  });

  it('that lose an admin command do not open', async () => {
    host.faults.dropCompletion({ queue: 'admin', after: 2 });
    await expect(open({ timeout: 200 })).rejects.toMatchObject({ code: 'ERR_NVME_TIMEOUT' });
  });

  it('that refuse an admin command do not open', async () => {
    host.faults.failCommand({ queue: 'admin', opcode: 5, status: 0x4102 });
    await expect(open()).rejects.toMatchObject({
      code: 'ERR_NVME_STATUS',
      details: { status: { name: 'Invalid Queue Size' } },
    });
  });

  it('with options that make no sense are not opened', async () => {
    await expect(open({ queueDepth: 1 })).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT' });
    host = machine();
    await expect(open({ timeout: 0 })).rejects.toMatchObject({ code: 'ERR_NVME_ARGUMENT' });
  });
});

describe('other shapes of controllers', () => {
  it.each([
    ['doorbells 64 bytes apart', { doorbellStride: 64 }],
    ['no limit on transfers', { mdts: 0 }],
    ['the smallest limit on transfers', { mdts: 1 }],
    ['queues of four entries', { queueEntries: 4 }],
  ])('%s', async (_, options) => {
    host = machine(options);
    await open();
    const disk = nvme!.namespaces[1]!;
    using buffer = nvme!.dma.allocate(1 << 21);
    const wanted = fill(buffer, 3);
    await disk.write(0n, buffer);
    buffer.bytes.fill(0);
    await disk.read(0n, buffer);
    expect(same(buffer.bytes, wanted)).toBe(true);
  });
});
