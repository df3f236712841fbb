/** I/O commands: NVMe 1.4, section 6. */

import { type Behaviour, equal, type RawController, type RawQueues, truth, viewOf } from '../raw.js';

const pattern = (bytes: Uint8Array, seed: number) => {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + seed) & 255;
};
const check = (bytes: Uint8Array, seed: number, what: string) => {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== ((i * 7 + (i >> 8) * 13 + seed) & 255)) throw new Error(`${what}: byte ${i} differs`);
  }
};
const zero = (bytes: Uint8Array) => bytes.every((byte) => byte === 0);

async function ready(c: RawController): Promise<RawQueues> {
  await c.enable();
  return await c.queues(1);
}

export const ioBehaviour: readonly Behaviour[] = [
  {
    title: 'what was written is read back, in blocks of 512 and of 4096 bytes',
    async run(c) {
      const io = await ready(c);
      const out = c.memory(8192);
      const back = c.memory(8192);
      for (const [nsid, blockSize] of [
        [1, 512],
        [2, 4096],
      ] as const) {
        pattern(out.bytes, nsid);
        back.bytes.fill(0);
        const cdw12 = 8192 / blockSize - 1;
        const both = { nsid, cdw10: 40, cdw12 };
        await io.status(0, 'write', { ...both, opcode: 0x01, prp1: out.address, prp2: out.address + 4096n });
        await io.status(0, 'read', { ...both, opcode: 0x02, prp1: back.address, prp2: back.address + 4096n });
        check(back.bytes, nsid, `namespace ${nsid}`);
      }
    },
  },
  {
    title: 'a block is where its number says: neighbours stay as they were',
    async run(c) {
      const io = await ready(c);
      const data = c.memory(4096);
      data.bytes.fill(0x11);
      await io.status(0, 'write', { opcode: 0x01, nsid: 1, prp1: data.address, cdw10: 100, cdw12: 2 });
      data.bytes.fill(0x22);
      await io.status(0, 'write', { opcode: 0x01, nsid: 1, prp1: data.address, cdw10: 101, cdw12: 0 });
      data.bytes.fill(0);
      await io.status(0, 'read', { opcode: 0x02, nsid: 1, prp1: data.address, cdw10: 100, cdw12: 2 });
      for (const [block, value] of [0x11, 0x22, 0x11].entries()) {
        truth(
          data.bytes.subarray(block * 512, block * 512 + 512).every((byte) => byte === value),
          `block ${100 + block} holds ${value}`,
        );
      }
      equal(data.bytes[1536] as number, 0, 'the byte behind what was read');
    },
  },
  {
    title: 'the last block is there, one further is LBA Out of Range, and so is a range across the end',
    async run(c) {
      const io = await ready(c);
      const { address } = c.memory(4096);
      const blocks = 32768;
      for (const opcode of [0x01, 0x02]) {
        const at = (cdw10: number, cdw12 = 0, cdw11 = 0) => ({ opcode, nsid: 1, prp1: address, cdw10, cdw11, cdw12 });
        await io.status(0, 'the last block', at(blocks - 1));
        await io.status(0x4080, 'one block too far', at(blocks));
        await io.status(0x4080, 'a range across the end', at(blocks - 1, 1));
        await io.status(0x4080, 'a block beyond 2^32', at(0, 0, 1));
        await io.status(0x4080, 'the largest block number', at(0xffff_ffff, 0, 0xffff_ffff));
      }
    },
  },
  {
    title: 'a namespace that is invalid is Invalid Namespace, one that is inactive Invalid Field',
    async run(c) {
      const io = await ready(c);
      const { address } = c.memory(4096);
      for (const opcode of [0x00, 0x01, 0x02]) {
        await io.status(0x400b, 'namespace 0', { opcode, nsid: 0, prp1: address });
        await io.status(0x400b, 'namespace 257', { opcode, nsid: 257, prp1: address });
        await io.status(0x4002, 'namespace 3', { opcode, nsid: 3, prp1: address });
      }
    },
  },
  {
    title: 'an unknown I/O opcode is Invalid Command Opcode',
    async run(c) {
      const io = await ready(c);
      for (const opcode of [0x03, 0x7f, 0xff]) await io.status(0x4001, `opcode ${opcode}`, { opcode, nsid: 1 });
    },
  },
  {
    title: 'a fused I/O command is Invalid Field',
    async run(c) {
      const io = await ready(c);
      const { address } = c.memory(4096);
      await io.status(0x0002, 'fused', { opcode: 0x02, flags: 1, nsid: 1, prp1: address });
    },
  },
  {
    title: 'Flush takes one namespace, or all of them',
    async run(c) {
      const io = await ready(c);
      for (const nsid of [1, 2, 0xffff_ffff]) await io.status(0, `flush of ${nsid}`, { opcode: 0x00, nsid });
    },
  },
  {
    title: 'Write Zeroes zeroes blocks, and is not limited by MDTS',
    async run(c) {
      const io = await ready(c);
      const data = c.memory(4096);
      for (const block of [999, 1000, 1000 + 2047, 1000 + 2048]) {
        pattern(data.bytes, 5);
        await io.status(0, 'write', { opcode: 0x01, nsid: 1, prp1: data.address, cdw10: block });
      }
      await io.status(0, 'write zeroes', { opcode: 0x08, nsid: 1, cdw10: 1000, cdw12: 2047 });
      for (const [block, zeroed] of [
        [999, false],
        [1000, true],
        [1000 + 2047, true],
        [1000 + 2048, false],
      ] as const) {
        await io.status(0, 'read', { opcode: 0x02, nsid: 1, prp1: data.address, cdw10: block });
        equal(zero(data.bytes.subarray(0, 512)), zeroed, `block ${block} is zero`);
      }
      await io.status(0x4080, 'write zeroes across the end', { opcode: 0x08, nsid: 1, cdw10: 32767, cdw12: 1 });
    },
  },
  {
    title: 'Dataset Management deallocates ranges, which then read as zeroes (DLFEAT)',
    async run(c) {
      const io = await ready(c);
      await c.admin.silent('no event');
      const identify = await c.identify(0, 2);
      const data = c.memory(4096);
      const ranges = c.memory(4096);
      for (const block of [10, 11, 12, 20]) {
        pattern(data.bytes, 9);
        await io.status(0, 'write', { opcode: 0x01, nsid: 2, prp1: data.address, cdw10: block });
      }
      const view = viewOf(ranges.bytes);
      for (const [i, [first, count]] of [
        [10, 2],
        [20, 1],
      ].entries()) {
        view.setUint32(i * 16 + 4, count as number, true);
        view.setBigUint64(i * 16 + 8, BigInt(first as number), true);
      }
      const hint = { opcode: 0x09, nsid: 2, prp1: ranges.address, cdw10: 1 };
      await io.status(0, 'a hint without deallocation', { ...hint, cdw11: 0 });
      await io.status(0, 'deallocation', { ...hint, cdw11: 4 });
      equal(identify.getUint8(33) & 7, 1, 'DLFEAT: deallocated blocks read as zeroes');
      for (const [block, zeroed] of [
        [10, true],
        [11, true],
        [12, false],
        [20, true],
      ] as const) {
        await io.status(0, 'read', { opcode: 0x02, nsid: 2, prp1: data.address, cdw10: block });
        equal(zero(data.bytes), zeroed, `block ${block} is zero`);
      }
    },
  },
  {
    title: 'Compare succeeds on equal data and is Compare Failure on other data',
    async run(c) {
      const io = await ready(c);
      const data = c.memory(4096);
      const command = { nsid: 1, prp1: data.address, cdw10: 77, cdw12: 7 };
      pattern(data.bytes, 3);
      await io.status(0, 'write', { ...command, opcode: 0x01 });
      await io.status(0, 'compare', { ...command, opcode: 0x05 });
      data.bytes[4095] = (data.bytes[4095] as number) ^ 1;
      await io.status(0x0285, 'compare of other data', { ...command, opcode: 0x05 });
    },
  },
  {
    title: 'a write with Force Unit Access ends well',
    async run(c) {
      const io = await ready(c);
      const { address } = c.memory(4096);
      await io.status(0, 'write', { opcode: 0x01, nsid: 1, prp1: address, cdw10: 5, cdw12: 0x4000_0000 });
    },
  },
];
