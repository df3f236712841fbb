/** Where a command's data is: NVMe 1.4, section 4.3, and the limit of MDTS. */

import {
  type Behaviour,
  enabled,
  equal,
  type RawController,
  type RawMemory,
  type RawQueues,
  truth,
  viewOf,
} from '../raw.js';

const page = 4096;

/** Random enough that a page in the wrong place is noticed. */
const pattern = (bytes: Uint8Array) => {
  let state = 0x2545f491;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
};

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Writes entries of a PRP list from a byte offset on. */
function list(memory: RawMemory, at: number, entries: readonly bigint[]): bigint {
  const view = viewOf(memory.bytes);
  for (const [i, entry] of entries.entries()) view.setBigUint64(at + i * 8, entry, true);
  return memory.address + BigInt(at);
}

const pagesOf = (memory: RawMemory, from: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, i) => memory.address + BigInt((from + i) * page));

interface Setup {
  readonly io: RawQueues;
  /** Puts known bytes on namespace 1 from block 0 on. */
  readonly known: Uint8Array;
}

/** Fills the first `bytes` of namespace 1 by writes of a page each, which need no list. */
async function filled(c: RawController, bytes: number): Promise<Setup> {
  await c.enable();
  const io = await c.queues(1);
  const known = new Uint8Array(bytes);
  pattern(known);
  const buffer = c.memory(page);
  for (let at = 0; at < bytes; at += page) {
    buffer.bytes.set(known.subarray(at, at + page));
    await io.status(0, 'write', { opcode: 0x01, nsid: 1, prp1: buffer.address, cdw10: at / 512, cdw12: 7 });
  }
  return { io, known };
}

const read = (bytes: number, prp1: bigint, prp2 = 0n) => ({
  opcode: 0x02,
  nsid: 1,
  prp1,
  prp2,
  cdw10: 0,
  cdw12: bytes / 512 - 1,
});

const unnoticed =
  'QEMU reports success for refused data, with an IOMMU and without one, and notices a list that it cannot fetch';

/** Writes (opcode 1) or reads (2) with each of the places that name memory pointing where there is none. */
async function nowhere(c: RawController, opcode: 0x01 | 0x02): Promise<void> {
  const { io } = await filled(c, page);
  const unreachable = c.raw.unreachable as bigint;
  const { address } = c.memory(page);
  const refused = c.kind === 'qemu' ? 0 : 0x0004;
  await io.status(refused, 'PRP1 that cannot be reached', { ...read(512, unreachable), opcode });
  await io.status(refused, 'PRP2 that cannot be reached', { ...read(2 * page, address, unreachable), opcode });
  await io.status(0x4004, 'a list that cannot be reached', { ...read(4 * page, address, unreachable), opcode });
  await io.status(0, 'the next command', read(512, address));
}

export const transferBehaviour: readonly Behaviour[] = [
  {
    title: 'PRP1 may point into a page; a transfer that ends there needs no PRP2',
    async run(c) {
      const { io, known } = await filled(c, page);
      const data = c.memory(page);
      await io.status(0, 'read', read(1024, data.address + 2052n, 0x7n));
      truth(same(data.bytes.subarray(2052, 3076), known.subarray(0, 1024)), 'the data is at PRP1');
      truth(
        data.bytes.subarray(0, 2052).every((byte) => byte === 0) &&
          data.bytes.subarray(3076).every((byte) => byte === 0),
        'nothing else was written',
      );
    },
  },
  {
    title: 'what does not fit into the page of PRP1 goes to the page of PRP2',
    async run(c) {
      const { io, known } = await filled(c, page);
      const data = c.memory(3 * page);
      await io.status(0, 'read', read(page, data.address + 512n, data.address + BigInt(2 * page)));
      truth(same(data.bytes.subarray(512, page), known.subarray(0, page - 512)), 'the first part is at PRP1');
      truth(same(data.bytes.subarray(2 * page, 2 * page + 512), known.subarray(page - 512)), 'the rest is at PRP2');
      truth(
        data.bytes.subarray(page, 2 * page).every((byte) => byte === 0) &&
          data.bytes.subarray(2 * page + 512).every((byte) => byte === 0),
        'nothing else was written',
      );
    },
  },
  {
    title: 'two pages are PRP1 and PRP2, in any order in memory',
    async run(c) {
      const { io, known } = await filled(c, 2 * page);
      const data = c.memory(2 * page);
      await io.status(0, 'read', read(2 * page, data.address + BigInt(page), data.address));
      truth(same(data.bytes.subarray(page), known.subarray(0, page)), 'the first page is at PRP1');
      truth(same(data.bytes.subarray(0, page), known.subarray(page)), 'the second page is at PRP2');
    },
  },
  {
    title: 'more than two pages need a list, whose pages may lie in any order',
    async run(c) {
      const { io, known } = await filled(c, 8 * page);
      const data = c.memory(8 * page);
      const order = [5, 2, 7, 0, 3, 6, 1, 4];
      const addresses = order.map((at) => data.address + BigInt(at * page));
      const prp2 = list(c.memory(page), 0, addresses.slice(1));
      await io.status(0, 'read', read(8 * page, addresses[0] as bigint, prp2));
      for (const [i, at] of order.entries()) {
        truth(
          same(data.bytes.subarray(at * page, (at + 1) * page), known.subarray(i * page, (i + 1) * page)),
          `page ${i} is where the list says`,
        );
      }
    },
  },
  {
    title: 'a list serves a transfer that starts inside a page and ends inside another',
    async run(c) {
      const { io, known } = await filled(c, 4 * page);
      const data = c.memory(5 * page);
      const prp2 = list(c.memory(page), 0, pagesOf(data, 1, 4));
      await io.status(0, 'read', read(4 * page, data.address + 1024n, prp2));
      truth(same(data.bytes.subarray(1024, 1024 + 4 * page), known), 'the data is in one piece');
      truth(
        data.bytes.subarray(1024 + 4 * page).every((byte) => byte === 0),
        'nothing was written behind it',
      );
    },
  },
  {
    title: 'a list may start inside a page',
    async run(c) {
      const { io, known } = await filled(c, 4 * page);
      const data = c.memory(4 * page);
      const prp2 = list(c.memory(page), 1000, pagesOf(data, 1, 3));
      await io.status(0, 'read', read(4 * page, data.address, prp2));
      truth(same(data.bytes, known), 'the data arrived');
    },
  },
  {
    title: 'a list that reaches the end of its page goes on where its last entry points',
    async run(c) {
      const { io, known } = await filled(c, 16 * page);
      const data = c.memory(16 * page);
      const lists = c.memory(2 * page);
      const addresses = pagesOf(data, 0, 16);
      // Four entries are left in the first page: three pages and the pointer. Then twelve in the next.
      list(lists, page, addresses.slice(4));
      const prp2 = list(lists, page - 32, [...addresses.slice(1, 4), lists.address + BigInt(page)]);
      // The first list page is the lower one, so that running on without the pointer would read the same: put the second elsewhere.
      const far = c.memory(page);
      list(far, 0, addresses.slice(4));
      lists.bytes.fill(0xff, page);
      list(lists, page - 8, [far.address]);
      await io.status(0, 'read', read(16 * page, addresses[0] as bigint, prp2));
      truth(same(data.bytes, known), 'the data arrived');
    },
  },
  {
    title: 'a list that fills its page exactly has no pointer in its last entry',
    async run(c) {
      const { io, known } = await filled(c, 5 * page);
      const data = c.memory(5 * page);
      const prp2 = list(c.memory(page), page - 32, pagesOf(data, 1, 4));
      await io.status(0, 'read', read(5 * page, data.address, prp2));
      truth(same(data.bytes, known), 'the data arrived');
    },
  },
  {
    title: 'the largest transfer is 512 KiB (MDTS 7), and one block more is Invalid Field',
    async run(c) {
      const bytes = 512 << 10;
      await c.enable();
      const io = await c.queues(1);
      const out = c.memory(bytes + page);
      pattern(out.bytes);
      const prp2 = list(c.memory(2 * page), 0, pagesOf(out, 1, 128));
      await io.status(0, 'a write of 512 KiB', { ...read(bytes, out.address, prp2), opcode: 0x01 });
      const back = c.memory(bytes);
      await io.status(
        0,
        'a read of 512 KiB',
        read(bytes, back.address, list(c.memory(page), 0, pagesOf(back, 1, 127))),
      );
      truth(same(back.bytes, out.bytes.subarray(0, bytes)), 'the data came back');
      for (const opcode of [0x01, 0x02]) {
        await io.status(0x4002, 'one block more', { ...read(bytes + 512, out.address, prp2), opcode });
      }
    },
  },
  {
    title: 'PRP2 inside a page is Invalid PRP Offset, and so is such an entry of a list',
    async run(c) {
      const { io } = await filled(c, page);
      const data = c.memory(4 * page);
      await io.status(0x4013, 'PRP2', read(2 * page, data.address, data.address + BigInt(page + 512)));
      const entries = pagesOf(data, 1, 3);
      entries[1] = (entries[1] as bigint) + 512n;
      const prp2 = list(c.memory(page), 0, entries);
      await io.status(0x4013, 'an entry of the list', read(4 * page, data.address, prp2));
    },
  },
  {
    title: 'PRP1 that is not a multiple of four is Invalid PRP Offset',
    note: 'the specification lets a controller take the two lowest bits as zero; QEMU uses the address as it is',
    async run(c) {
      const { io } = await filled(c, page);
      const data = c.memory(page);
      await io.status(c.kind === 'qemu' ? 0 : 0x4013, 'PRP1', read(512, data.address + 2n));
    },
  },
  {
    title: 'with pages of 64 KiB (CC.MPS) two pages carry 128 KiB without a list',
    async run(c) {
      const large = 65536;
      const { known } = await filled(c, 2 * large);
      const aligned = (memory: RawMemory): RawMemory => {
        const skip = (large - Number(memory.address % BigInt(large))) % large;
        return { ...memory, bytes: memory.bytes.subarray(skip), address: memory.address + BigInt(skip) };
      };
      await c.enable({ cc: enabled | (4 << 7), align: aligned, room: 2 * large });
      const io = await c.queues(1, { align: aligned, room: 2 * large });
      const data = aligned(c.memory(4 * large));
      await io.status(0, 'read', read(2 * large, data.address + BigInt(large), data.address));
      truth(same(data.bytes.subarray(large, 2 * large), known.subarray(0, large)), 'the first half is at PRP1');
      truth(same(data.bytes.subarray(0, large), known.subarray(large)), 'the second half is at PRP2');
      await io.status(0x4013, 'PRP2 at a page of 4 KiB', read(2 * large, data.address, data.address + 4096n));
    },
  },
  {
    title: 'data to be fetched from an address that cannot be reached ends the command with Data Transfer Error',
    note: unnoticed,
    needs: 'refusal',
    run: (c) => nowhere(c, 0x01),
  },
  {
    title: 'data to be stored at an address that cannot be reached ends the command with Data Transfer Error',
    note: unnoticed,
    needs: 'refusal',
    run: (c) => nowhere(c, 0x02),
  },
  {
    title: 'a queue that cannot be reached makes the controller fail',
    needs: 'refusal',
    async run(c) {
      await c.enable();
      const nowhere = c.raw.unreachable as bigint;
      const completion = c.memory(page);
      await c.admin.status(0, 'Create I/O Completion Queue', {
        opcode: 0x05,
        prp1: completion.address,
        cdw10: (15 << 16) | 1,
        cdw11: 1,
      });
      await c.admin.status(0, 'Create I/O Submission Queue', {
        opcode: 0x01,
        prp1: nowhere,
        cdw10: (15 << 16) | 1,
        cdw11: (1 << 16) | 1,
      });
      c.registers.write32(0x1000 + 2 * c.stride, 1);
      for (let i = 0; i < 50; i++) await c.raw.wait();
      equal(c.registers.read32(0x1c) & 2, 2, 'CSTS.CFS');
    },
  },
];
