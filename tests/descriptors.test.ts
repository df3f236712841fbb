/** Descriptors that somebody else opened: a parent with the rights, for a child without. Here both are one process. */

import { type Descriptors, type IovaSpace, isVfioError, openDevice, openSpace, type Way } from 'vfio-core';
import { Edu } from 'vfio-drivers-example';
import { edu, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';

const address = '0000:01:00.0';
const machine = () => simulation({ devices: { [address]: edu() }, groups: { 7: [address] } });

/** What a parent does by itself, with numbers of linux/vfio.h. */
const parent = {
  container: (sim: Simulation) => sim.open('/dev/vfio/vfio', 2),
  group: (sim: Simulation) => sim.open('/dev/vfio/7', 2),
  join(sim: Simulation, container: number, group: number): void {
    expect(sim.ioctl(group, 0x3b68, new Uint8Array(4), { fds: [{ at: 0, fd: container }] })).toBe(0);
    expect(sim.ioctl(container, 0x3b66, 3)).toBe(0);
  },
  device: (sim: Simulation, group: number) => sim.ioctl(group, 0x3b6a, new TextEncoder().encode(`${address}\0`)),
};

/** The device works: DMA both ways. */
async function works(sim: Simulation, descriptors: Descriptors, way: Way['name'] = 'container'): Promise<void> {
  const device = await openDevice(address, { backend: sim, descriptors });
  expect((device.dma as IovaSpace).way).toEqual({
    name: way,
    reason: 'the descriptors that were passed lead there',
  });
  await using driver = await Edu.open(device);
  const buffer = driver.device.dma.allocate(64, { below: 1n << 28n });
  buffer.bytes.fill(7);
  await driver.copyIn(buffer);
  buffer.bytes.fill(0);
  await driver.copyOut(buffer);
  expect(buffer.bytes.every((byte) => byte === 7)).toBe(true);
}

describe('a device opens with what another process has opened', () => {
  it('a group', async () => {
    const sim = machine();
    await works(sim, { group: parent.group(sim) });
    expect([sim.openFds, sim.mappings, sim.lockedBytes]).toEqual([[], [], 0]);
  });

  it('an empty container and a group', async () => {
    const sim = machine();
    await works(sim, { container: parent.container(sim), group: parent.group(sim) });
    expect(sim.openFds).toEqual([]);
  });

  it('a container that has the group and an IOMMU already', async () => {
    const sim = machine();
    const [container, group] = [parent.container(sim), parent.group(sim)];
    parent.join(sim, container, group);
    await works(sim, { container, group });
    expect(sim.openFds).toEqual([]);
  });

  it('such a container, and the device itself; the group stays with the other process', async () => {
    const sim = machine();
    const [container, group] = [parent.container(sim), parent.group(sim)];
    parent.join(sim, container, group);
    await works(sim, { container, device: parent.device(sim, group) });
    expect(sim.openFds.map(({ path }) => path)).toEqual(['/dev/vfio/7']);
    sim.close(group);
  });
});

describe('descriptors that do not do', () => {
  const code = (error: unknown) => (isVfioError(error) ? error.code : error);

  it('a device whose container has no IOMMU is refused, and everything that was passed is closed', async () => {
    const sim = machine();
    const [container, spare, group] = [parent.container(sim), parent.container(sim), parent.group(sim)];
    parent.join(sim, container, group);
    const device = parent.device(sim, group);
    const refusal = await openDevice(address, { backend: sim, descriptors: { container: spare, device } }).catch(code);
    expect(refusal).toBe('ERR_VFIO_ARGUMENT');
    expect(sim.openFds.map(({ fd }) => fd).sort()).toEqual([container, group].sort());
  });

  it('a file that is no container is refused, and everything that was passed is closed', async () => {
    const sim = machine();
    const descriptors = { container: sim.eventfd(0), group: parent.group(sim) };
    expect(await openDevice(address, { backend: sim, descriptors }).catch(code)).toBe('ERR_VFIO_NOT_SUPPORTED');
    expect(sim.openFds).toEqual([]);
  });

  it('a way that they do not lead to is refused, and they stay as they were', async () => {
    const sim = machine();
    const descriptors = { group: parent.group(sim) };
    const refusal = await openDevice(address, { backend: sim, way: 'iommufd', descriptors }).catch(code);
    expect(refusal).toBe('ERR_VFIO_ARGUMENT');
    expect(sim.openFds.map(({ fd }) => fd)).toEqual([descriptors.group]);
  });

  it('a space takes a container, too', () => {
    const sim = machine();
    openSpace({ backend: sim, descriptors: { container: parent.container(sim) } }).close();
    expect(sim.openFds).toEqual([]);
  });
});

describe('a device opens by the files of iommufd that another process has opened', () => {
  const modern = () => simulation({ kernel: '6.12', iommufd: true, devices: { [address]: edu() } });
  const iommufd = (sim: Simulation) => sim.open('/dev/iommu', 2);
  const file = (sim: Simulation) => sim.open('/dev/vfio/devices/vfio0', 2);
  const bind = (sim: Simulation, device: number, to: number) => {
    const bytes = new Uint8Array(16);
    bytes[0] = 16;
    expect(sim.ioctl(device, 0x3b76, bytes, { fds: [{ at: 8, fd: to }] })).toBe(0);
  };
  it('the iommufd alone, or the device alone', async () => {
    const sim = modern();
    await works(sim, { iommufd: iommufd(sim) }, 'iommufd');
    await works(sim, { device: file(sim) }, 'iommufd');
    expect([sim.openFds, sim.mappings, sim.lockedBytes]).toEqual([[], [], 0]);
  });

  it('both, bound to each other already or not', async () => {
    const sim = modern();
    await works(sim, { iommufd: iommufd(sim), device: file(sim) }, 'iommufd');
    const bound = { iommufd: iommufd(sim), device: file(sim) };
    bind(sim, bound.device, bound.iommufd);
    await works(sim, bound, 'iommufd');
    expect([sim.openFds, sim.mappings, sim.lockedBytes]).toEqual([[], [], 0]);
  });

  it('but not a device that is bound to another iommufd, whatever has the same number there', async () => {
    const sim = modern();
    const theirs = iommufd(sim);
    const ioas = new Uint8Array(12);
    ioas[0] = 12;
    const bound = file(sim);
    bind(sim, bound, theirs);
    expect(sim.ioctl(theirs, 0x3b81, ioas)).toBe(0);
    const mine = iommufd(sim);
    // Its address space gets the number of theirs.
    expect(sim.ioctl(mine, 0x3b81, ioas.slice().fill(0, 1))).toBe(0);
    const refusal = await openDevice(address, { backend: sim, descriptors: { iommufd: mine, device: bound } }).catch(
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code: 'ERR_VFIO_ARGUMENT', message: expect.stringContaining('another iommufd') });
    expect(sim.openFds.map(({ fd }) => fd)).toEqual([theirs]);
  });
});
