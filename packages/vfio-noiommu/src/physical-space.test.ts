import { attachDma } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { PhysicalSpace } from './physical-space.js';
import { FakeMachine, HUGE } from './testing/fake-machine.js';

const code = (name: string, details?: object) =>
  expect.objectContaining({
    code: name,
    ...(details === undefined ? {} : { details: expect.objectContaining(details) }),
  });

const open = () => {
  const fake = new FakeMachine();
  return { fake, space: new PhysicalSpace(fake.calls, '0000:01:00.0') };
};

describe('memory without an IOMMU', () => {
  it('is one named file on hugetlbfs for a device, made by the first allocation', () => {
    const { fake, space } = open();
    expect(fake.named.size).toBe(0);
    space.allocate(1);
    space.allocate(HUGE);
    expect([...fake.named.keys()]).toEqual(['/dev/hugepages/vfio-noiommu.0000:01:00.0.4242-777.0']);
    expect(space.path).toBe('/dev/hugepages/vfio-noiommu.0000:01:00.0.4242-777.0');
    expect(space.kind).toBe('physical');
  });

  it('takes another name where one is taken', () => {
    const { fake, space } = open();
    fake.named.set('/dev/hugepages/vfio-noiommu.0000:01:00.0.4242-777.0', { path: '', pages: new Map() });
    space.allocate(1);
    expect(space.path).toMatch(/\.1$/);
  });

  it('is zeroed, page-granular, and shares no page', () => {
    const { space } = open();
    const one = space.allocate(100);
    const other = space.allocate(5000);
    expect(one.bytes.length).toBe(100);
    expect(one.bytes.every((byte) => byte === 0)).toBe(true);
    expect(other.address - one.address).toBe(4096n);
    one.bytes.fill(0xff);
    expect(other.bytes.every((byte) => byte === 0)).toBe(true);
    const { address } = one;
    one.close();
    expect(one.bytes.length).toBe(0);
    const again = space.allocate(100);
    expect(again.address).toBe(address);
    expect(again.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('[NOI-23] has physical addresses, from pagemap', () => {
    const { fake, space } = open();
    const first = fake.free[0]!;
    expect(space.allocate(4096).address).toBe(first);
    const second = space.allocate(8192, { alignment: 0x10000 });
    expect(second.address).toBe(first + 0x10000n);
    expect([second.low(4097), second.high(4097)]).toEqual([Number(first) + 0x11001, 0]);
  });

  it('gives addresses above 4 GiB in two halves', () => {
    const { fake, space } = open();
    fake.free = [0x12_3460_0000n];
    const buffer = space.allocate(4096);
    expect([buffer.low(8), buffer.high(8)]).toEqual([0x3460_0008, 0x12]);
  });

  it('is in one piece up to a huge page; more needs { contiguous: false }', () => {
    const { space } = open();
    expect(space.allocate(HUGE).contiguous).toBe(true);
    expect(() => space.allocate(HUGE + 1)).toThrow(code('ERR_VFIO_NO_IOVA', { limit: HUGE }));
    expect(() => space.allocate(HUGE + 1)).toThrow('contiguous: false');
  });

  it('has an address for each huge page of a larger buffer', () => {
    const { fake, space } = open();
    fake.free = [0x40_0000n, 0x1_0000_0000n, 0x20_0000n];
    const buffer = space.allocate(2 * HUGE + 10, { contiguous: false });
    expect(buffer.contiguous).toBe(false);
    expect(buffer.bytes.length).toBe(2 * HUGE + 10);
    const address = (offset: number) => BigInt(buffer.high(offset)) * 2n ** 32n + BigInt(buffer.low(offset));
    expect(address(0)).toBe(0x40_0000n);
    expect(address(HUGE - 1)).toBe(0x5f_ffffn);
    expect(address(HUGE)).toBe(0x1_0000_0000n);
    expect(address(HUGE + 4096)).toBe(0x1_0000_1000n);
    expect(address(2 * HUGE + 9)).toBe(0x20_0009n);
  });

  it('lies below a limit, and what turned out to lie above goes back to the machine', () => {
    const { fake, space } = open();
    fake.free = [1n << 40n, 2n << 40n, 0x60_0000n];
    expect(space.allocate(4096, { below: 1n << 28n }).address).toBe(0x60_0000n);
    expect(fake.free).toEqual([1n << 40n, 2n << 40n]);
  });

  it('is refused where no huge page lies below the limit, and all are given back', () => {
    const { fake, space } = open();
    fake.free = [1n << 40n, 2n << 40n];
    expect(() => space.allocate(4096, { below: 1n << 28n })).toThrow(code('ERR_VFIO_NO_IOVA', { tried: 2 }));
    expect(fake.free).toEqual([1n << 40n, 2n << 40n]);
  });

  it('is refused with the commands that reserve huge pages, when they ran out', () => {
    const { fake, space } = open();
    fake.free = [];
    fake.files.set('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', '0\n');
    fake.files.set('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '3\n');
    expect(() => space.allocate(1)).toThrow(code('ERR_VFIO_NO_HUGEPAGES', { needed: 1, free: 0, total: 3 }));
    expect(() => space.allocate(1)).toThrow('/proc/sys/vm/nr_hugepages');
    expect(fake.mappings.size).toBe(0);
  });

  it.each([
    ['a frame number of 0', (fake: FakeMachine) => fake.maskFrames()],
    ['a pagemap that may not be opened', (fake: FakeMachine) => void fake.files.set('/proc/self/pagemap', -1)],
  ])('is refused with %s: no address is made up', (_, mask) => {
    const { fake, space } = open();
    mask(fake);
    expect(() => space.allocate(4096)).toThrow(code('ERR_VFIO_MASKED_FRAMES'));
    expect(fake.mappings.size).toBe(0);
    expect([...fake.open_.values()]).not.toContain('pagemap');
    space.close();
    expect(fake.free.length).toBe(16);
  });

  it('notices that the kernel moved a page', () => {
    const { fake, space } = open();
    space.allocate(4096);
    fake.show = (frame) => frame + 512n;
    expect(() => space.allocate(4096)).toThrow(code('ERR_VFIO_MAPPING'));
    expect(fake.mappings.size).toBe(1);
  });

  it.each([0, -1, 1.5, Number.NaN])('is refused for %s bytes', (bytes) => {
    expect(() => open().space.allocate(bytes)).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it.each([0, 3, 4097])('is refused with an alignment of %s', (alignment) => {
    expect(() => open().space.allocate(1, { alignment })).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it('cannot be memory that the program already has', () => {
    expect(() => open().space.map()).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
  });

  it('is seen by another thread through a ticket that can be posted, with the same addresses', () => {
    const { fake, space } = open();
    space.allocate(4096);
    const small = space.allocate(100);
    small.bytes.fill(7);
    const view = attachDma(structuredClone(small.share()), { backend: fake.calls });
    expect([...view.bytes]).toEqual([...small.bytes]);
    expect([view.address, view.low(5), view.high(5)]).toEqual([small.address, small.low(5), small.high(5)]);
    view.close();
    const large = space.allocate(3 * HUGE, { contiguous: false });
    const other = attachDma(structuredClone(large.share()), { backend: fake.calls });
    expect(other.low(2 * HUGE + 8)).toBe(large.low(2 * HUGE + 8));
    expect(other.contiguous).toBe(large.contiguous);
  });

  it('is not handed out again while another thread has a view of it open', () => {
    const { fake, space } = open();
    space.allocate(4096);
    const first = space.allocate(4096);
    const ticket = structuredClone(first.share());
    const { address } = first;
    const view = attachDma(ticket, { backend: fake.calls });
    first.close();
    expect(view.closed).toBe(true);
    expect(() => view.address).toThrow(code('ERR_VFIO_CLOSED'));
    expect(() => attachDma(ticket, { backend: fake.calls })).toThrow(code('ERR_VFIO_CLOSED'));
    expect(space.allocate(4096).address).not.toBe(address);
    view.close();
    expect(space.allocate(4096).address).toBe(address);
  });

  it('goes with its file at close, buffers still open included', () => {
    const { fake, space } = open();
    const buffer = space.allocate(100);
    space.allocate(3 * HUGE, { contiguous: false });
    space.close();
    space.close();
    expect(buffer.closed).toBe(true);
    expect([fake.named.size, fake.open_.size, fake.mappings.size, fake.exits.size]).toEqual([0, 0, 0, 0]);
    expect(fake.free.length).toBe(16);
    expect(() => space.allocate(1)).toThrow(code('ERR_VFIO_CLOSED'));
    expect(() => buffer.share()).toThrow(code('ERR_VFIO_CLOSED'));
  });

  it('is removed by the exit list after the device was closed by it', () => {
    const { fake, space } = open();
    space.allocate(100);
    const device = 30;
    const steps = [...fake.exits.values()];
    expect(steps.map(({ step }) => step.call).sort()).toEqual(['close', 'munmap', 'unlink']);
    for (const { phase } of steps) expect(phase).toBeGreaterThan(device);
  });
});
