import { attachDma } from 'vfio-core';
import { expect, it } from 'vitest';
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
