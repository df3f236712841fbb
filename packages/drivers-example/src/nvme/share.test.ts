import { attachDma } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { machine } from '../testing/machine.js';
import { QueuePair } from './queue.js';

it('a queue is handed over as plain data, used elsewhere, and closed by its owner', async () => {
  const host = machine();
  const { backend } = host;
  const nvme = await host.open();
  const [disk] = nvme.namespaces;
  const buffer = nvme.dma.allocate(4096);
  buffer.bytes.fill(0x77);
  await disk!.write(5n, buffer);
  buffer.bytes.fill(0);

  const queue = await nvme.createQueuePair({ depth: 8, interrupt: true });
  const ticket = structuredClone(queue.share());
  expect(() => queue.read(0, disk!, 5, buffer)).toThrow('handed over');
  const there = QueuePair.attach(ticket, { backend });
  const view = attachDma(buffer.share(), { backend });
  there.read(1, there.namespaces[0]!, 5, view);
  there.ring();
  expect(there.interrupt!.wait(1000)).toBe(1);
  const seen: number[][] = [];
  while (seen.length === 0) there.poll((slot, status) => seen.push([slot, status]));
  expect(seen).toEqual([[1, 0]]);
  expect(view.bytes.every((byte) => byte === 0x77)).toBe(true);

  // structuredClone copies a SharedArrayBuffer by reference, so the two sides still talk.
  const closing = queue[Symbol.asyncDispose]();
  const poll = () => {
    for (;;) there.poll(() => {});
  };
  expect(poll).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
  await closing;
  expect(() => QueuePair.attach(ticket, { backend })).toThrow('closed by its owner');
  expect((await nvme.createQueuePair({ depth: 4 })).id).toBe(ticket.id);
  view.close();
  await nvme[Symbol.asyncDispose]();
  expect(host.leaks()).toEqual({ openFds: 0, lockedBytes: 0, mappings: 0 });
  expect(host.dmaFaults()).toBe(0);
  backend[Symbol.dispose]();
});

it('an attachment that fails half-way leaves nothing behind', async () => {
  const host = machine();
  const nvme = await host.open();
  const queue = await nvme.createQueuePair({ depth: 8 });
  const ticket = queue.share();
  const before = host.backend.userMappings.length;
  const broken = { ...ticket, lists: { ...ticket.lists, fd: 9999 } };
  expect(() => QueuePair.attach(broken, { backend: host.backend })).toThrow();
  expect(host.backend.userMappings.length).toBe(before);
  expect(new Int32Array(ticket.shared)[1]).toBe(0);
  QueuePair.attach(ticket, { backend: host.backend }).close();
  await Promise.resolve();
  expect(host.backend.userMappings.length).toBe(before);
  await nvme[Symbol.asyncDispose]();
  host.backend[Symbol.dispose]();
});

describe('a Worker that does not let go', () => {
  const setUp = async (queues = 3) => {
    const host = machine({ queues });
    const nvme = await host.open();
    const lend = async (more: { interrupt?: boolean } = {}) => {
      const queue = await nvme.createQueuePair({ depth: 8, ...more });
      const ticket = queue.share();
      return { queue, ticket, there: QueuePair.attach(ticket, { backend: host.backend }) };
    };
    const end = async () => {
      await nvme[Symbol.asyncDispose]();
      expect(host.leaks()).toMatchObject({ openFds: 0, lockedBytes: 0 });
      host.backend[Symbol.dispose]();
    };
    return { host, nvme, lend, end };
  };

  it('cannot drive the queue that has its id after a reset', async () => {
    const { host, nvme, lend, end } = await setUp();
    const { there } = await lend();
    using buffer = nvme.dma.allocate(4096);
    for (let slot = 0; slot < 3; slot++) there.read(slot, 1, 0, buffer);
    await nvme.reset();
    const fresh = await nvme.createQueuePair({ depth: 8 });
    expect(fresh.id).toBe(there.id);
    expect(() => there.ring()).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    await host.backend.sleep(5);
    fresh.read(5, 1, 0, buffer);
    fresh.ring();
    const seen: number[][] = [];
    for (let i = 0; i < 400; i++) fresh.poll((slot, status) => seen.push([slot, status]));
    expect(seen).toEqual([[5, 0]]);
    expect(fresh.strays).toBe(0);
    await end();
  });

  it('is waited for by a reset, as by a close, and keeps the memory of its queue alone until it lets go', async () => {
    const { host, nvme, lend, end } = await setUp();
    const before = host.leaks().lockedBytes;
    const prompt = await lend();
    const resetting = nvme.reset();
    const poll = () => {
      for (;;) prompt.there.poll(() => {});
    };
    expect(poll).toThrow('closed by its owner');
    await resetting;
    expect(host.leaks().lockedBytes).toBe(before);

    const late = await lend();
    await nvme.reset();
    const kept = host.leaks().lockedBytes - before;
    expect(kept).toBeGreaterThan(0);
    late.there.close();
    await (await nvme.createQueuePair({ depth: 8 }))[Symbol.asyncDispose]();
    expect(host.leaks().lockedBytes).toBe(before);
    await end();
  });

  it('but ended, costs neither queue nor interrupt vector', async () => {
    const { lend, end } = await setUp();
    for (let i = 0; i < 12; i++) {
      // Nobody ever lets go of `there`: its thread is gone.
      const { queue } = await lend({ interrupt: true });
      await queue[Symbol.asyncDispose]();
    }
    await end();
  });

  it('but ended while it rang, keeps its id: nobody knows whether it did', async () => {
    const { nvme, lend, end } = await setUp();
    const { queue, ticket } = await lend();
    Atomics.add(new Int32Array(ticket.shared), 2, 1);
    await queue[Symbol.asyncDispose]();
    const other = await nvme.createQueuePair({ depth: 8 });
    expect(other.id).not.toBe(queue.id);
    Atomics.sub(new Int32Array(ticket.shared), 2, 1);
    expect((await nvme.createQueuePair({ depth: 8 })).id).toBe(queue.id);
    await end();
  });
});

it('a reset gives the interrupt vectors of all queues back', async () => {
  const host = machine();
  const nvme = await host.open();
  let vectors = 0;
  for (let round = 0; round < 3; round++) {
    let made = 0;
    await expect(
      (async () => {
        for (; made < 64; made++) await nvme.createQueuePair({ depth: 4, interrupt: true });
      })(),
    ).rejects.toThrow('No interrupt vector is left');
    if (round === 0) vectors = made;
    expect(made).toBe(vectors);
    await nvme.reset();
  }
  expect(vectors).toBeGreaterThan(1);
  await nvme[Symbol.asyncDispose]();
  expect(host.leaks()).toEqual({ openFds: 0, lockedBytes: 0, mappings: 0 });
  host.backend[Symbol.dispose]();
});
