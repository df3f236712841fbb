/** Each thing that a user can get wrong: one typed error with its remedy, and nothing left open, mapped or locked. */

import { isVfioError, type MapSource, openDevice, type SystemCalls, type VfioError } from 'vfio-core';
import { Edu, Nvme } from 'vfio-drivers-example';
import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';
import {
  type DeviceFactory,
  edu,
  endpoint,
  memoryBar,
  memoryDisk,
  nvmeController,
  type Simulation,
  type SimulationOptions,
  simulation,
} from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { over } from './over.js';

const address = '0000:01:00.0';
const other = '0000:01:00.1';
const disk = (): DeviceFactory =>
  nvmeController({ disks: [memoryDisk(1 << 20), memoryDisk(1 << 20, { blockSize: 4096 })] });
const machine = (options: SimulationOptions = {}): Simulation =>
  simulation({ devices: { [address]: edu() }, ...options });

const held = (sim: Simulation) => ({
  openFds: sim.openFds,
  lockedBytes: sim.lockedBytes,
  mappings: sim.mappings.length,
  userMappings: sim.userMappings.length,
});

/** Runs what must be refused with `code`; everything that the process holds is as before. */
async function refused(sim: Simulation, code: string, work: () => unknown): Promise<VfioError> {
  const before = held(sim);
  const error = await Promise.resolve()
    .then(work)
    .then(
      () => expect.fail(`not refused, though ${code} was expected`),
      (thrown: unknown) => thrown,
    );
  if (!isVfioError(error)) throw error;
  expect(error.code).toBe(code);
  expect(error.message.startsWith(`${code}: `)).toBe(true);
  expect(held(sim)).toEqual(before);
  return error;
}

/** The same, and it must say what to do. */
async function cured(sim: Simulation, code: string, remedy: RegExp, work: () => unknown): Promise<VfioError> {
  const error = await refused(sim, code, work);
  expect(error.remedy).toMatch(remedy);
  return error;
}

const open = (sim: Simulation, where = address) => openDevice(where, { backend: sim });

describe('opening a device', () => {
  it('an address that is none', async () => {
    const sim = machine();
    for (const text of ['', '01:00', '0000:01:00.8', '0000:01:00.0; rm', 'é']) {
      const error = await cured(sim, 'ERR_VFIO_ARGUMENT', /0000:01:00\.0/, () => open(sim, text));
      expect(error.details.address).toBe(text);
    }
  });

  it('an address where nothing is', async () => {
    const sim = machine();
    const { message } = await cured(sim, 'ERR_VFIO_NO_DEVICE', /./, () => open(sim, '0000:1f:00.0'));
    expect(message).toContain('0000:1f:00.0');
  });

  it('a device that another driver has, and one that none has', async () => {
    for (const driver of ['snd_hda_intel', null]) {
      const sim = machine({ devices: { [address]: { model: edu(), driver } } });
      const error = await cured(sim, 'ERR_VFIO_NOT_BOUND', /vfio bind 0000:01:00\.0/, () => open(sim));
      expect(error.details?.driver).toBe(driver ?? undefined);
    }
  });

  it('a group that is not viable: which members, which drivers', async () => {
    const sim = machine({ groups: { 4: [address, { address: other, driver: 'snd_hda_intel' }] } });
    const error = await cured(sim, 'ERR_VFIO_GROUP_NOT_VIABLE', /vfio bind 0000:01:00\.1/, () => open(sim));
    expect(error.message).toMatch(/0000:01:00\.1 .*snd_hda_intel/);
    expect(JSON.stringify(error.details)).toContain(other);
  });

  it('no permission for the group', async () => {
    const sim = machine({ capabilities: { openGroups: false }, groups: { 4: [address] } });
    const error = await cured(sim, 'ERR_VFIO_PERMISSION', /chown/, () => open(sim));
    expect(error).toMatchObject({ errnoName: 'EACCES', path: '/dev/vfio/4' });
  });

  it('modules not loaded', async () => {
    const sim = machine({ modules: 'not loaded' });
    await cured(sim, 'ERR_VFIO_NOT_LOADED', /modprobe vfio-pci/, () => open(sim));
  });

  it('IOMMU off, and no-IOMMU mode without being asked for it', async () => {
    const off = machine({ iommu: false });
    await cured(off, 'ERR_VFIO_NO_IOMMU', /./, () => open(off));
    const unsafe = machine({ noiommu: true });
    await cured(unsafe, 'ERR_VFIO_NO_IOMMU', /openUnsafe|IOMMU/, () => open(unsafe));
    await refused(unsafe, 'ERR_VFIO_NOT_ACKNOWLEDGED', () =>
      openUnsafe(address, { acknowledge: 'yes' as typeof acknowledgement, backend: unsafe }),
    );
  });

  it('no-IOMMU mode without the right, and where page numbers are hidden', async () => {
    const without = machine({ noiommu: true, capabilities: { sysRawio: false } });
    await cured(without, 'ERR_VFIO_PERMISSION', /root|CAP_SYS_RAWIO/, () =>
      openUnsafe(address, { acknowledge: acknowledgement, backend: without }),
    );
    const masked = machine({ noiommu: true, capabilities: { sysAdmin: false } });
    const error = await refused(masked, 'ERR_VFIO_MASKED_FRAMES', async () => {
      const device = await openUnsafe(address, { acknowledge: acknowledgement, backend: masked });
      try {
        device.dma.allocate(4096);
      } finally {
        device.close();
      }
    });
    expect(error.message).toMatch(/CAP_SYS_ADMIN/);
  });

  it('a device that is open already', async () => {
    const sim = machine();
    const device = await open(sim);
    await cured(sim, 'ERR_VFIO_BUSY', /./, () => open(sim));
    device.close();
    (await open(sim)).close();
  });
});

describe('memory', () => {
  it('a limit of locked memory that is too small: what is needed, what the limit is', async () => {
    const sim = machine({ memlock: 1 << 20 });
    const device = await open(sim);
    device.dma.allocate(4096).close(); // the first one opens the space's memory file, which closes with the device
    const error = await cured(sim, 'ERR_VFIO_MEMLOCK', /ulimit -l/, () => device.dma.allocate(4 << 20));
    expect(error.details).toMatchObject({ limit: 1 << 20 });
    expect(Number(error.details?.needed)).toBeGreaterThanOrEqual(4 << 20);
    device.dma.allocate(1 << 20).close();
    device.close();
  });

  it('sizes and wishes that make no sense', async () => {
    const sim = machine();
    const device = await open(sim);
    for (const bytes of [0, -1, 1.5, Number.NaN, 2 ** 60])
      await refused(sim, 'ERR_VFIO_ARGUMENT', () => device.dma.allocate(bytes));
    // What TypeScript would refuse, and a program in JavaScript passes.
    const wishes = [
      ...[3, 0, 0.5, -4096, Number.NaN, 4096n, '4096'].map((alignment) => ({ alignment })),
      ...[4096, -4096n, 1n, '0x1000'].map((at) => ({ at })),
      { below: 4096 },
      { hugePages: 2n ** 21n },
      { direction: 'out' },
    ];
    for (const wish of wishes) await refused(sim, 'ERR_VFIO_ARGUMENT', () => device.dma.allocate(4096, wish as object));
    const sources = [
      undefined,
      null,
      5,
      'memory',
      {},
      { buffer: 5 },
      { fd: 'one', length: 4096 },
      { fd: -1, length: 4096 },
    ];
    for (const source of sources) {
      await refused(sim, 'ERR_VFIO_ARGUMENT', () => device.dma.map(source as unknown as MapSource));
    }
    await refused(sim, 'ERR_VFIO_ARGUMENT', () =>
      device.dma.map({ device: undefined, region: 0 } as unknown as MapSource),
    );
    await refused(sim, 'ERR_VFIO_NO_IOVA', () => device.dma.allocate(8192, { below: 4096n }));
    device.close();
  });

  it('a buffer that was closed: no bytes, no address, and closing again does nothing', async () => {
    const sim = machine();
    const device = await open(sim);
    const buffer = device.dma.allocate(4096);
    const { bytes } = buffer;
    buffer.close();
    buffer.close();
    expect([bytes.length, buffer.bytes.length, buffer.closed]).toEqual([0, 0, true]);
    expect(bytes[0]).toBeUndefined();
    bytes[0] = 1;
    await refused(sim, 'ERR_VFIO_CLOSED', () => buffer.low(0));
    await refused(sim, 'ERR_VFIO_CLOSED', () => buffer.share());
    device.close();
    device.close();
    await refused(sim, 'ERR_VFIO_CLOSED', () => device.dma.allocate(4096));
  });
});

/** A device whose registers all read `value`. */
const stuck = (value: number): DeviceFactory => {
  const real = disk();
  return (bus) => {
    const model = real(bus);
    return {
      config: model.config,
      read: () => value,
      read64: () => (value === 0 ? 0n : 0xffff_ffff_ffff_ffffn),
      write: () => {},
      reset: () => {},
    };
  };
};

describe('a device that does not answer as it should', () => {
  it('all-ones: it is gone', async () => {
    const sim = machine({ devices: { [address]: stuck(0xffffffff) } });
    await cured(sim, 'ERR_VFIO_DEVICE_GONE', /./, () => Nvme.open(address, { backend: sim }));
    await refused(sim, 'ERR_VFIO_DEVICE_GONE', () => Edu.open(address, { backend: sim }));
    expect(sim.openFds).toEqual([]);
  });

  it('a controller that does not become ready', async () => {
    const sim = machine({ devices: { [address]: disk() } });
    sim.device(address).faults.neverReady();
    const error = await cured(sim, 'ERR_NVME_NOT_READY', /./, () => Nvme.open(address, { backend: sim }));
    expect(error.message).toMatch(/ms|CAP\.TO|second/);
    expect(sim.openFds).toEqual([]);
  });

  it('pulled out while it is open', async () => {
    const sim = machine();
    const device = PciDevice.from(await open(sim));
    const window = device.bar(0).window(0, 0x100);
    sim.device(address).unplug();
    expect(window.read32(0)).toBe(0xffffffff);
    window.write32(4, 1);
    expect(() => device.checkAlive()).toThrowError(expect.objectContaining({ code: 'ERR_VFIO_DEVICE_GONE' }));
    device.close();
    expect(sim.openFds).toEqual([]);
    await refused(sim, 'ERR_VFIO_NO_DEVICE', () => open(sim));
  });

  it('a capability list that loops, or points into the header: what the kernel leaves of it comes to an end', async () => {
    for (const next of [0x40, 0x10]) {
      const description = endpoint({ vendor: 0x1234, device: 1, class: 0xff0000, bars: [memoryBar(4096)], msi: 1 });
      description.config[0x34] = 0x40;
      description.config.set([0x09, next], 0x40);
      const model: DeviceFactory = () => ({ config: description, read: () => 0, write: () => {}, reset: () => {} });
      const sim = machine({ devices: { [address]: model } });
      const device = PciDevice.from(await open(sim));
      expect([...device.config.capabilities()].length).toBeLessThan(2);
      device.close();
    }
  });
});

describe('a capability list that does not hold together', () => {
  /** The simulated kernel, whose replies about configuration space are changed on their way up. */
  const answering = (sim: Simulation, config: Readonly<Record<number, number>>): SystemCalls =>
    over(sim, {
      pread: (fd, into, offset) => {
        const count = sim.pread(fd, into, offset);
        const start = offset - 7 * 2 ** 40;
        for (const [at, value] of Object.entries(config)) {
          const place = Number(at) - start;
          if (place >= 0 && place < into.length) into[place] = value;
        }
        return count;
      },
    });

  it.each<[string, Record<number, number>, RegExp]>([
    ['runs in a circle', { 52: 0x40, 64: 0x01, 65: 0x40 }, /circle/],
    ['points into the header', { 52: 0x10 }, /below 0x40/],
    ['leads to a place that reads all-ones', { 52: 0x50, 80: 0xff }, /all-ones/],
  ])('one that %s is an error that says where, after which the device closes as ever', async (_what, config, words) => {
    const sim = machine();
    const list = { 6: 0x10, ...config };
    const error = await refused(sim, 'ERR_VFIO_MALFORMED', async () => {
      await using device = await PciDevice.open(address, { backend: answering(sim, list) });
      return [...device.config.capabilities()];
    });
    expect(error.summary).toMatch(words);
    expect(error.details).toMatchObject({ place: expect.any(Number), entries: expect.any(Array) });
    expect(sim.openFds).toEqual([]);
  });
});

describe('transfers', () => {
  it('what is no multiple of the block, or beyond the end, is refused before the controller is told', async () => {
    const sim = machine({ devices: { [address]: disk() } });
    const nvme = await Nvme.open(address, { backend: sim });
    const [small, large] = nvme.namespaces;
    const odd = nvme.dma.allocate(1000);
    const half = nvme.dma.allocate(2048);
    const whole = nvme.dma.allocate(4096);
    await refused(sim, 'ERR_NVME_ARGUMENT', () => small!.read(0n, odd));
    await refused(sim, 'ERR_NVME_ARGUMENT', () => large!.write(0n, half));
    await refused(sim, 'ERR_NVME_ARGUMENT', () => small!.read(small!.blocks, whole));
    await refused(sim, 'ERR_NVME_ARGUMENT', () => small!.read(-1n, whole));
    await refused(sim, 'ERR_NVME_ARGUMENT', () => small!.read(0n, whole, { blocks: 9 }));
    await small!.read(0n, half);
    whole.close();
    await refused(sim, 'ERR_VFIO_CLOSED', () => small!.read(0n, whole));
    await nvme[Symbol.asyncDispose]();
    await refused(sim, 'ERR_VFIO_CLOSED', () => small!.read(0n, half));
    expect(held(sim)).toEqual({ openFds: [], lockedBytes: 0, mappings: 0, userMappings: 0 });
    expect(sim.faults).toEqual([]);
  });
});
