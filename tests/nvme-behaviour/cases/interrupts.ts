/** Interrupts: NVMe 1.4, section 7.5. */

import { type Behaviour, equal, offset, type RawController, settle, truth, until } from '../raw.js';

const flush = { opcode: 0x00, nsid: 1 };
const count = (c: RawController, vector: number): number => c.raw.interrupts?.(vector) ?? -1;

export const interruptBehaviour: readonly Behaviour[] = [
  {
    title: 'the admin queue raises vector 0, an I/O queue the vector that it was created with',
    needs: 'interrupts',
    async run(c) {
      await c.enable();
      const admin = count(c, 0);
      await c.identify(1);
      await until(c.raw, 'vector 0', () => count(c, 0) > admin);
      const first = await c.queues(1, { vector: 1, interrupts: true });
      const second = await c.queues(2, { vector: 5, interrupts: true });
      await settle(c.raw);
      const before = [0, 1, 2, 5].map((vector) => count(c, vector));
      await first.run(flush);
      await until(c.raw, 'vector 1', () => count(c, 1) === (before[1] as number) + 1);
      await second.run(flush);
      await until(c.raw, 'vector 5', () => count(c, 5) === (before[3] as number) + 1);
      await settle(c.raw);
      equal(count(c, 0), before[0] as number, 'messages of vector 0');
      equal(count(c, 2), before[2] as number, 'messages of vector 2');
      equal(count(c, 1), (before[1] as number) + 1, 'messages of vector 1');
    },
  },
  {
    title: 'a completion queue without interrupts raises none',
    needs: 'interrupts',
    async run(c) {
      await c.enable();
      const io = await c.queues(1, { vector: 3, interrupts: false });
      await settle(c.raw);
      const before = count(c, 3);
      for (let i = 0; i < 3; i++) await io.run(flush);
      await settle(c.raw);
      equal(count(c, 3), before, 'messages');
    },
  },
  {
    title: 'the pin stays asserted until the host has acknowledged every completion',
    needs: 'pin',
    async run(c) {
      await c.raw.useInterrupts?.('intx');
      try {
        await c.enable();
        const io = await c.queues(1, { interrupts: true });
        await settle(c.raw);
        equal(count(c, 0), 0, 'the pin when all is acknowledged');
        for (let i = 0; i < 2; i++) io.put(flush);
        io.ring();
        await until(c.raw, 'the pin asserted', () => count(c, 0) === 1);
        await settle(c.raw);
        truth(io.take() !== undefined, 'a completion is there');
        io.acknowledge();
        await settle(c.raw);
        equal(count(c, 0), 1, 'the pin after one of two was acknowledged');
        truth(io.take() !== undefined, 'the second completion is there');
        io.acknowledge();
        await settle(c.raw);
        equal(count(c, 0), 0, 'the pin after both were acknowledged');
      } finally {
        await c.disable();
        await c.raw.useInterrupts?.('msix');
      }
    },
  },
  {
    title: 'INTMS lets go of the pin and INTMC asserts it again',
    needs: 'pin',
    async run(c) {
      await c.raw.useInterrupts?.('intx');
      try {
        await c.enable();
        const io = await c.queues(1, { interrupts: true });
        io.put(flush);
        io.ring();
        await until(c.raw, 'the pin asserted', () => count(c, 0) === 1);
        c.registers.write32(offset.INTMS, 1);
        await settle(c.raw);
        equal(count(c, 0), 0, 'the pin while masked');
        c.registers.write32(offset.INTMC, 1);
        await settle(c.raw);
        equal(count(c, 0), 1, 'the pin when unmasked');
        io.take();
        io.acknowledge();
        await settle(c.raw);
        equal(count(c, 0), 0, 'the pin after the acknowledgement');
      } finally {
        await c.disable();
        await c.raw.useInterrupts?.('msix');
      }
    },
  },
  {
    title: 'a controller reset lets go of the pin',
    note: 'QEMU leaves it asserted: a driver finds an interrupt with nothing behind it when it starts again',
    needs: 'pin',
    async run(c) {
      await c.raw.useInterrupts?.('intx');
      try {
        await c.enable();
        const io = await c.queues(1, { interrupts: true });
        io.put(flush);
        io.ring();
        await until(c.raw, 'the pin asserted', () => count(c, 0) === 1);
        await c.disable();
        await settle(c.raw);
        equal(count(c, 0), c.kind === 'qemu' ? 1 : 0, 'the pin');
      } finally {
        await c.disable();
        await c.raw.useInterrupts?.('msix');
      }
    },
  },
];
