import { describe, expect, it } from 'vitest';
import { endpoint, memoryBar } from '../model/endpoint.js';
import { edu } from '../models/edu.js';
import type { SimulationOptions } from '../options.js';
import { simulation } from '../simulation.js';
import { CONFIG, Raw, word, words } from '../testing/raw.js';

const a = '0000:01:00.0';
const plain =
  (bars = [memoryBar(8192)]) =>
  () => ({
    config: endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars, msix: 4, msi: 4 }),
    read: (_bar: number, offset: number) => offset,
    write: () => {},
    reset: () => {},
  });
const machine = (options: SimulationOptions = {}) => {
  const sim = simulation({ devices: { [a]: plain() }, ...options });
  return { sim, raw: new Raw(sim) };
};

describe('containers and groups', () => {
  it('[CTR-2] [CTR-4] answer version 0, and 0 for an unknown extension', () => {
    const { sim, raw } = machine();
    const fd = raw.container();
    expect([0, 1, 2].map((n) => sim.ioctl(fd, 0x3b65, [1, 3, 99][n]))).toEqual([1, 1, 0]);
    expect(sim.ioctl(fd, 0x3b64)).toBe(0);
    expect(sim.ioctl(fd, 0x3b99)).toBe(-22);
  });

  it('[CTR-9] [CTR-10] [CTR-11] [CTR-13] take a model once, with a group, if it is one', () => {
    const { raw } = machine();
    const container = raw.container();
    expect(raw.setIommu(container, 1)).toBe(-22);
    expect(raw.setContainer(raw.group(0), container)).toBe(0);
    expect(raw.setIommu(container, 99)).toBe(-19);
    expect(raw.setIommu(container, 3)).toBe(0);
    expect(raw.setIommu(container, 3)).toBe(-22);
  });

  it('[GRP-2] [GRP-8] [GRP-17] open once, and are not viable while a host driver has a member', () => {
    const { raw } = machine({ groups: { 7: [a, { address: '0000:01:00.1', driver: 'snd_hda_intel' }] } });
    const group = raw.group(7);
    expect(raw.group(7)).toBe(-16);
    expect(raw.status(group)).toBe(0);
    expect(raw.setContainer(group, raw.container())).toBe(-1);
  });

  it('[GRP-13] [GRP-15] [GRP-16] refuse what is no container, and a second one', () => {
    const { sim, raw } = machine();
    const group = raw.group(0);
    expect(raw.setContainer(group, -1)).toBe(-9);
    expect(raw.setContainer(group, sim.eventfd(0))).toBe(-22);
    expect(raw.setContainer(group, raw.container())).toBe(0);
    expect(raw.setContainer(group, raw.container())).toBe(-22);
  });

  it('[GRP-24] [GRP-21] [LIFE-3] keep a device working after the group and container descriptors are closed, until it is closed itself', () => {
    const { sim, raw } = machine();
    const { container, group, device } = raw.device(a);
    expect(sim.ioctl(group, 0x3b69)).toBe(-16);
    expect(raw.map(container, 0x1000n, raw.memory(4096).address, 4096)).toBe(0);
    raw.busMaster(device);
    sim.close(group);
    sim.close(container);
    expect(raw.group(0)).toBe(-16);
    expect(sim.lockedBytes).toBe(4096);
    sim.close(device);
    expect([sim.lockedBytes, sim.mappings, sim.openFds, sim.device(a).busMaster]).toEqual([0, [], [], false]);
  });

  it('[NOI-2] [NOI-10] [NOI-17] [NOI-19] open without an IOMMU with the capability only, and translate nothing', () => {
    const { sim, raw } = machine({ noiommu: true });
    const { container, device } = raw.device(a, 'noiommu-0', 8);
    expect(device).toBeGreaterThan(0);
    expect(raw.map(container, 0n, 0n, 4096)).toBe(-25);
    expect(sim.readFile('/sys/kernel/iommu_groups/0/name')).toBe('vfio-noiommu\n');
    expect(machine({ noiommu: true, capabilities: { sysRawio: false } }).raw.group('noiommu-0')).toBe(-1);
  });
});

describe('type1', () => {
  const opened = (options: SimulationOptions = {}, type = 3) => {
    const made = machine(options);
    return { ...made, ...made.raw.device(a, 0, type), memory: made.raw.memory(16384) };
  };

  it('[T1-17] [T1-18] [T1-19] [T1-21] [T1-25] [T1-32] refuses what cannot be mapped', () => {
    const { raw, container, memory } = opened();
    const at = memory.address;
    expect(raw.map(container, 0x1000n, at, 4096, 0)).toBe(-22);
    expect(raw.map(container, 0x1000n, at, 0)).toBe(-22);
    expect(raw.map(container, 0x1001n, at, 4096)).toBe(-22);
    expect(raw.map(container, (1n << 64n) - 4096n, at, 8192)).toBe(-22);
    expect(raw.map(container, 0x1000n, 0x1000n, 4096)).toBe(-14);
    expect(raw.map(container, 0xfee0_0000n, at, 4096)).toBe(-22);
  });

  it('[T1-23] [T1-38] [T1-39] [T1-40] keeps mappings whole', () => {
    const { raw, container, memory } = opened();
    expect(raw.map(container, 0x10000n, memory.address, 8192)).toBe(0);
    expect(raw.map(container, 0x11000n, memory.address, 4096)).toBe(-17);
    expect(raw.map(container, 0x12000n, memory.address, 4096)).toBe(0);
    expect(raw.unmap(container, 0x11000n, 4096)).toBe(-22);
    expect(raw.unmap(container, 0x0n, 0x100000)).toBe(12288);
    expect(raw.unmap(container, 0x0n, 0x100000)).toBe(0);
  });

  it('[T1-29] [T1-30] counts locked memory against the limit, an exact fit included', () => {
    const { sim, raw, container, memory } = opened({ memlock: 8192 });
    expect(raw.map(container, 0x10000n, memory.address, 8192)).toBe(0);
    expect(raw.map(container, 0x20000n, memory.address, 4096)).toBe(-12);
    expect(sim.lockedBytes).toBe(8192);
    expect(sim.log.at(-1)).toBe('vfio_pin_pages_remote: RLIMIT_MEMLOCK (8192) exceeded');
  });
});

describe('devices', () => {
  it('[DEV-5] [DEV-6] [DEV-10] [DEV-17] [IRQ-1] [IRQ-3] describe their regions and interrupts', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    const region = (index: number) => {
      const bytes = words(32, 0, index, 0, 0, 0, 0, 0);
      const result = sim.ioctl(device, 0x3b6c, bytes);
      return result < 0 ? result : [word(bytes, 4), word(bytes, 16), word(bytes, 28)];
    };
    expect([region(0), region(7), region(9)]).toEqual([[7, 8192, 0], [3, 4096, 7 * 256], -22]);
    const irq = (index: number) => {
      const bytes = words(16, 0, index, 0);
      return sim.ioctl(device, 0x3b6d, bytes) < 0 ? -1 : [word(bytes, 4), word(bytes, 12)];
    };
    expect([0, 1, 2, 4].map(irq)).toEqual([
      [7, 1],
      [9, 4],
      [9, 4],
      [9, 1],
    ]);
  });

  it('[CFG-11] [CFG-19] [CFG-24] [CFG-45] start with decoding on and bus mastering off, and size BARs without moving them', () => {
    const { raw } = machine();
    const { device } = raw.device(a);
    expect(raw.config(device, 4, 2) & 0x407).toBe(2);
    const before = raw.config(device, 0x10, 4);
    raw.setConfig(device, 0x10, 4, 0xffff_ffff);
    expect(raw.config(device, 0x10, 4)).toBe(0xffff_e000);
    expect(raw.window(device, 0, 4096).window.read32(0x40)).toBe(0x40);
    raw.setConfig(device, 0x10, 4, before);
    expect(raw.config(device, 0x10, 4)).toBe(before);
  });

  it('[CFG-1] [CFG-27] [RW-2] [RW-3] refuse access outside, and to memory that is not decoded', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    expect(sim.pread(device, new Uint8Array(8), CONFIG + 4092)).toBe(-14);
    expect(sim.pread(device, new Uint8Array(8), 8188)).toBe(4);
    expect(sim.pread(device, new Uint8Array(8), 8192)).toBe(-22);
    const mapping = raw.window(device, 0, 4096);
    raw.setConfig(device, 4, 2, 0);
    expect(sim.pread(device, new Uint8Array(4), 0)).toBe(-5);
    expect([mapping.window.read32(0x10), mapping.faulted]).toEqual([0xffff_ffff, true]);
  });

  it('[IRQ-15] [IRQ-25] [IRQ-27] [IRQ-30] [IRQ-32] switch MSI-X on, signal by hand, and off', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    const event = sim.eventfd(0);
    expect(raw.irqs(device, 0x04, 2, 0, 1, [event])).toBe(-25);
    expect(raw.irqs(device, 0x24, 2, 0, 2, [event, -1])).toBe(0);
    expect(raw.irqs(device, 0x24, 2, 2, 1, [event])).toBe(-22);
    expect(raw.irqs(device, 0x21, 2, 0, 2)).toBe(0);
    expect(sim.eventfdRead(event)).toBe(1);
    expect(raw.irqs(device, 0x24, 1, 0, 1, [event])).toBe(-22);
    expect(raw.irqs(device, 0x21, 2, 0, 0)).toBe(0);
    expect(raw.irqs(device, 0x21, 2, 0, 0)).toBe(-22);
  });

  it('[IRQ-43] [IRQ-46] mask INTx when it comes, and tell again at an unmask while it is still asserted', () => {
    const { sim, raw } = machine({ devices: { [a]: edu() } });
    const { device } = raw.device(a);
    const event = sim.eventfd(0);
    expect(raw.irqs(device, 0x24, 0, 0, 1, [event])).toBe(0);
    const { window } = raw.window(device, 0, 4096);
    window.write32(0x60, 1);
    window.write32(0x60, 2);
    expect(sim.eventfdRead(event)).toBe(1);
    expect(raw.irqs(device, 0x11, 0, 0, 1)).toBe(0);
    expect(sim.eventfdRead(event)).toBe(1);
    window.write32(0x64, 3);
    expect(raw.irqs(device, 0x11, 0, 0, 1)).toBe(0);
    expect(sim.eventfdRead(event)).toBe(-11);
    window.write32(0x60, 4);
    expect(sim.eventfdRead(event)).toBe(1);
  });

  it('[LIFE-9] are asked for when they are pulled out, and answer all-ones', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    const event = sim.eventfd(0);
    expect(raw.irqs(device, 0x24, 4, 0, 1, [event])).toBe(0);
    const mapping = raw.window(device, 0, 4096);
    sim.device(a).unplug();
    expect([sim.eventfdRead(event), mapping.window.read32(0), mapping.faulted]).toEqual([1, 0xffff_ffff, true]);
    mapping.unmap();
    sim.close(device);
    expect(sim.status(`/sys/bus/pci/devices/${a}`)).toBe(-2);
  });
});
