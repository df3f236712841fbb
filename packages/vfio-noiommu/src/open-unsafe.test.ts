import { describe, expect, it } from 'vitest';
import { acknowledgement, leftoverFiles, openUnsafe } from './index.js';
import { HUGE } from './testing/fake-machine.js';
import { address, FakeVfio } from './testing/fake-vfio.js';

const acknowledge = acknowledgement;
const mine = `vfio-noiommu.${address}.4242-777.0`;
const left = `vfio-noiommu.${address}.200-22.0`;

const withLeftover = (): FakeVfio => {
  const fake = new FakeVfio();
  fake.named.set(`/dev/hugepages/${left}`, { path: `/dev/hugepages/${left}`, pages: new Map() });
  return fake;
};

describe('a device without an IOMMU', () => {
  it('[NOI-5] [NOI-17] is opened through its own group and model 8', async () => {
    const fake = new FakeVfio();
    const device = await openUnsafe(address, { acknowledge, backend: fake.calls });
    expect(fake.log).toEqual(['open /dev/vfio/vfio', 'open /dev/vfio/noiommu-5', 'set IOMMU 8', 'open device']);
    expect(device.address).toBe(address);
    expect(device.dma.kind).toBe('physical');
    device.close();
  });

  it('is closed before its memory is freed, and stops mastering the bus before it is closed', async () => {
    const fake = new FakeVfio();
    const device = await openUnsafe(address, { acknowledge, backend: fake.calls });
    device.dma.allocate(4096);
    const buffer = device.dma.allocate(3 * HUGE, { contiguous: false });
    fake.command = 6;
    fake.log.length = 0;
    device.close();
    device.close();
    expect(fake.log).toEqual([
      'bus master off',
      'close device',
      `unlink ${mine}`,
      'close /dev/vfio/noiommu-5',
      'close /dev/vfio/vfio',
    ]);
    expect(buffer.closed).toBe(true);
    expect([fake.openNodes, fake.open_.size, fake.mappings.size, fake.exits.size]).toEqual([[], 0, 0, 0]);
  });

  it('has the same order in the exit list, for the end without JavaScript', async () => {
    const fake = new FakeVfio();
    const device = await openUnsafe(address, { acknowledge, backend: fake.calls });
    device.dma.allocate(4096);
    const steps = [...fake.exits.values()].sort((one, other) => one.phase - other.phase).map(({ step }) => step.call);
    const off = steps.indexOf('pwrite');
    const closed = steps.indexOf('close');
    expect([off >= 0, off < closed, closed < steps.indexOf('munmap'), closed < steps.indexOf('unlink')]).toEqual(
      Array(4).fill(true),
    );
    device.close();
  });

  it('loses what killed processes left, once it is open and masters the bus no more', async () => {
    const fake = withLeftover();
    expect(leftoverFiles(address, { backend: fake.calls })).toEqual([`/dev/hugepages/${left}`]);
    const device = await openUnsafe(address, { acknowledge, backend: fake.calls });
    expect(fake.log.slice(-2)).toEqual(['open device', `unlink ${left}`]);
    expect(leftoverFiles(address, { backend: fake.calls })).toEqual([]);
    device.close();
  });

  it('keeps what killed processes left while it masters the bus', async () => {
    const fake = withLeftover();
    fake.command = 4;
    const device = await openUnsafe(address, { acknowledge, backend: fake.calls });
    expect(fake.named.has(`/dev/hugepages/${left}`)).toBe(true);
    device.close();
  });

  it.each([
    { item: '[NOI-18]', call: 'SET_IOMMU', request: 0x3b66, errno: -19, code: 'ERR_VFIO_NOIOMMU_OFF' },
    { item: '[NOI-10]', call: 'SET_CONTAINER', request: 0x3b68, errno: -1, code: 'ERR_VFIO_PERMISSION' },
    { item: '[NOI-10]', call: 'SET_IOMMU', request: 0x3b66, errno: -1, code: 'ERR_VFIO_PERMISSION' },
    { item: '[NOI-10]', call: 'GET_DEVICE_FD', request: 0x3b6a, errno: -1, code: 'ERR_VFIO_PERMISSION' },
    { item: '[GRP-28]', call: 'GET_DEVICE_FD', request: 0x3b6a, errno: -19, code: 'ERR_VFIO_NOT_BOUND' },
  ])('$item leaves nothing open when $call is refused with $errno: $code', async ({ request, errno, code }) => {
    const fake = new FakeVfio();
    fake.refuse.set(request, errno);
    await expect(openUnsafe(address, { acknowledge, backend: fake.calls })).rejects.toMatchObject({ code });
    expect([fake.openNodes, fake.exits.size]).toEqual([[], 0]);
  });

  it('leaves nothing open when its configuration cannot be read for the sweep', async () => {
    const fake = withLeftover();
    fake.refuse.set(0x3b6b, -5);
    await expect(openUnsafe(address, { acknowledge, backend: fake.calls })).rejects.toMatchObject({ errnoName: 'EIO' });
    expect([fake.openNodes, fake.exits.size, fake.named.size]).toEqual([[], 0, 1]);
  });
});
