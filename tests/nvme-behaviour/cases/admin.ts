/** Admin commands: NVMe 1.4, section 5. */

import { type Behaviour, equal, truth, viewOf } from '../raw.js';

const text = (view: DataView, from: number, length: number) =>
  String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + from, length));

export const adminBehaviour: readonly Behaviour[] = [
  {
    title: 'Identify Controller has its fields at their offsets',
    async run(c) {
      await c.enable();
      const data = await c.identify(1);
      truth(/^[ -~]*$/.test(text(data, 4, 68)), 'serial, model and firmware are ASCII');
      truth(text(data, 4, 20).trim().length > 0, 'there is a serial number');
      equal(data.getUint8(77), 7, 'MDTS: 512 KiB');
      equal(data.getUint32(80, true), 0x0001_0400, 'VER');
      equal(data.getUint8(258), 3, 'ACL');
      equal(data.getUint8(259), 3, 'AERL');
      equal(data.getUint16(266, true), 0x157, 'WCTEMP');
      equal(data.getUint16(268, true), 0x175, 'CCTEMP');
      equal(data.getUint8(512), 0x66, 'SQES');
      equal(data.getUint8(513), 0x44, 'CQES');
      equal(data.getUint32(516, true), 256, 'NN');
      equal(data.getUint16(520, true) & 0x0d, 0x0d, 'ONCS: Compare, Dataset Management, Write Zeroes');
      equal(data.getUint8(525), 7, 'VWC: a cache, and Flush of all namespaces');
      truth(text(data, 768, 4) === 'nqn.', 'SUBNQN');
    },
  },
  {
    title: 'Identify Namespace tells capacity and block size, through FLBAS',
    async run(c) {
      await c.enable();
      for (const [nsid, blockSize] of [
        [1, 512],
        [2, 4096],
      ] as const) {
        const data = await c.identify(0, nsid);
        const blocks = BigInt((16 << 20) / blockSize);
        equal(data.getBigUint64(0, true), blocks, 'NSZE');
        equal(data.getBigUint64(8, true), blocks, 'NCAP');
        truth(data.getBigUint64(16, true) <= blocks, 'NUSE');
        const format = data.getUint8(26) & 15;
        truth(format <= data.getUint8(25), 'FLBAS is one of the formats listed');
        equal(data.getUint8(128 + format * 4 + 2), Math.log2(blockSize), 'LBADS');
        equal(data.getUint16(128 + format * 4, true), 0, 'MS: no metadata');
      }
    },
  },
  {
    title: 'Identify of an inactive namespace gives zeroes',
    async run(c) {
      await c.enable();
      const data = await c.identify(0, 3);
      truth(
        new Uint8Array(data.buffer, data.byteOffset, 4096).every((byte) => byte === 0),
        'all 4096 bytes are zero',
      );
    },
  },
  {
    title: 'Identify of namespace 0 or of one above NN is Invalid Namespace or Format',
    async run(c) {
      await c.enable();
      const { address } = c.memory(4096);
      for (const nsid of [0, 257]) {
        await c.admin.status(0x400b, `namespace ${nsid}`, { opcode: 0x06, nsid, prp1: address, cdw10: 0 });
      }
    },
  },
  {
    title: 'the list of active namespaces starts above the number that is given',
    async run(c) {
      await c.enable();
      const lists = { 0: [1, 2, 0], 1: [2, 0], 2: [0] };
      for (const [after, expected] of Object.entries(lists)) {
        const data = await c.identify(2, Number(after));
        expected.forEach((nsid, i) => {
          equal(data.getUint32(i * 4, true), nsid, `entry ${i} of the list after ${after}`);
        });
      }
      const { address } = c.memory(4096);
      for (const nsid of [0xffff_fffe, 0xffff_ffff]) {
        await c.admin.status(0x400b, 'a list after the end', { opcode: 0x06, nsid, prp1: address, cdw10: 2 });
      }
    },
  },
  {
    title: 'namespace descriptors are a chain of known kinds, and there are none of an inactive namespace',
    async run(c) {
      await c.enable();
      const data = await c.identify(3, 1);
      let at = 0;
      let found = 0;
      while (data.getUint8(at) !== 0) {
        const kind = data.getUint8(at);
        const lengths: Record<number, number> = { 1: 8, 2: 16, 3: 16, 4: 1 };
        equal(data.getUint8(at + 1), lengths[kind] ?? -1, `length of a descriptor of kind ${kind}`);
        at += 4 + data.getUint8(at + 1);
        found++;
      }
      truth(found > 0, 'there is a descriptor');
      const { address } = c.memory(4096);
      await c.admin.status(0x4002, 'an inactive namespace', { opcode: 0x06, nsid: 3, prp1: address, cdw10: 3 });
      await c.admin.status(0x400b, 'namespace 0', { opcode: 0x06, nsid: 0, prp1: address, cdw10: 3 });
    },
  },
  {
    title: 'an unknown structure of Identify is Invalid Field',
    async run(c) {
      await c.enable();
      const { address } = c.memory(4096);
      await c.admin.status(0x4002, 'CNS 0xff', { opcode: 0x06, prp1: address, cdw10: 0xff });
    },
  },
  {
    title: 'Identify may write across two pages, PRP2 naming the second',
    async run(c) {
      await c.enable();
      const data = c.memory(3 * 4096);
      data.bytes.fill(0xa5);
      await c.admin.status(0, 'Identify', {
        opcode: 0x06,
        prp1: data.address + 3584n,
        prp2: data.address + 8192n,
        cdw10: 1,
      });
      // Byte 512 of the data is byte 0 of the page that PRP2 names.
      equal(data.bytes[8192] as number, 0x66, 'SQES');
      equal(data.bytes[8193] as number, 0x44, 'CQES');
      equal(data.bytes[3583] as number, 0xa5, 'the byte before');
      equal(data.bytes[4096] as number, 0xa5, 'the page that nobody named');
      equal(data.bytes[8192 + 3584] as number, 0xa5, 'the byte behind');
    },
  },
  {
    title: 'an unknown admin opcode is Invalid Command Opcode',
    async run(c) {
      await c.enable();
      for (const opcode of [0x03, 0x7f, 0xff]) await c.admin.status(0x4001, `opcode ${opcode}`, { opcode });
    },
  },
  {
    title: 'an admin command with scatter gather lists or fused is Invalid Field',
    async run(c) {
      await c.enable();
      const { address } = c.memory(4096);
      const command = { opcode: 0x06, prp1: address, cdw10: 1 };
      await c.admin.status(0x4002, 'PSDT 1', { ...command, flags: 0x40 });
      await c.admin.status(0x0002, 'fused', { ...command, flags: 0x01 });
    },
  },
  {
    title: 'Number of Queues grants 64 of each kind, and refuses the count 65536',
    async run(c) {
      await c.enable();
      const granted = await c.admin.status(0, 'Set Features', { opcode: 0x09, cdw10: 7, cdw11: 0x0003_0003 });
      equal(granted.result, 0x003f_003f, 'queues granted, counted from 0');
      const current = await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 7 });
      equal(current.result, 0x003f_003f, 'queues, counted from 0');
      await c.admin.status(0x4002, 'a count of 65536', { opcode: 0x09, cdw10: 7, cdw11: 0xffff_0000 });
    },
  },
  {
    title: 'Number of Queues is refused once there are I/O queues',
    async run(c) {
      await c.enable();
      await c.queues(1);
      await c.admin.status(0x400c, 'Set Features', { opcode: 0x09, cdw10: 7, cdw11: 0x0003_0003 });
    },
  },
  {
    title: 'the volatile write cache is on, and can be switched off and on',
    async run(c) {
      await c.enable();
      equal((await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 6 })).result & 1, 1, 'write cache');
      await c.admin.status(0, 'Set Features', { opcode: 0x09, cdw10: 6, cdw11: 0 });
      equal((await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 6 })).result & 1, 0, 'write cache');
      await c.admin.status(0, 'Set Features', { opcode: 0x09, cdw10: 6, cdw11: 1 });
      equal((await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 6 })).result & 1, 1, 'write cache');
    },
  },
  {
    title: 'the temperature threshold has a default, a current value and capabilities',
    async run(c) {
      await c.enable();
      const get = async (select: number, cdw11 = 0) =>
        (await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: (select << 8) | 4, cdw11 })).result;
      equal(await get(0), 0x157, 'current threshold, kelvin');
      equal(await get(3), 4, 'capabilities: changeable');
      await c.admin.status(0, 'Set Features', { opcode: 0x09, cdw10: 4, cdw11: 0x160 });
      equal(await get(0), 0x160, 'threshold as set');
      equal(await get(1), 0x157, 'default threshold');
      equal(await get(0, 1 << 20), 0, 'threshold for too cold');
      await c.admin.status(0, 'Set Features', { opcode: 0x09, cdw10: 4, cdw11: 0x157 });
    },
  },
  {
    title: 'an unknown feature is Invalid Field, saving is refused, and a namespace does not go with the others',
    async run(c) {
      await c.enable();
      await c.admin.status(0x4002, 'getting an unknown feature', { opcode: 0x0a, cdw10: 0x70 });
      await c.admin.status(0x4002, 'setting an unknown feature', { opcode: 0x09, cdw10: 0x70 });
      await c.admin.status(0x410d, 'saving', { opcode: 0x09, cdw10: 0x8000_0006, cdw11: 1 });
      await c.admin.status(0x410f, 'the write cache of one namespace', { opcode: 0x09, nsid: 1, cdw10: 6, cdw11: 1 });
    },
  },
  {
    title: 'Interrupt Vector Configuration says that vector 0 is never coalesced',
    async run(c) {
      await c.enable();
      const get = async (vector: number) =>
        (await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 9, cdw11: vector })).result;
      equal(await get(0), 0x1_0000, 'vector 0');
      equal(await get(3), 3, 'vector 3');
      await c.admin.status(0x4002, 'a vector that is not there', { opcode: 0x0a, cdw10: 9, cdw11: 0xffff });
    },
  },
  {
    title: 'Interrupt Coalescing can be set',
    note: 'QEMU says Feature Not Changeable',
    async run(c) {
      await c.enable();
      const expected = c.kind === 'qemu' ? 0x410e : 0;
      await c.admin.status(expected, 'Set Features', { opcode: 0x09, cdw10: 8, cdw11: 0x0103 });
      const { result } = await c.admin.status(0, 'Get Features', { opcode: 0x0a, cdw10: 8 });
      equal(result, c.kind === 'qemu' ? 0 : 0x0103, 'time and threshold');
    },
  },
  {
    title: 'the health log has the temperature, and can be read in parts',
    async run(c) {
      await c.enable();
      const page = c.memory(4096);
      const whole = { opcode: 0x02, nsid: 0xffff_ffff, prp1: page.address, cdw10: (127 << 16) | 2 };
      await c.admin.status(0, 'Get Log Page', whole);
      equal(viewOf(page.bytes).getUint16(1, true), 0x143, 'temperature, kelvin');
      page.bytes.fill(0xa5);
      await c.admin.status(0, 'Get Log Page from 4', { ...whole, cdw10: (0 << 16) | 2, cdw12: 0 });
      equal(page.bytes[4] as number, 0xa5, 'the byte behind the four that were asked for');
      await c.admin.status(0x4002, 'Get Log Page behind the end', { ...whole, cdw12: 512 });
    },
  },
  {
    title: 'the firmware log names slot 1, the error log can be read',
    async run(c) {
      await c.enable();
      const page = c.memory(4096);
      await c.admin.status(0, 'firmware', { opcode: 0x02, prp1: page.address, cdw10: (127 << 16) | 3 });
      equal((page.bytes[0] as number) & 7, 1, 'active slot');
      await c.admin.status(0, 'errors', { opcode: 0x02, prp1: page.address, cdw10: (15 << 16) | 1 });
    },
  },
  {
    title: 'an unknown log page is Invalid Log Page',
    note: 'QEMU says Invalid Field',
    async run(c) {
      await c.enable();
      const { address } = c.memory(4096);
      const expected = c.kind === 'qemu' ? 0x4002 : 0x4109;
      await c.admin.status(expected, 'log page 0xc5', { opcode: 0x02, prp1: address, cdw10: (15 << 16) | 0xc5 });
    },
  },
  {
    title: 'Abort of a command that is not there says so in bit 0 of its result',
    async run(c) {
      await c.enable();
      await c.queues(1);
      const { result } = await c.admin.status(0, 'Abort', { opcode: 0x08, cdw10: (0x7777 << 16) | 1 });
      equal(result & 1, 1, 'not aborted');
    },
  },
];
