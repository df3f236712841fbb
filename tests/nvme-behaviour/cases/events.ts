/** Asynchronous events and doorbells that are wrong: NVMe 1.4, sections 3.1.24, 3.1.25 and 5.2. */

import { type Behaviour, equal, type RawController } from '../raw.js';

const request = { opcode: 0x0c };
/** Error event, invalid doorbell register or value, log page 1. */
const invalidRegister = 0x0001_0000;
const invalidValue = 0x0001_0100;

/** Reads the error log, which lets the next error event through. */
async function readErrorLog(c: RawController): Promise<void> {
  const { address } = c.memory(4096);
  await c.admin.status(0, 'Get Log Page', { opcode: 0x02, prp1: address, cdw10: (15 << 16) | 1 });
}

export const eventBehaviour: readonly Behaviour[] = [
  {
    title: 'an Asynchronous Event Request stays open, and other commands pass it',
    async run(c) {
      await c.enable();
      c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('an event request without an event');
      await c.identify(1);
    },
  },
  {
    title: 'the fifth open Asynchronous Event Request is refused',
    async run(c) {
      await c.enable();
      for (let i = 0; i < 4; i++) c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('four event requests');
      await c.admin.status(0x105, 'the fifth event request', request);
    },
  },
  {
    title: 'a doorbell value beyond the queue is ignored, and reported as an event',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 8, completionSize: 8 });
      const id = c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('an event request without an event');
      io.put({ opcode: 0x00, nsid: 1 });
      io.ring(8);
      const event = await c.admin.next();
      equal(event.id, id, 'command identifier');
      equal(event.status, 0, 'status');
      equal(event.result, invalidValue, 'event');
      await io.silent('a doorbell value beyond the queue');
      io.ring();
      equal((await io.next()).status, 0, 'status of the flush, rung rightly');
    },
  },
  {
    title: 'a head doorbell value beyond the queue is ignored, and reported as an event',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 8, completionSize: 8 });
      c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('an event request without an event');
      io.acknowledge(8);
      equal((await c.admin.next()).result, invalidValue, 'event');
    },
  },
  {
    title: 'a doorbell of a queue that is not there is reported as an event',
    async run(c) {
      await c.enable();
      c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('an event request without an event');
      c.registers.write32(0x1000 + 2 * 5 * c.stride, 1);
      equal((await c.admin.next()).result, invalidRegister, 'event');
    },
  },
  {
    title: 'events of a kind are held back until its log page was read, and are kept while no request is open',
    async run(c) {
      await c.enable();
      const wrong = () => c.registers.write32(0x1000 + 2 * 5 * c.stride, 1);
      c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('an event request without an event');
      wrong();
      equal((await c.admin.next()).result, invalidRegister, 'first event');
      c.admin.put(request);
      c.admin.ring();
      await c.admin.silent('a second event request');
      wrong();
      await c.admin.silent('an event of a kind that was reported and not looked into');
      // Both the log page's completion and the event arrive now, in either order.
      const { address } = c.memory(4096);
      c.admin.put({ opcode: 0x02, prp1: address, cdw10: (15 << 16) | 1 });
      c.admin.ring();
      const results = [await c.admin.next(), await c.admin.next()].map((completion) => completion.result);
      equal(Math.max(...results), invalidRegister, 'second event');
      await readErrorLog(c);
    },
  },
];
