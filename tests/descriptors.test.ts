/** Descriptors that somebody else opened: a parent with the rights, for a child without. Here both are one process. */

import {
  type Descriptors,
  findDeviceFile,
  type IovaSpace,
  isVfioError,
  type OpenOptions,
  openDevice,
  openSpace,
  type Way,
} from 'vfio-core';
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

  it('such a container, its group, and the device itself', async () => {
    const sim = machine();
    const [container, group] = [parent.container(sim), parent.group(sim)];
    parent.join(sim, container, group);
    await works(sim, { container, group, device: parent.device(sim, group) });
    expect([sim.openFds, sim.mappings, sim.lockedBytes]).toEqual([[], [], 0]);
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

it('a group that was passed on opens each of its devices, with the same number', async () => {
  const other = '0000:01:00.1';
  const sim = simulation({ devices: { [address]: edu(), [other]: edu() }, groups: { 7: [address, other] } });
  const [container, group] = [parent.container(sim), parent.group(sim)];
  using space = openSpace({ backend: sim, descriptors: { container } });
  const first = await openDevice(address, { space, descriptors: { group } });
  // The space's own container, too.
  const second = await openDevice(other, { space, descriptors: { container, group } });
  expect(sim.openFds.map(({ fd }) => fd)).toEqual(expect.arrayContaining([container, group]));
  first.close();
  second.close();
  space.close();
  expect(sim.openFds).toEqual([]);
});

it.each([null, 5, 'container'])('%j as descriptors is refused in words', async (descriptors) => {
  const options = { backend: machine(), descriptors } as unknown as OpenOptions;
  await expect(openDevice(address, options)).rejects.toThrow('ERR_VFIO_ARGUMENT');
  expect(() => openSpace(options as object)).toThrow('ERR_VFIO_ARGUMENT');
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

  type Passing = (sim: Simulation) => Omit<OpenOptions, 'backend'>;
  const space = (sim: Simulation) => openSpace({ backend: sim, way: 'container' });
  const alone: [string, string, Passing][] = [
    [
      'a way that they do not lead to',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ way: 'iommufd', descriptors: { group: parent.group(sim) } }),
    ],
    [
      'a container and an iommufd',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ descriptors: { container: parent.container(sim), iommufd: sim.open('/dev/iommu', 2) } }),
    ],
    [
      'a group and a device, without the container',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ descriptors: { group: parent.group(sim), device: sim.eventfd(0) } }),
    ],
    [
      'one file as two',
      'ERR_VFIO_ARGUMENT',
      (sim) => {
        const fd = parent.container(sim);
        return { descriptors: { container: fd, group: fd } };
      },
    ],
    [
      'what is no number of a file',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ descriptors: { container: parent.container(sim), group: -1 } }),
    ],
    [
      'a container with a space that has its own',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ space: space(sim), descriptors: { container: parent.container(sim) } }),
    ],
    [
      'a group with a space of an iommufd',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({
        space: openSpace({ backend: sim, way: 'iommufd' }),
        descriptors: { group: parent.group(sim) },
      }),
    ],
    [
      'a VF token that is none',
      'ERR_VFIO_ARGUMENT',
      (sim) => ({ vfToken: 'secret', descriptors: { group: parent.group(sim) } }),
    ],
  ];
  it.each(alone)('%s: refused, and they are closed', async (_what, wanted, passing) => {
    const sim = simulation({ kernel: '6.12', iommufd: true, devices: { [address]: edu() }, groups: { 7: [address] } });
    const options = passing(sim);
    expect(await openDevice(address, { backend: sim, ...options }).catch(code)).toBe(wanted);
    (options.space as IovaSpace | undefined)?.close();
    expect([sim.openFds, sim.mappings]).toEqual([[], []]);
  });

  it('a container for a device that cannot be used, or has no such address: it is closed', async () => {
    const sim = simulation({ devices: { [address]: edu(), '0000:02:00.0': { model: edu(), driver: 'nvme' } } });
    for (const wanted of ['0000:02:00.0', '0000:09:00.0', 'eth0']) {
      const descriptors = { container: parent.container(sim) };
      await expect(openDevice(wanted, { backend: sim, descriptors })).rejects.toThrow(/ERR_VFIO/);
      expect(sim.openFds).toEqual([]);
    }
  });

  it('a group for a space alone: it is closed', () => {
    const sim = machine();
    const descriptors = { group: parent.group(sim) } as object;
    expect(() => openSpace({ backend: sim, descriptors })).toThrow('ERR_VFIO_ARGUMENT');
    expect(sim.openFds).toEqual([]);
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

  it('nor where the space has a device of its own already; a sibling of that one may come bound', async () => {
    const [lone, one, two] = [address, '0000:02:00.0', '0000:02:00.1'] as const;
    const sim = simulation({
      kernel: '6.12',
      iommufd: true,
      devices: { [lone]: edu(), [one]: edu(), [two]: edu() },
      groups: { 8: [one, two] },
    });
    const deviceFile = (name: string) => sim.open(findDeviceFile(sim, name) ?? '', 2);
    const ours = iommufd(sim);
    using space = openSpace({ backend: sim, descriptors: { iommufd: ours } });
    const theirs = iommufd(sim);
    const ioas = new Uint8Array(12);
    ioas[0] = 12;
    expect(sim.ioctl(theirs, 0x3b81, ioas)).toBe(0);
    using _first = await openDevice(one, { space });
    const alien = deviceFile(lone);
    bind(sim, alien, theirs);
    await expect(openDevice(lone, { space, descriptors: { device: alien } })).rejects.toThrow('another iommufd');
    const sibling = deviceFile(two);
    bind(sim, sibling, ours);
    using _second = await openDevice(two, { space, descriptors: { device: sibling } });
    sim.close(theirs);
  });
});
