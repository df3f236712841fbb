/** Calls in an order that cannot be: typed errors, the kernel's errno kept where it was asked, and nothing harmed or left. */

import {
  Container,
  DeviceFile,
  Group,
  Hwpt,
  Ioas,
  Iommufd,
  isVfioError,
  KernelChannel,
  openDevice,
  openSpace,
  type SystemCalls,
  Type1,
} from 'vfio-core';
import { interrupts } from 'vfio-irq';
import { PciDevice } from 'vfio-pci';
import { edu, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { over } from './over.js';

const a = '0000:01:00.0';
const b = '0000:02:00.0';
const machine = (iommufd = false) =>
  simulation({ devices: { [a]: edu(), [b]: edu() }, groups: { 0: [a], 1: [b] }, iommufd });

/** What was thrown: code and errno. */
async function said(work: () => unknown): Promise<readonly [code: string, errno: string | undefined]> {
  try {
    await work();
  } catch (thrown) {
    if (!isVfioError(thrown)) throw thrown;
    expect(thrown.remedy).toMatch(/\S/);
    return [thrown.code, thrown.errnoName];
  }
  return ['nothing', undefined];
}

/** A page of the process. */
function page(system: SystemCalls) {
  const memory = system.memory({ kind: 'anonymous', length: 4096 });
  if (typeof memory === 'number') throw new Error(`mmap: ${memory}`);
  return { iova: 0n, address: memory.address, size: 4096, read: true, write: true };
}

describe('a container, its groups and its IOMMU', () => {
  it('the IOMMU before a group, a group twice, the IOMMU twice', async () => {
    const sim = machine();
    const container = Container.open(sim);
    expect(await said(() => container.setIommu(3))).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    const group = Group.open(sim, 0);
    group.setContainer(container);
    expect(await said(() => group.setContainer(container))).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    expect(await said(() => container.setIommu(99))).toEqual(['ERR_VFIO_API', 'ENODEV']);
    container.setIommu(3);
    expect(await said(() => container.setIommu(3))).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    expect(group.status()).toMatchObject({ viable: true, containerSet: true });
  });

  it('maps, questions and devices before the IOMMU is chosen; all of them work once it is', async () => {
    const sim = machine();
    const container = Container.open(sim);
    const type1 = new Type1(container);
    const group = Group.open(sim, 0);
    const request = page(sim);
    const early = async () => [
      await said(() => type1.map(request)),
      await said(() => type1.mapAsync(request)),
      await said(() => type1.unmap({ iova: 0n, size: 4096 })),
      await said(() => type1.info()),
      await said(() => group.openDevice(a)),
    ];
    const refusals = [
      ['ERR_VFIO_MAPPING', 'EINVAL'],
      ['ERR_VFIO_MAPPING', 'EINVAL'],
      ['ERR_VFIO_MAPPING', 'EINVAL'],
      ['ERR_VFIO_ARGUMENT', 'EINVAL'],
      ['ERR_VFIO_ARGUMENT', 'EINVAL'],
    ];
    expect(await early()).toEqual(refusals);
    group.setContainer(container);
    expect(await early()).toEqual(refusals);
    container.setIommu(3);
    type1.map(request);
    expect(type1.unmap({ iova: 0n, size: 4096 })).toBe(4096n);
    expect(await group.openDevice(a)).toBeGreaterThan(0);
  });

  it('a group taken out that is in none, or while its device is open, and a device of another group', async () => {
    const sim = machine();
    const container = Container.open(sim);
    const group = Group.open(sim, 0);
    expect(await said(() => group.unsetContainer())).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    group.setContainer(container);
    container.setIommu(3);
    expect(await said(() => group.openDevice(b))).toEqual(['ERR_VFIO_NOT_BOUND', 'ENODEV']);
    const fd = await group.openDevice(a);
    expect(await said(() => group.unsetContainer())).toEqual(['ERR_VFIO_BUSY', 'EBUSY']);
    sim.close(fd);
    group.unsetContainer();
  });

  it('the same address mapped twice, and what is not mapped unmapped', async () => {
    const sim = machine();
    const container = Container.open(sim);
    const group = Group.open(sim, 0);
    group.setContainer(container);
    container.setIommu(3);
    const type1 = new Type1(container);
    const request = page(sim);
    type1.map(request);
    expect(await said(() => type1.map(request))).toEqual(['ERR_VFIO_MAPPING', 'EEXIST']);
    expect(sim.mappings).toHaveLength(1);
    expect([type1.unmapAll(), type1.unmapAll(), type1.unmap({ iova: 0n, size: 4096 })]).toEqual([4096n, 0n, 0n]);
  });

  it('everything after closing is refused here, and never reaches whoever has the number of the descriptor now', async () => {
    const sim = machine();
    let calls = 0;
    const counting: SystemCalls['ioctl'] = (...words) => {
      calls++;
      return sim.ioctl(...words);
    };
    const backend = over(sim, { ioctl: counting, ioctlAsync: async (...words) => counting(...words) });
    const container = Container.open(backend);
    const group = Group.open(backend, 0);
    const type1 = new Type1(container);
    for (const one of [group, group, container, container]) one.close();
    const numbers = [sim.eventfd(0), sim.eventfd(0)];
    expect(numbers).toEqual(expect.arrayContaining([container.fd, group.fd]));
    for (const work of [
      () => container.apiVersion(),
      () => container.extension(1),
      () => container.setIommu(3),
      () => group.status(),
      () => group.setContainer(container),
      () => group.unsetContainer(),
      () => group.openDevice(a),
      () => type1.info(),
      () => type1.map(page(sim)),
      () => type1.mapAsync(page(sim)),
      () => type1.unmap({ iova: 0n, size: 4096 }),
      () => type1.unmapAll(),
    ]) {
      expect(await said(work)).toEqual(['ERR_VFIO_CLOSED', undefined]);
    }
    const open = Group.open(backend, 1);
    expect(await said(() => open.setContainer(container))).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect(calls).toBe(0);
  });
});

describe('an iommufd, its objects and its devices', () => {
  it('a device that is attached, detached or asked before it is bound, and bound twice', async () => {
    const sim = machine(true);
    const iommufd = Iommufd.open(sim);
    const file = DeviceFile.open(sim, a);
    const ioas = Ioas.allocate(iommufd);
    expect(file.bound).toBe(false);
    expect(await said(() => file.attach(ioas))).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    expect(await said(() => file.detach())).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
    await file.bind(iommufd);
    expect(await said(() => file.bind(iommufd))).toEqual(['ERR_VFIO_BUSY', 'EINVAL']);
    const second = DeviceFile.open(sim, a);
    expect(await said(() => second.bind(iommufd))).toEqual(['ERR_VFIO_BUSY', 'EINVAL']);
    file.detach();
    file.attach(ioas);
    file.attach(ioas);
    file.detach();
    file.detach();
    expect(file.bound).toBe(true);
  });

  it('a device by its file while its group is open, and its group while it is bound', async () => {
    const sim = machine(true);
    const iommufd = Iommufd.open(sim);
    const group = Group.open(sim, 0);
    const file = DeviceFile.open(sim, a);
    expect(await said(() => file.bind(iommufd))).toEqual(['ERR_VFIO_BUSY', 'EBUSY']);
    group.close();
    await file.bind(iommufd);
    expect(await said(() => Group.open(sim, 0))).toEqual(['ERR_VFIO_BUSY', 'EBUSY']);
  });

  it('objects that are gone, of another kind, in use, or of another iommufd', async () => {
    const sim = machine(true);
    const [iommufd, other] = [Iommufd.open(sim), Iommufd.open(sim)];
    const file = DeviceFile.open(sim, a);
    const device = await file.bind(iommufd);
    const ioas = Ioas.allocate(iommufd);
    const elsewhere = Ioas.allocate(other);
    for (let more = 0; more < 4; more++) Ioas.allocate(other);
    expect(await said(() => file.attach(Ioas.allocate(other)))).toEqual(['ERR_VFIO_ARGUMENT', 'ENOENT']);
    expect(elsewhere.id).toBeGreaterThan(0);
    file.attach(ioas);
    expect(await said(() => iommufd.destroy(ioas.id))).toEqual(['ERR_VFIO_BUSY', 'EBUSY']);
    expect(await said(() => iommufd.destroy(device + 100))).toEqual(['ERR_VFIO_ARGUMENT', 'ENOENT']);
    file.detach();
    iommufd.destroy(ioas.id);
    expect(await said(() => ioas.map(page(sim)))).toEqual(['ERR_VFIO_ARGUMENT', 'ENOENT']);
    expect(await said(() => file.attach(ioas))).toEqual(['ERR_VFIO_ARGUMENT', 'ENOENT']);
    expect(await said(() => Hwpt.allocate({ device, ioas }))).toEqual(['ERR_VFIO_ARGUMENT', 'EINVAL']);
  });

  it('the same address mapped twice, what is not mapped unmapped, and an end of a mapping alone', async () => {
    const sim = machine(true);
    const ioas = Ioas.allocate(Iommufd.open(sim));
    const memory = sim.memory({ kind: 'anonymous', length: 8192 });
    if (typeof memory === 'number') throw new Error(`mmap: ${memory}`);
    const request = { iova: 0n, address: memory.address, size: 8192, read: true, write: true };
    expect(await said(() => ioas.unmap({ iova: 0n, size: 8192 }))).toEqual(['ERR_VFIO_MAPPING', 'ENOENT']);
    ioas.map(request);
    expect(await said(() => ioas.map(request))).toEqual(['ERR_VFIO_MAPPING', 'EEXIST']);
    expect(await said(() => ioas.unmap({ iova: 0n, size: 4096 }))).toEqual(['ERR_VFIO_MAPPING', 'ENOENT']);
    expect([ioas.unmapAll(), ioas.unmapAll()]).toEqual([8192n, 0n]);
  });

  it('everything after closing, twice', async () => {
    const sim = machine(true);
    const iommufd = Iommufd.open(sim);
    const file = DeviceFile.open(sim, a);
    await file.bind(iommufd);
    const ioas = Ioas.allocate(iommufd);
    for (const one of [file, file, iommufd, iommufd]) one.close();
    expect(sim.openFds).toEqual([]);
    for (const work of [
      () => file.attach(ioas),
      () => file.detach(),
      () => file.bind(iommufd),
      () => file.bound,
      () => iommufd.destroy(1),
      () => ioas.map(page(sim)),
      () => ioas.mapAsync(page(sim)),
      () => ioas.unmapAll(),
      () => Ioas.allocate(iommufd),
    ]) {
      expect(await said(work)).toEqual(['ERR_VFIO_CLOSED', undefined]);
    }
  });
});

describe.each([
  ['container', false],
  ['container', true],
  ['iommufd', true],
  ['iommufd-container', true],
] as const)('devices and spaces by way of %s, with iommufd: %s', (way, iommufd) => {
  it('a device opened twice, a space closed under it, and each closed twice', async () => {
    const sim = machine(iommufd);
    const space = openSpace({ backend: sim, way });
    const device = await openDevice(a, { backend: sim, space });
    expect((await said(() => openDevice(a, { backend: sim, way })))[0]).toBe('ERR_VFIO_BUSY');
    const buffer = space.allocate(4096);
    device.close();
    device.close();
    space.close();
    space.close();
    expect(buffer.bytes).toHaveLength(0);
    buffer.close();
    expect(await said(() => space.allocate(4096))).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect(await said(() => openDevice(b, { backend: sim, space }))).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect([sim.openFds, sim.mappings, sim.userMappings, sim.lockedBytes]).toEqual([[], [], [], 0]);
  });

  it('interrupts, windows and reads of a device that was closed', async () => {
    const sim = machine(iommufd);
    const device = await PciDevice.open(a, { backend: sim, way });
    const window = device.bar(0).window(0, 4096);
    await device[Symbol.asyncDispose]();
    await device[Symbol.asyncDispose]();
    window.write32(0, 1);
    expect(window.read32(0)).toBe(0xffff_ffff);
    expect(await said(() => device.bar(0).window(0, 4096))).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect(await said(() => interrupts(device).enable('msi', 1))).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect(await said(() => device.reset())).toEqual(['ERR_VFIO_CLOSED', undefined]);
    expect(sim.openFds).toEqual([]);
  });
});

describe('replies that do not hold', () => {
  /** The simulated kernel, where the reply of one call is changed. */
  const changed = (request: number, change: (view: DataView, bytes: Uint8Array) => number | undefined) => {
    const sim = machine();
    const ioctl: SystemCalls['ioctl'] = (fd, which, argument, places) => {
      const result = sim.ioctl(fd, which, argument, places);
      if (which !== request || !(argument instanceof Uint8Array)) return result;
      const view = new DataView(argument.buffer, argument.byteOffset, argument.byteLength);
      return change(view, argument) ?? result;
    };
    return { sim, backend: over(sim, { ioctl, ioctlAsync: async (...words) => ioctl(...words) }) };
  };

  it.each<[string, number, (view: DataView, bytes: Uint8Array) => number | undefined]>([
    ['type1 claims a chain longer than anything', 0x3b70, (view) => void view.setUint32(0, 0xffff_fff0, true)],
    ['its capabilities begin behind the end', 0x3b70, (view) => void view.setUint32(16, 4096, true)],
    ['its capabilities begin inside the header', 0x3b70, (view) => void view.setUint32(16, 4, true)],
    [
      'its chain leads back to itself',
      0x3b70,
      (view, { length }) => {
        if (length > 32) view.setUint32(view.getUint32(16, true) + 4, view.getUint32(16, true), true);
        return undefined;
      },
    ],
    [
      'its ranges are more than the reply holds',
      0x3b70,
      (view, bytes) => {
        for (let at = bytes.length > 24 ? view.getUint32(16, true) : 0; at !== 0; at = view.getUint32(at + 4, true))
          if (view.getUint16(at, true) === 1) view.setUint32(at + 8, 0x1000_0000, true);
        return undefined;
      },
    ],
  ])('%s', async (_what, request, change) => {
    const { sim, backend } = changed(request, change);
    const [code] = await said(async () => {
      const device = await openDevice(a, { backend });
      device.close();
    });
    expect(code).toBe('ERR_VFIO_MALFORMED');
    expect([sim.openFds, sim.mappings, sim.lockedBytes]).toEqual([[], [], 0]);
  });

  it.each<[string, number, (view: DataView) => number | undefined]>([
    ['a region larger than any number', 0x3b6c, (view) => void view.setBigUint64(16, 2n ** 63n, true)],
    ['a region at no place of a file', 0x3b6c, (view) => void view.setBigUint64(24, 2n ** 62n, true)],
  ])('%s', async (_what, request, change) => {
    const { sim, backend } = changed(request, change);
    const device = await openDevice(a, { backend });
    expect((await said(() => device.channel.region(0)))[0]).toBe('ERR_VFIO_MALFORMED');
    device.close();
    expect(sim.openFds).toEqual([]);
  });

  it('reads and writes that end before they should, or claim to have done more', async () => {
    for (const [answered, code] of [
      [0, 'ERR_VFIO_SHORT_ACCESS'],
      [2, 'ERR_VFIO_SHORT_ACCESS'],
      [5, 'ERR_VFIO_MALFORMED'],
      [4096, 'ERR_VFIO_MALFORMED'],
    ] as const) {
      const sim = machine();
      const backend = over(sim, { pread: () => answered, pwrite: () => answered });
      const channel = new KernelChannel(backend, await raw(sim), a);
      expect((await said(() => channel.read(7, 0, new Uint8Array(4))))[0]).toBe(code);
      expect((await said(() => channel.write(7, 4, new Uint8Array(4))))[0]).toBe(code);
      channel.close();
    }
  });

  async function raw(system: SystemCalls): Promise<number> {
    const container = Container.open(system);
    const group = Group.open(system, 0);
    group.setContainer(container);
    container.setIommu(3);
    return group.openDevice(a);
  }
});
