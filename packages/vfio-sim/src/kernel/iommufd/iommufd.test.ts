import { describe, expect, it } from 'vitest';
import { edu } from '../../models/edu.js';
import type { SimulationOptions } from '../../options.js';
import { simulation } from '../../simulation.js';
import { long, Raw, word, words } from '../../testing/raw.js';

const a = '0000:01:00.0';
const b = '0000:01:00.1';

function machine(options: SimulationOptions = {}) {
  const sim = simulation({ devices: { [a]: edu() }, iommufd: true, capabilities: { ipcLock: true }, ...options });
  return { sim, raw: new Raw(sim), iommufd: sim.open('/dev/iommu', 2) };
}

type Sim = ReturnType<typeof simulation>;

/** A structure of 64-bit values behind some 32-bit words. */
function structure(head: readonly number[], ...values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(4 * head.length + 8 * values.length);
  bytes.set(words(...head));
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(4 * head.length + 8 * index, value, true);
  return bytes;
}

function ioas(sim: Sim, iommufd: number): number {
  const bytes = words(12, 0, 0);
  expect(sim.ioctl(iommufd, 0x3b81, bytes)).toBe(0);
  return word(bytes, 8);
}

const map = (sim: Sim, iommufd: number, id: number, iova: bigint, address: bigint, length: bigint, flags = 7) =>
  sim.ioctl(iommufd, 0x3b85, structure([40, flags, id, 0], address, length, iova));

const unmap = (sim: Sim, iommufd: number, id: number, iova: bigint, length: bigint) =>
  sim.ioctl(iommufd, 0x3b86, structure([24, id], iova, length));

/** A bound device: its descriptor and number. */
function bind(sim: Sim, iommufd: number, name = 'vfio0') {
  const device = sim.open(`/dev/vfio/devices/${name}`, 2);
  const bytes = words(16, 0, iommufd, 0);
  expect(sim.ioctl(device, 0x3b76, bytes)).toBe(0);
  return { device, id: word(bytes, 12) };
}

function attach(sim: Sim, device: number, id: number): number {
  const bytes = words(12, 0, id);
  const result = sim.ioctl(device, 0x3b77, bytes);
  return result < 0 ? result : word(bytes, 8);
}

/** edu copies `length` bytes of its buffer to memory: whether that arrived. */
function eduWrites(sim: Sim, raw: Raw, device: number, iova: bigint, length = 8): boolean {
  const before = sim.faults.length;
  raw.setConfig(device, 4, 2, 6);
  const bar = sim.mapDevice(device, 0, 4096, 3);
  if (typeof bar === 'number') throw new Error(`mmap: ${bar}`);
  bar.window.write64(0x80, 0x40000n);
  bar.window.write64(0x88, iova);
  bar.window.write64(0x90, BigInt(length));
  bar.window.write64(0x98, 3n);
  while (bar.window.read64(0x98) & 1n) sim.poll(sim.eventfd(0), 10);
  bar.unmap();
  return sim.faults.length === before;
}

describe('a machine with iommufd', () => {
  it('[IFD-1] shows it and a file for each device, and without it shows neither', () => {
    const { sim } = machine();
    expect(sim.list('/dev/vfio')).toEqual(['vfio', 'devices', '0']);
    expect(sim.list(`/sys/bus/pci/devices/${a}/vfio-dev`)).toEqual(['vfio0']);
    expect(sim.status('/dev/vfio/devices/vfio0')).toMatchObject({ type: 'character device', mode: 0o600 });
    const without = simulation({ devices: { [a]: edu() }, kernel: '6.12' });
    expect(without.open('/dev/iommu', 2)).toBe(-2);
    expect(without.list('/dev/vfio')).toEqual(['vfio', '0']);
  });

  it('has no device files before 6.6, and cannot be older than 6.2', () => {
    const { sim, iommufd } = machine({ kernel: '6.2' });
    expect(iommufd).toBeGreaterThan(0);
    expect(sim.list('/dev/vfio')).toEqual(['vfio', '0']);
    expect(() => simulation({ iommufd: true, kernel: '6.1' })).toThrow('no iommufd');
  });

  it('[CTR-19] may serve /dev/vfio/vfio by it', () => {
    const { sim, raw } = machine({ iommufd: 'container' });
    expect([1, 3, 6].map((n) => sim.ioctl(raw.container(), 0x3b65, n))).toEqual([1, 1, 0]);
    const { container } = raw.device(a);
    expect(raw.map(container, 0x1000n, raw.memory(4096).address, 4096)).toBe(0);
    expect(sim.mappings).toEqual([{ group: 0, iova: 0x1000n, size: 4096, read: true, write: true }]);
  });
});

describe('devices of an iommufd', () => {
  it('[IFD-10] [IFD-12] [IFD-26] reach pinned memory while attached, and nothing else', () => {
    const { sim, raw, iommufd } = machine();
    const { device } = bind(sim, iommufd);
    const space = ioas(sim, iommufd);
    const memory = raw.memory(8192);
    expect(map(sim, iommufd, space, 0x10000n, memory.address, 8192n)).toBe(0);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+0 kB/);
    expect(eduWrites(sim, raw, device, 0x10000n)).toBe(false);
    expect(attach(sim, device, space)).toBe(3);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+8 kB/);
    expect(eduWrites(sim, raw, device, 0x10ff8n, 16)).toBe(true);
    expect(eduWrites(sim, raw, device, 0x11ff8n, 16)).toBe(false);
    expect(sim.ioctl(device, 0x3b78, words(8, 0))).toBe(0);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+0 kB/);
    expect(eduWrites(sim, raw, device, 0x10000n)).toBe(false);
    expect(unmap(sim, iommufd, space, 0x10000n, 8192n)).toBe(0);
  });

  it('[IFD-11] are moved from one address space to another', () => {
    const { sim, raw, iommufd } = machine();
    const { device } = bind(sim, iommufd);
    const [one, two] = [ioas(sim, iommufd), ioas(sim, iommufd)];
    map(sim, iommufd, two, 0x20000n, raw.memory(4096).address, 4096n);
    attach(sim, device, one);
    expect(sim.ioctl(iommufd, 0x3b80, words(8, one))).toBe(-16);
    expect(attach(sim, device, two)).toBeGreaterThan(0);
    expect(eduWrites(sim, raw, device, 0x20000n)).toBe(true);
    expect(sim.ioctl(iommufd, 0x3b80, words(8, one))).toBe(0);
    expect(sim.ioctl(iommufd, 0x3b80, words(8, two))).toBe(-16);
  });

  it('share the translation of their group', () => {
    const { sim, iommufd } = machine({ devices: { [a]: edu(), [b]: edu() }, groups: { 4: [a, b] } });
    const [first, second] = [bind(sim, iommufd, 'vfio0'), bind(sim, iommufd, 'vfio1')];
    const [one, two] = [ioas(sim, iommufd), ioas(sim, iommufd)];
    const hwpt = attach(sim, first.device, one);
    expect(attach(sim, second.device, two)).toBe(-22);
    expect(attach(sim, second.device, one)).toBe(hwpt);
    sim.close(first.device);
    expect(sim.ioctl(iommufd, 0x3b80, words(8, one))).toBe(-16);
    sim.close(second.device);
    expect(sim.ioctl(iommufd, 0x3b80, words(8, one))).toBe(0);
  });

  it('[IFD-21] hold the iommufd, and let everything go when they close', () => {
    const { sim, raw, iommufd } = machine();
    const { device } = bind(sim, iommufd);
    const space = ioas(sim, iommufd);
    map(sim, iommufd, space, 0x1000n, raw.memory(4096).address, 4096n);
    attach(sim, device, space);
    sim.close(iommufd);
    expect(eduWrites(sim, raw, device, 0x1000n)).toBe(true);
    sim.close(device);
    expect(sim.mappings).toEqual([]);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+0 kB/);
  });

  it('[IFD-37] have their written pages told, where the IOMMU notes them', () => {
    const { sim, raw, iommufd } = machine({ iommu: { dirtyTracking: true } });
    const { device, id } = bind(sim, iommufd);
    const space = ioas(sim, iommufd);
    map(sim, iommufd, space, 0x10000n, raw.memory(0x4000).address, 0x4000n);
    const bytes = words(48, 2, id, space, 0, 0, 0, 0, 0, 0, 0, 0);
    expect(sim.ioctl(iommufd, 0x3b89, bytes)).toBe(0);
    const hwpt = word(bytes, 16);
    expect(attach(sim, device, hwpt)).toBe(hwpt);
    expect(sim.ioctl(iommufd, 0x3b8b, words(16, 1, hwpt, 0))).toBe(0);
    expect(eduWrites(sim, raw, device, 0x11ffcn)).toBe(true);
    const bitmap = raw.memory(4096);
    const ask = () => sim.ioctl(iommufd, 0x3b8c, structure([48, hwpt, 0, 0], 0x10000n, 0x4000n, 4096n, bitmap.address));
    expect(ask()).toBe(0);
    expect(bitmap.bytes[0]).toBe(0b0110);
    bitmap.bytes[0] = 0;
    expect(ask()).toBe(0);
    expect(bitmap.bytes[0]).toBe(0);
  });
});

describe('a reset of the whole bus, asked for by a device file', () => {
  it('[RST-13] [RST-14] tells who has each function, and takes no groups', () => {
    const { sim, iommufd } = machine({ devices: { [a]: edu(), [b]: edu() }, groups: { 4: [a], 5: [b] } });
    const { device, id } = bind(sim, iommufd, 'vfio0');
    const info = () => {
      const bytes = words(28, 0, 0, 0, 0, 0, 0);
      expect(sim.ioctl(device, 0x3b70, bytes)).toBe(0);
      return [word(bytes, 4), word(bytes, 12), word(bytes, 20) | 0];
    };
    expect(info()).toEqual([1, id, -1]);
    expect(sim.ioctl(device, 0x3b71, words(12, 0, 0))).toBe(-22);
    const other = bind(sim, iommufd, 'vfio1');
    expect(info()).toEqual([3, id, other.id]);
    expect(sim.ioctl(device, 0x3b71, words(16, 0, 1, sim.open('/dev/vfio/vfio', 2)))).toBe(-22);
    expect(sim.ioctl(device, 0x3b71, words(12, 0, 0))).toBe(0);
    sim.close(other.device);
    expect(info()).toEqual([1, id, -1]);
  });

  it('[RST-14] counts a member of the same group as owned', () => {
    const { sim, iommufd } = machine({ devices: { [a]: edu(), [b]: edu() }, groups: { 4: [a, b] } });
    const { device, id } = bind(sim, iommufd);
    const bytes = words(28, 0, 0, 0, 0, 0, 0);
    expect(sim.ioctl(device, 0x3b70, bytes)).toBe(0);
    expect([word(bytes, 4), word(bytes, 12), word(bytes, 20)]).toEqual([3, id, 0]);
    expect(sim.ioctl(device, 0x3b71, words(12, 0, 0))).toBe(0);
  });
});

describe('address spaces', () => {
  it('[IFD-29] share pinned pages with copies', () => {
    const { sim, raw, iommufd } = machine({ capabilities: { ipcLock: false }, memlock: 8192 });
    const { device } = bind(sim, iommufd);
    const [one, two] = [ioas(sim, iommufd), ioas(sim, iommufd)];
    attach(sim, device, one);
    expect(map(sim, iommufd, one, 0x4000n, raw.memory(8192).address, 8192n)).toBe(0);
    expect(map(sim, iommufd, one, 0x8000n, raw.memory(4096).address, 4096n)).toBe(-12);
    const copied = structure([40, 7, one, one], 4096n, 0x20000n, 0x5000n);
    expect(sim.ioctl(iommufd, 0x3b83, copied)).toBe(0);
    expect(sim.ioctl(iommufd, 0x3b83, structure([40, 6, two, one], 8192n, 0n, 0x4000n))).toBe(0);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+8 kB/);
    expect(unmap(sim, iommufd, one, 0x4000n, 8192n)).toBe(0);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+4 kB/);
    expect(eduWrites(sim, raw, device, 0x20000n)).toBe(true);
    expect(unmap(sim, iommufd, one, 0x20000n, 4096n)).toBe(0);
    expect(sim.readFile('/proc/self/status')).toMatch(/VmPin:\s+0 kB/);
  });

  it('[IFD-25] choose an address that is aligned as the memory is, and free', () => {
    const { sim, raw, iommufd } = machine();
    const space = ioas(sim, iommufd);
    const chosen = () => {
      const bytes = structure([40, 6, space, 0], raw.memory(4096).address, 4096n, 0n);
      expect(sim.ioctl(iommufd, 0x3b85, bytes)).toBe(0);
      return long(bytes, 32);
    };
    expect([chosen(), chosen()]).toEqual([0x1000n, 0x2000n]);
  });
});

describe('an iommufd as container', () => {
  it('[IFD-33] cuts mappings under model 1', () => {
    const { sim, raw, iommufd } = machine();
    const group = raw.group(0);
    expect(raw.setContainer(group, iommufd)).toBe(0);
    expect(raw.setIommu(iommufd, 1)).toBe(0);
    const device = raw.deviceFd(group, a);
    expect(raw.map(iommufd, 0x10000n, raw.memory(0x3000).address, 0x3000)).toBe(0);
    expect(raw.unmap(iommufd, 0x11000n, 4096)).toBe(4096);
    expect(sim.mappings.map(({ iova, size }) => [iova, size])).toEqual([
      [0x10000n, 4096],
      [0x12000n, 4096],
    ]);
    expect([0x10000n, 0x11000n, 0x12000n].map((iova) => eduWrites(sim, raw, device, iova))).toEqual([
      true,
      false,
      true,
    ]);
  });

  it('[IFD-35] finds only at the device that a host driver has the group', () => {
    const { raw, iommufd } = machine({ groups: { 7: [a, { address: b, driver: 'snd_hda_intel' }] } });
    const group = raw.group(7);
    expect(raw.setContainer(group, iommufd)).toBe(0);
    expect(raw.deviceFd(group, a)).toBe(-1);
  });
});
