/** Registers, enabling, resetting, shutting down: NVMe 1.4, sections 3.1 and 7. */

import { type Behaviour, enabled, equal, offset, type RawController, settle, truth, until } from '../raw.js';

/** Writes CC with these registers and waits for the answer: ready or fatal. */
async function attempt(c: RawController, registers: { aqa: number; asq: bigint; acq: bigint; cc?: number }) {
  await c.disable();
  c.registers.write32(offset.AQA, registers.aqa);
  c.registers.write64(offset.ASQ, registers.asq);
  c.registers.write64(offset.ACQ, registers.acq);
  c.registers.write32(offset.CC, registers.cc ?? enabled);
  await until(c.raw, 'CSTS.RDY or CSTS.CFS', () => (c.registers.read32(offset.CSTS) & 3) !== 0);
  return c.registers.read32(offset.CSTS) & 3;
}

export const registerBehaviour: readonly Behaviour[] = [
  {
    title: 'VS says 1.4.0, and reads the same in 8, 16 and 32 bits',
    note: 'QEMU reads 16 bits where 8 were asked for, and its emulated processor loads all of them into the register',
    async run(c) {
      equal(c.registers.read32(offset.VS), 0x0001_0400, 'VS');
      equal(c.registers.read16(offset.VS), 0x0400, 'VS, low 16 bits');
      equal(c.registers.read16(offset.VS + 2), 0x0001, 'VS, high 16 bits');
      const byte = c.registers.read8(offset.VS + 1);
      equal(c.kind === 'qemu' ? byte & 0xff : byte, 0x04, 'VS, byte 1');
    },
  },
  {
    title: 'CAP reads the same at once and in halves',
    async run(c) {
      const whole = c.registers.read64(offset.CAP);
      equal(BigInt(c.registers.read32(offset.CAP)), whole & 0xffff_ffffn, 'low half of CAP');
      equal(BigInt(c.registers.read32(offset.CAP + 4)), whole >> 32n, 'high half of CAP');
    },
  },
  {
    title: 'CAP offers contiguous queues of up to 2048 entries, pages of 4 to 64 KiB and the NVM command set',
    async run(c) {
      const low = c.registers.read32(offset.CAP);
      const high = c.registers.read32(offset.CAP + 4);
      equal(low & 0xffff, 2047, 'CAP.MQES');
      equal((low >>> 16) & 1, 1, 'CAP.CQR');
      equal(low >>> 24, 15, 'CAP.TO, in units of 500 ms');
      equal(high & 15, 0, 'CAP.DSTRD');
      equal((high >>> 5) & 1, 1, 'CAP.CSS, NVM command set');
      equal((high >>> 16) & 15, 0, 'CAP.MPSMIN');
      equal((high >>> 20) & 15, 4, 'CAP.MPSMAX');
    },
  },
  {
    title: 'ASQ and ACQ take a 64-bit store and two 32-bit stores',
    async run(c) {
      await c.disable();
      for (const register of [offset.ASQ, offset.ACQ]) {
        c.registers.write64(register, 0x0000_0012_3456_7000n);
        equal(c.registers.read32(register), 0x3456_7000, 'low half');
        equal(c.registers.read32(register + 4), 0x12, 'high half');
        c.registers.write32(register, 0xabcd_e000);
        equal(c.registers.read64(register), 0x0000_0012_abcd_e000n, 'after a store to the low half');
        c.registers.write32(register + 4, 0x0f);
        equal(c.registers.read64(register), 0x0000_000f_abcd_e000n, 'after a store to the high half');
      }
    },
  },
  {
    title: 'AQA keeps both sizes',
    async run(c) {
      await c.disable();
      c.registers.write32(offset.AQA, 0x00ff_001f);
      equal(c.registers.read32(offset.AQA), 0x00ff_001f, 'AQA');
    },
  },
  {
    title: 'INTMS sets bits of the mask, INTMC clears them, and both read as the mask',
    async run(c) {
      await c.enable();
      c.registers.write32(offset.INTMC, 0xffff_ffff);
      c.registers.write32(offset.INTMS, 0x0000_000d);
      c.registers.write32(offset.INTMC, 0x0000_0004);
      equal(c.registers.read32(offset.INTMS), 9, 'INTMS');
      equal(c.registers.read32(offset.INTMC), 9, 'INTMC');
      c.registers.write32(offset.INTMC, 0xffff_ffff);
      equal(c.registers.read32(offset.INTMS), 0, 'INTMS after all bits were cleared');
    },
  },
  {
    title: 'CSTS.RDY follows CC.EN in both directions',
    async run(c) {
      await c.enable();
      equal(c.registers.read32(offset.CSTS) & 3, 1, 'CSTS when enabled');
      equal(c.registers.read32(offset.CC), enabled, 'CC');
      c.registers.write32(offset.CC, enabled & ~1);
      await until(c.raw, 'CSTS.RDY clear', () => (c.registers.read32(offset.CSTS) & 1) === 0);
    },
  },
  {
    title: 'an admin queue of one entry makes the controller fail (CSTS.CFS), and a reset mends it',
    async run(c) {
      const { address } = c.memory(8192);
      for (const aqa of [0, 0x0000_001f, 0x001f_0000]) {
        equal(await attempt(c, { aqa, asq: address, acq: address + 4096n }), 2, `CSTS for AQA ${aqa}`);
      }
      await c.disable();
      equal(c.registers.read32(offset.CSTS) & 3, 0, 'CSTS after CC.EN was cleared');
      await c.enable();
    },
  },
  {
    title: 'an admin queue inside a page makes the controller fail',
    async run(c) {
      const { address } = c.memory(8192);
      const good = { aqa: 0x001f_001f, asq: address, acq: address + 4096n };
      equal(await attempt(c, { ...good, asq: address + 64n }), 2, 'CSTS for ASQ inside a page');
      equal(await attempt(c, { ...good, acq: address + 4096n + 16n }), 2, 'CSTS for ACQ inside a page');
      equal(await attempt(c, good), 1, 'CSTS for good addresses');
    },
  },
  {
    title: 'a memory page size beyond CAP.MPSMAX makes the controller fail, one within is used',
    async run(c) {
      const { address } = c.memory(1 << 18);
      const aligned = (address + 0xffffn) & ~0xffffn;
      const good = { aqa: 0x001f_001f, asq: aligned, acq: aligned + 0x1_0000n };
      equal(await attempt(c, { ...good, cc: enabled | (5 << 7) }), 2, 'CSTS for pages of 128 KiB');
      equal(await attempt(c, { ...good, cc: enabled | (4 << 7) }), 1, 'CSTS for pages of 64 KiB');
    },
  },
  {
    title: 'a normal shutdown completes (CSTS.SHST 2), and enabling again makes the controller work',
    async run(c) {
      await c.enable();
      c.registers.write32(offset.CC, enabled | (1 << 14));
      await until(c.raw, 'CSTS.SHST 2', () => (c.registers.read32(offset.CSTS) & 12) === 8);
      await c.disable();
      equal(c.registers.read32(offset.CSTS) & 12, 0, 'CSTS.SHST after the reset');
      await c.enable();
      equal((await c.identify(1)).getUint8(512), 0x66, 'SQES');
    },
  },
  {
    title: 'an abrupt shutdown completes as well',
    async run(c) {
      await c.enable();
      c.registers.write32(offset.CC, enabled | (2 << 14));
      await until(c.raw, 'CSTS.SHST 2', () => (c.registers.read32(offset.CSTS) & 12) === 8);
    },
  },
  {
    title: 'a controller reset keeps AQA, ASQ and ACQ, and forgets I/O queues',
    async run(c) {
      await c.enable();
      const before = await c.queues(1);
      const keep = () => [
        c.registers.read32(offset.AQA),
        c.registers.read64(offset.ASQ),
        c.registers.read64(offset.ACQ),
      ];
      const kept = keep();
      await c.disable();
      keep().forEach((value, i) => {
        equal(value, kept[i] as number, `admin queue register ${i} after the reset`);
      });
      before.put({ opcode: 0x00, nsid: 1 });
      before.ring();
      await before.silent('a doorbell of a disabled controller');
      await c.enable();
      before.ring();
      await before.silent('a doorbell of a queue of former times');
      await c.queues(1);
    },
  },
  {
    title: 'a controller reset in the middle of commands leaves no late completion behind',
    async run(c) {
      await c.enable();
      const io = await c.queues(1);
      const data = c.memory(4096);
      for (let i = 0; i < 8; i++) io.put({ opcode: 0x02, nsid: 1, prp1: data.address, cdw10: i, cdw12: 7 });
      io.ring();
      await c.disable();
      io.completion.bytes.fill(0);
      await settle(c.raw);
      truth(
        io.completion.bytes.every((byte) => byte === 0),
        'a completion was written after CSTS.RDY had gone',
      );
    },
  },
  {
    title: 'a function level reset disables the controller and forgets its queues',
    needs: 'function reset',
    async run(c) {
      await c.enable();
      await c.queues(1);
      await c.raw.resetFunction?.();
      equal(c.registers.read32(offset.CSTS) & 1, 0, 'CSTS.RDY');
      equal(c.registers.read32(offset.CC) & 1, 0, 'CC.EN');
      await c.enable();
      await c.queues(1);
    },
  },
];
