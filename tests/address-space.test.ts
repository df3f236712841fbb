import { Errno, type IommufdSpace, openDevice, openSpace, Type1Space } from 'vfio-core';
import { edu, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { over } from './bad-input/over.js';

const [first, second] = ['0000:01:00.0', '0000:02:00.0'] as const;
const machine = () => simulation({ devices: { [first]: edu(), [second]: edu() } });

it('a space closed while a map is under way keeps its container until the kernel is done with it', async () => {
  const sim = machine();
  const device = await openDevice(first, { backend: sim });
  let start: () => void = () => {};
  const gate = new Promise<void>((done) => {
    start = done;
  });
  const now = sim.ioctlAsync.bind(sim);
  // As in a busy thread pool: the call begins only when it is let go.
  sim.ioctlAsync = async (...call) => {
    await gate;
    return now(...call);
  };
  const allocating = (device.dma as Type1Space).allocateAsync(65536);
  device.close();
  expect(sim.openFds.map(({ path }) => path)).toContain('/dev/vfio/vfio');
  await expect(openDevice(first, { backend: sim })).rejects.toMatchObject({ code: 'ERR_VFIO_BUSY' });
  start();
  await expect(allocating).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
  expect([sim.openFds, sim.mappings, sim.lockedBytes, sim.userMappings]).toEqual([[], [], 0, []]);
  (await openDevice(first, { backend: sim })).close();
});

it('a group that was kept because it was the only one is let go when another joins', async () => {
  const sim = machine();
  const space = Type1Space.open({ backend: sim });
  (await openDevice(first, { backend: sim, space })).close();
  const other = await openDevice(second, { backend: sim, space });
  const alone = await openDevice(first, { backend: sim });
  alone.close();
  other.close();
  space.close();
  expect(sim.openFds).toEqual([]);
});

describe('an address space of an iommufd', () => {
  const modern = () =>
    simulation({
      kernel: '6.12',
      iommufd: true,
      iommu: { dirtyTracking: true },
      devices: { [first]: edu(), [second]: edu() },
    });
  const [BIND, ATTACH] = [0x3b76, 0x3b77];

  it('keeps its ranges while its only device is gone and another one is on its way', async () => {
    const sim = modern();
    let refuse: () => void = () => {};
    const gate = new Promise<number>((done) => {
      refuse = () => done(-Errno.EPERM);
    });
    let binding = 0;
    const backend = over(sim, {
      ioctlAsync: async (fd, request, ...call) =>
        request === BIND && ++binding === 2 ? gate : sim.ioctlAsync(fd, request, ...call),
    });
    using space = openSpace({ backend, way: 'iommufd' });
    const device = await openDevice(first, { space });
    const { ranges } = space;
    const other = openDevice(second, { space });
    device.close();
    expect(space.ranges).toEqual(ranges);
    refuse();
    await expect(other).rejects.toThrow('ERR_VFIO');
    expect(space.ranges).toEqual(ranges);
  });

  it('stops tracking for every device that can go back, and then says which could not', async () => {
    const sim = modern();
    let tracking = false;
    const targets: number[] = [];
    const backend = over(sim, {
      ioctl: (fd, request, argument, places) => {
        if (!tracking || request !== ATTACH) return sim.ioctl(fd, request, argument, places);
        targets.push(new DataView((argument as Uint8Array).buffer).getUint32(8, true));
        return targets.length === 1 ? -Errno.ENODEV : sim.ioctl(fd, request, argument, places);
      },
    });
    using space = openSpace({ backend, way: 'iommufd' }) as IommufdSpace;
    using _one = await openDevice(first, { space });
    using _other = await openDevice(second, { space });
    const tracker = space.trackDirty();
    tracking = true;
    expect(() => tracker.stop()).toThrow('ENODEV');
    expect(targets).toEqual([space.ioas.id, space.ioas.id]);
    expect(tracker.stopped).toBe(true);
    tracking = false;
  });
});

it('a buffer of a file has no ticket: the descriptor is the program’s, and may be closed', async () => {
  const sim = machine();
  using device = await openDevice(first, { backend: sim });
  const fd = sim.memfd('mine');
  sim.truncate(fd, 8192);
  const buffer = device.dma.map({ fd, length: 8192 });
  sim.close(fd);
  expect(() => buffer.share()).toThrow('ERR_VFIO_NOT_SUPPORTED');
  buffer.bytes[0] = 1;
  buffer.close();
  expect(sim.userMappings).toEqual([]);
});

it('a refused mapping is heard of, also where the kernel says nothing more of the space', async () => {
  const sim = machine();
  let refusing = false;
  const backend = over(sim, {
    ioctl: (fd, request, argument, places) =>
      refusing && (request === 0x3b71 || request === 0x3b70)
        ? -(request === 0x3b71 ? Errno.EINVAL : Errno.ENODEV)
        : sim.ioctl(fd, request, argument, places),
  });
  using device = await openDevice(first, { backend });
  refusing = true;
  expect(() => device.dma.allocate(4096)).toThrow('VFIO_IOMMU_MAP_DMA');
  refusing = false;
});

it('a space without a device tells what memory may be locked, and that nothing can be mapped yet', () => {
  const sim = simulation({ devices: { [first]: edu() }, memlock: 1 << 20 });
  using space = openSpace({ backend: sim });
  expect(space.headroom()).toMatchObject({ memlock: { limit: 1 << 20 }, mappings: undefined, largestFree: 0n });
});

it('behind an IOMMU with larger pages than the system’s, memory comes in those, and registers are not blamed for a refusal', async () => {
  const sim = simulation({ iommu: { pageSizes: 0x1_0000n }, devices: { [first]: edu() } });
  using device = await openDevice(first, { backend: sim });
  const { dma } = device;
  const buffers = [1, 65537, 100].map((bytes) => dma.allocate(bytes));
  expect([dma.pageSize, sim.mappings.map(({ size }) => size)]).toEqual([65536, [65536, 131072, 65536]]);
  for (const buffer of buffers) expect(Number(buffer.address) % 65536).toBe(0);
  // What the system maps begins at a multiple of its own pages.
  const mapFile = () => {
    const [fd, page] = [sim.memfd('odd'), sim.memfd('page')];
    sim.truncate(fd, 65536);
    sim.truncate(page, 4096);
    sim.memory({ kind: 'file', fd: page, offset: 0, length: 4096 });
    try {
      dma.map({ fd, length: 65536 });
    } finally {
      sim.close(fd);
      sim.close(page);
    }
  };
  expect(() => {
    mapFile();
    mapFile();
  }).toThrow('no page of the IOMMU');
});

it('a container that lost its IOMMU says so until the next device, and its tracker ends', async () => {
  const sim = machine();
  const bus = '/sys/bus/pci';
  using space = openSpace({ backend: sim, way: 'container' });
  const device = await openDevice(first, { space });
  const buffer = space.allocate(4096);
  const tracker = space.trackDirty();
  device.close();
  sim.writeFile(`${bus}/devices/${first}/driver_override`, 'vfio-pci');
  sim.writeFile(`${bus}/drivers/vfio-pci/unbind`, first);
  sim.writeFile(`${bus}/drivers/vfio-pci/bind`, first);
  const lost = 'dropped every mapping';
  expect(() => space.allocate(4096)).toThrow(lost);
  expect(() => space.headroom()).toThrow(lost);
  await expect(space.allocateAsync(4096)).rejects.toThrow(lost);
  await expect(openDevice(first, { space })).rejects.toThrow(lost);
  buffer.close();
  using _again = await openDevice(first, { space });
  expect(tracker.stopped).toBe(true);
  using next = space.trackDirty();
  expect(next.read(space.allocate(4096)).count).toBe(1);
});
