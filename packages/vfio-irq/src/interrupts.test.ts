import { type IrqRequest, VfioError } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { interrupts } from './interrupts.js';
import type { EventKind } from './modes.js';
import { FakeDevice } from './testing/fake.js';

const [INTX, MSI, MSIX, ERR, REQ] = [0, 1, 2, 3, 4];
const code = (name: string) => expect.objectContaining({ code: name });

describe('the interrupts of a device', () => {
  it('are one object, however often they are asked for', () => {
    const fake = new FakeDevice();
    const wrapped = { channel: fake.channel, address: fake.address, closed: false, onClose: () => () => {} };
    expect(interrupts(fake.device)).toBe(interrupts(fake.device));
    expect(interrupts(wrapped as never)).toBe(interrupts(fake.device));
  });

  it('[IRQ-1] [IRQ-2] [IRQ-3] [IRQ-5] say what the kernel says of each index', () => {
    const all = interrupts(new FakeDevice().device);
    const counts = (['intx', 'msi', 'msix', 'err', 'req'] as EventKind[]).map((kind) => all.info(kind).count);
    expect(counts).toEqual([1, 4, 8, 1, 1]);
    expect(all.info('intx')).toMatchObject({ maskable: true, automasked: true });
  });

  it('[IRQ-4] say count 0 of the error event of a conventional device, which the kernel refuses to describe', () => {
    const all = interrupts(new FakeDevice({ counts: [1, 1, 0, 0, 1] }).device);
    expect(all.info('err').count).toBe(0);
    expect(() => all.errors()).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
  });

  it('cannot be had of a closed device', () => {
    const fake = new FakeDevice();
    fake.close();
    expect(() => interrupts(fake.device)).toThrow(code('ERR_VFIO_CLOSED'));
  });
});

describe('enabling', () => {
  it('[IRQ-25] gives one eventfd for each vector, bound from vector 0 on', async () => {
    const fake = new FakeDevice();
    const set = await interrupts(fake.device).enable('msix', 3);
    expect(set.length).toBe(3);
    expect([...set].map((irq) => irq.vector)).toEqual([0, 1, 2]);
    expect(new Set([...set].map((irq) => irq.fd)).size).toBe(3);
    expect(fake.requests).toEqual([
      { index: MSIX, start: 0, action: 'trigger', data: { kind: 'eventfd', fds: [...set].map((irq) => irq.fd) } },
    ]);
    expect(set[2]?.label).toBe('MSI-X vector 2 of 0000:01:00.0');
    expect(set[3]).toBeUndefined();
    expect(() => set.vector(3)).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it('gives one vector when no number is said', async () => {
    const set = await interrupts(new FakeDevice().device).enable('msi');
    expect(set.length).toBe(1);
  });

  it('refuses a second mode, and the same mode twice, until the first is closed', async () => {
    const all = interrupts(new FakeDevice().device);
    const set = await all.enable('msi', 2);
    expect(all.active).toBe(set);
    for (const kind of ['msi', 'msix', 'intx'] as const) {
      await expect(all.enable(kind)).rejects.toMatchObject({
        code: 'ERR_VFIO_IRQ',
        details: { active: 'msi', vectors: 2 },
      });
    }
    set.close();
    expect(all.active).toBeUndefined();
    await using again = await all.enable('msix', 2);
    expect(again.kind).toBe('msix');
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %s vectors', async (count) => {
    const fake = new FakeDevice();
    await expect(interrupts(fake.device).enable('msix', count)).rejects.toMatchObject({ code: 'ERR_VFIO_ARGUMENT' });
    expect(fake.system.counters.size).toBe(0);
  });

  it('says how many vectors there are when more are asked for than the device has', async () => {
    const fake = new FakeDevice();
    const asked = interrupts(fake.device).enable('msix', 9);
    await expect(asked).rejects.toMatchObject({ code: 'ERR_VFIO_IRQ', details: { asked: 9, available: 8 } });
    await expect(interrupts(fake.device).enable('intx', 2)).rejects.toMatchObject({
      details: { asked: 2, available: 1 },
    });
    expect(fake.requests).toEqual([]);
  });

  it('[IRQ-26] says how many vectors the kernel could have given when it has fewer, and leaves nothing open', async () => {
    const fake = new FakeDevice({ answer: () => 5 });
    const asked = interrupts(fake.device).enable('msix', 8);
    await expect(asked).rejects.toMatchObject({ code: 'ERR_VFIO_IRQ', details: { asked: 8, available: 5 } });
    expect(fake.system.counters.size).toBe(0);
    expect(fake.system.exits.size).toBe(0);
    expect(interrupts(fake.device).active).toBeUndefined();
  });

  it('[IRQ-12] says that a device does not have a mode', async () => {
    const fake = new FakeDevice({ counts: [0, 0, 0, 0, 0] });
    for (const kind of ['intx', 'msi', 'msix'] as const) {
      await expect(interrupts(fake.device).enable(kind)).rejects.toMatchObject({ code: 'ERR_VFIO_NOT_SUPPORTED' });
    }
    expect(() => interrupts(fake.device).requests()).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
  });

  it.each([
    { item: '[IRQ-19]', kind: 'intx', errno: 16, told: 'cannot be shared' },
    { item: '[IRQ-19]', kind: 'intx', errno: 19, told: 'routes no interrupt' },
    { item: '[IRQ-18]', kind: 'intx', errno: 22, told: 'cannot be switched on' },
    { item: '[IRQ-26]', kind: 'msix', errno: 28, told: 'no MSI-X vectors left' },
  ] as const)('$item explains errno $errno of $kind, and leaves nothing open', async ({ kind, errno, told }) => {
    const refusal = new VfioError('ERR_VFIO_SYSTEM', 'no', { errno });
    const fake = new FakeDevice({ answer: () => refusal });
    const asked = interrupts(fake.device).enable(kind);
    await expect(asked).rejects.toMatchObject({ code: 'ERR_VFIO_IRQ', errno, cause: refusal });
    await expect(asked).rejects.toThrow(told);
    expect(fake.system.counters.size).toBe(0);
  });

  it('passes other errors on as they are', async () => {
    const gone = new VfioError('ERR_VFIO_DEVICE_GONE', 'gone', { errno: 19 });
    const fake = new FakeDevice({ answer: () => gone });
    await expect(interrupts(fake.device).enable('msi')).rejects.toBe(gone);
  });

  it('leaves nothing open when there are not enough descriptors', async () => {
    const fake = new FakeDevice();
    fake.system.refuse = [0, 0, -24];
    const asked = interrupts(fake.device).enable('msix', 4);
    await expect(asked).rejects.toMatchObject({ errnoName: 'EMFILE', syscall: 'eventfd' });
    expect(fake.system.counters.size).toBe(0);
    expect(fake.requests).toEqual([]);
  });
});

describe('the warning', () => {
  it.each(['msi', 'msix'] as const)('is given in words when %s is enabled while bus mastering is off', async (kind) => {
    const said: string[] = [];
    const fake = new FakeDevice({ busMaster: false });
    await interrupts(fake.device).enable(kind, 1, { onWarning: (message) => said.push(message) });
    expect(said).toHaveLength(1);
    expect(said[0]).toContain('busMaster.enable()');
    expect(said[0]).toContain('0000:01:00.0');
  });

  it('goes to the console by default', async () => {
    const { warn } = console;
    const said: unknown[] = [];
    console.warn = (message: unknown) => said.push(message);
    try {
      await interrupts(new FakeDevice({ busMaster: false }).device).enable('msi');
    } finally {
      console.warn = warn;
    }
    expect(said).toHaveLength(1);
  });

  it('is not given for INTx, which is no memory write, nor when bus mastering is on', async () => {
    const said: string[] = [];
    const onWarning = (message: string) => said.push(message);
    await interrupts(new FakeDevice({ busMaster: false }).device).enable('intx', 1, { onWarning });
    await interrupts(new FakeDevice({ busMaster: true }).device).enable('msix', 1, { onWarning });
    expect(said).toEqual([]);
  });
});

describe('INTx', () => {
  it('[IRQ-43] says that each interrupt masks the line, and unmasks it on demand', async () => {
    const fake = new FakeDevice();
    const [irq] = [...(await interrupts(fake.device).enable('intx'))];
    expect(irq).toMatchObject({ automasked: true, maskable: true, label: 'INTx of 0000:01:00.0' });
    irq!.unmask();
    irq!.mask();
    expect(fake.requests.slice(1)).toEqual([
      { index: INTX, start: 0, action: 'unmask', data: { kind: 'none', count: 1 } },
      { index: INTX, start: 0, action: 'mask', data: { kind: 'none', count: 1 } },
    ]);
  });

  it('is the only kind that can be masked', async () => {
    const set = await interrupts(new FakeDevice().device).enable('msix');
    expect(set[0].automasked).toBe(false);
    expect(() => set[0].mask()).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
    expect(() => set[0].unmask()).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
  });
});

describe('loopback', () => {
  it('[IRQ-32] signals the vector without the device', async () => {
    const fake = new FakeDevice();
    const set = await interrupts(fake.device).enable('msix', 2);
    set[1]!.trigger();
    expect(set[0].take()).toBe(0);
    expect(set[1]!.take()).toBe(1);
  });
});

describe('the two events', () => {
  it('[IRQ-40] are bound once, arrive beside a mode, and are taken off with -1', async () => {
    const fake = new FakeDevice();
    const all = interrupts(fake.device);
    const requests = all.requests();
    expect(all.requests()).toBe(requests);
    const errors = all.errors();
    await using _set = await all.enable('msi');
    fake.raise(REQ);
    expect(await requests.once()).toBe(1);
    fake.raise(ERR);
    expect(await errors.once()).toBe(1);
    requests.close();
    requests.close();
    expect(fake.requests.at(-1)).toEqual({
      index: REQ,
      start: 0,
      action: 'trigger',
      data: { kind: 'eventfd', fds: [-1] },
    });
    expect(all.requests()).not.toBe(requests);
  });

  it('[IRQ-41] are never asked for without data, which the first kernels did not survive', async () => {
    const fake = new FakeDevice();
    const all = interrupts(fake.device);
    all.errors().trigger();
    all.requests();
    fake.close();
    const bare = fake.requests.filter((request: IrqRequest) => request.index >= ERR! && request.data.kind === 'none');
    expect(bare).toEqual([]);
    expect(fake.requests.length).toBeGreaterThan(3);
  });
});

describe('closing', () => {
  it('[IRQ-30] switches the mode off and closes every eventfd, once', async () => {
    const fake = new FakeDevice();
    const set = await interrupts(fake.device).enable('msi', 4);
    set.close();
    set.close();
    expect(fake.requests.slice(1)).toEqual([
      { index: MSI, start: 0, action: 'trigger', data: { kind: 'none', count: 0 } },
    ]);
    expect(fake.system.counters.size).toBe(0);
    expect(fake.system.exits.size).toBe(0);
    expect(set.closed).toBe(true);
  });

  it('happens with the device', async () => {
    const fake = new FakeDevice();
    const all = interrupts(fake.device);
    const set = await all.enable('msix', 8);
    const errors = all.errors();
    all.requests();
    const waits = [set[3]!.once(), errors.once()].map((wait) =>
      wait.then(
        () => 'came',
        (error) => error.code,
      ),
    );
    fake.close();
    expect(await Promise.all(waits)).toEqual(['ERR_VFIO_CLOSED', 'ERR_VFIO_CLOSED']);
    expect(set.closed).toBe(true);
    expect(fake.bound.size).toBe(0);
    expect(fake.system.counters.size).toBe(0);
    expect(fake.system.watches.size).toBe(0);
    expect(() => all.info('msi')).toThrow(code('ERR_VFIO_CLOSED'));
    await expect(all.enable('msi')).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
  });

  it('is not hindered by a device that has left', async () => {
    let left = false;
    const gone = new VfioError('ERR_VFIO_DEVICE_GONE', 'gone', { errno: 19 });
    const fake = new FakeDevice({ answer: () => (left ? gone : undefined) });
    await interrupts(fake.device).enable('msi', 2);
    interrupts(fake.device).requests();
    left = true;
    fake.close();
    expect(fake.system.counters.size).toBe(0);
  });

  it('frees everything also when the kernel refuses, and says so', async () => {
    let broken = false;
    const refusal = new VfioError('ERR_VFIO_SYSTEM', 'no', { errno: 5 });
    const fake = new FakeDevice({ answer: () => (broken ? refusal : undefined) });
    const set = await interrupts(fake.device).enable('msi', 2);
    broken = true;
    expect(() => set.close()).toThrow(refusal);
    expect(fake.system.counters.size).toBe(0);
    expect(interrupts(fake.device).active).toBeUndefined();
  });

  it('[IRQ-28] of one vector leaves the others on', async () => {
    const fake = new FakeDevice();
    const set = await interrupts(fake.device).enable('msix', 3);
    set[1]!.close();
    expect([...fake.bound.keys()]).toEqual(['2.0', '2.2']);
    fake.raise(MSIX!, 2);
    expect(await set[2]!.once()).toBe(1);
    set.close();
    expect(fake.system.counters.size).toBe(0);
  });
});
