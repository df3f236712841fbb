/** Queues: NVMe 1.4, section 4.1, and their admin commands, sections 5.3 to 5.6. */

import { type Behaviour, equal, type RawQueues, settle, truth } from '../raw.js';

const flush = { opcode: 0x00, nsid: 1 };

async function takeAll(queues: RawQueues, count: number) {
  const completions = [];
  for (let i = 0; i < count; i++) completions.push(await queues.next());
  return completions;
}

export const queueBehaviour: readonly Behaviour[] = [
  {
    title: 'Create I/O Completion Queue checks identifier, size, contiguity, address and vector',
    async run(c) {
      await c.enable();
      const { address } = c.memory(4096);
      const good = { opcode: 0x05, prp1: address, cdw10: (15 << 16) | 1, cdw11: 1 };
      const refused = (status: number, what: string, change: Partial<typeof good>) =>
        c.admin.status(status, `Create I/O Completion Queue with ${what}`, { ...good, ...change });
      await refused(0x4101, 'identifier 0', { cdw10: 15 << 16 });
      await refused(0x4101, 'identifier 65 of 64', { cdw10: (15 << 16) | 65 });
      await refused(0x4102, 'one entry', { cdw10: 1 });
      await refused(0x4102, '2049 entries of 2048', { cdw10: (2048 << 16) | 1 });
      await refused(0x4013, 'an address inside a page', { prp1: address + 16n });
      await refused(0x4108, 'a vector that is not there', { cdw11: (0x7777 << 16) | 3 });
      await refused(0x4002, 'memory that is not contiguous', { cdw11: 0 });
      await refused(0, 'nothing wrong', {});
      await refused(0x4101, 'an identifier that is taken', {});
    },
  },
  {
    title: 'Create I/O Submission Queue checks identifier, size, contiguity, address and completion queue',
    async run(c) {
      await c.enable();
      const { address } = c.memory(8192);
      await c.admin.status(0, 'Create I/O Completion Queue', {
        opcode: 0x05,
        prp1: address,
        cdw10: (15 << 16) | 1,
        cdw11: 1,
      });
      const good = { opcode: 0x01, prp1: address + 4096n, cdw10: (15 << 16) | 1, cdw11: (1 << 16) | 1 };
      const refused = (status: number, what: string, change: Partial<typeof good>) =>
        c.admin.status(status, `Create I/O Submission Queue with ${what}`, { ...good, ...change });
      await refused(0x4101, 'identifier 0', { cdw10: 15 << 16 });
      await refused(0x4101, 'identifier 65 of 64', { cdw10: (15 << 16) | 65 });
      await refused(0x4102, 'one entry', { cdw10: 1 });
      await refused(0x4102, '2049 entries of 2048', { cdw10: (2048 << 16) | 1 });
      await refused(0x4013, 'an address inside a page', { prp1: address + 4096n + 64n });
      await refused(0x4100, 'completion queue 0', { cdw11: 1 });
      await refused(0x4100, 'a completion queue that is not there', { cdw11: (2 << 16) | 1 });
      await refused(0x4002, 'memory that is not contiguous', { cdw11: 1 << 16 });
      await refused(0, 'nothing wrong', {});
      await refused(0x4101, 'an identifier that is taken', {});
    },
  },
  {
    title: 'a completion queue cannot be deleted before its submission queues',
    async run(c) {
      await c.enable();
      await c.queues(1);
      await c.admin.status(0x010c, 'Delete I/O Completion Queue', { opcode: 0x04, cdw10: 1 });
      await c.admin.status(0, 'Delete I/O Submission Queue', { opcode: 0x00, cdw10: 1 });
      await c.admin.status(0, 'Delete I/O Completion Queue', { opcode: 0x04, cdw10: 1 });
      await c.queues(1);
    },
  },
  {
    title: 'deleting a queue that is not there, or an admin queue, is Invalid Queue Identifier',
    note: 'QEMU says Completion Queue Invalid where a completion queue is to be deleted',
    async run(c) {
      await c.enable();
      for (const opcode of [0x00, 0x04]) {
        const expected = c.kind === 'qemu' && opcode === 0x04 ? 0x4100 : 0x4101;
        for (const id of [0, 5, 0x7777]) {
          await c.admin.status(expected, `deleting queue ${id}, opcode ${opcode}`, { opcode, cdw10: id });
        }
      }
    },
  },
  {
    title: 'phase tags invert with each round, and the completion tells the submission queue\u2019s head',
    async run(c) {
      await c.enable();
      // Of different sizes, so that the two wrap at different times.
      const io = await c.queues(1, { submissionSize: 5, completionSize: 3 });
      for (let i = 0; i < 20; i++) {
        const { head, status } = await io.run(flush);
        equal(status, 0, 'status');
        equal(head, (i + 1) % 5, 'submission queue head');
      }
    },
  },
  {
    title: 'one doorbell starts all commands up to the tail, each completed once',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 16, completionSize: 16 });
      const ids = new Set<number>();
      for (let i = 0; i < 15; i++) ids.add(io.put(flush));
      await io.silent('commands without a doorbell');
      io.ring();
      for (const { id, status } of await takeAll(io, 15)) {
        equal(status, 0, 'status');
        truth(ids.delete(id), `command ${id} was completed twice or never given`);
      }
      await io.silent('after the last completion');
    },
  },
  {
    title: 'completions stop when their queue is full, and go on when the head moves',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 16, completionSize: 4 });
      for (let i = 0; i < 10; i++) io.put(flush);
      io.ring();
      await settle(c.raw);
      let taken = 0;
      while (io.take()) taken++;
      equal(taken, 3, 'completions in a queue of 4 entries');
      io.acknowledge();
      await settle(c.raw);
      while (io.take()) taken++;
      equal(taken, 6, 'completions after the head moved');
      io.acknowledge();
      await takeAll(io, 4);
      await io.silent('after the last completion');
    },
  },
  {
    title: 'several submission queues may share one completion queue, which says whose command it was',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 8, completionSize: 32 });
      const second = c.pair(2, 1, 8, 2);
      await c.admin.status(0, 'Create I/O Submission Queue', {
        opcode: 0x01,
        prp1: second.submission.address,
        cdw10: (7 << 16) | 2,
        cdw11: (1 << 16) | 1,
      });
      for (let i = 0; i < 3; i++) io.put(flush);
      for (let i = 0; i < 4; i++) second.put(flush);
      io.ring();
      second.ring();
      const counts: Record<number, number> = {};
      for (const { queue } of await takeAll(io, 7)) counts[queue] = (counts[queue] ?? 0) + 1;
      equal(counts[1] ?? 0, 3, 'completions of queue 1');
      equal(counts[2] ?? 0, 4, 'completions of queue 2');
      await c.admin.status(0, 'Delete I/O Submission Queue 1', { opcode: 0x00, cdw10: 1 });
      await c.admin.status(0x010c, 'Delete I/O Completion Queue, still used', { opcode: 0x04, cdw10: 1 });
      await c.admin.status(0, 'Delete I/O Submission Queue 2', { opcode: 0x00, cdw10: 2 });
      await c.admin.status(0, 'Delete I/O Completion Queue', { opcode: 0x04, cdw10: 1 });
    },
  },
  {
    title: 'a queue has up to 2048 entries, all of which are used',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { submissionSize: 2048, completionSize: 2048 });
      for (let i = 0; i < 2047; i++) io.put(flush);
      io.ring();
      for (const { status } of await takeAll(io, 2047)) equal(status, 0, 'status');
      equal((await io.run(flush)).head, 0, 'submission queue head after one round');
    },
  },
  {
    title: 'all 64 pairs of queues work at the same time',
    async run(c) {
      await c.enable();
      const all: RawQueues[] = [];
      for (let id = 1; id <= 64; id++) all.push(await c.queues(id, { submissionSize: 2, completionSize: 2 }));
      for (const io of all) io.put(flush);
      for (const io of all) io.ring();
      for (const io of all) equal((await io.next()).queue, io.id, 'submission queue identifier');
    },
  },
];
