import { describe, expect, it } from 'vitest';
import { endpoint, memoryBar } from '../model/endpoint.js';
import { edu } from '../models/edu.js';
import type { SimulationOptions } from '../options.js';
import { simulation } from '../simulation.js';
import { CONFIG, long, Raw, word, words } from '../testing/raw.js';

const a = '0000:01:00.0';
const machine = (options: SimulationOptions = {}) => {
  const sim = simulation({ devices: { [a]: edu() }, ...options });
  return { sim, raw: new Raw(sim) };
};
const region = (sim: ReturnType<typeof simulation>, device: number, index: number) => {
  const bytes = words(32, 0, index, 0, 0, 0, 0, 0);
  const result = sim.ioctl(device, 0x3b6c, bytes);
  return result < 0 ? result : { flags: word(bytes, 4), size: Number(long(bytes, 16)) };
};

/** A display controller that keeps what is written at the legacy addresses. */
const display = () => {
  const kept = new Map<string, number>();
  return {
    config: endpoint({ vendor: 0x1234, device: 0x1111, class: 0x030000, bars: [memoryBar(4096)] }),
    read: () => 0,
    write: () => {},
    reset: () => {},
    vga: {
      read: (address: number, width: number) => kept.get(`${address}/${width}`) ?? 0,
      write: (address: number, width: number, value: number) => void kept.set(`${address}/${width}`, value),
    },
  };
};

describe('a kernel that was built', () => {
  it('[NOI-1] without VFIO_NOIOMMU has neither the parameter nor the mode', () => {
    const { sim, raw } = machine({
      build: { VFIO_NOIOMMU: false },
      devices: { [a]: { model: edu(), iommu: false } },
      modules: { vfio: { enable_unsafe_noiommu_mode: true } },
    });
    expect(sim.device(a).driver).toBeUndefined();
    expect(sim.list('/sys/module/vfio/parameters')).toEqual([]);
    expect(sim.ioctl(raw.container(), 0x3b65, 8)).toBe(0);
    const served = machine({ iommufd: 'container', build: { VFIO_NOIOMMU: false } });
    expect(served.sim.ioctl(served.raw.container(), 0x3b65, 8)).toBe(0);
    expect(() => simulation({ noiommu: true, build: { VFIO_NOIOMMU: false } })).toThrow(/VFIO_NOIOMMU is off/);
  });

  it('[IFD-1] without VFIO_GROUP has the files of devices alone, by which they are opened', () => {
    const { sim } = machine({ kernel: '6.12', build: { VFIO_GROUP: false } });
    expect(sim.list('/dev/vfio')).toEqual(['devices']);
    expect(sim.list('/sys/class')).not.toContain('vfio');
    expect([sim.open('/dev/vfio/0', 2), sim.open('/dev/vfio/vfio', 2)]).toEqual([-2, -2]);
    const device = sim.open('/dev/vfio/devices/vfio0', 2);
    expect(sim.ioctl(device, 0x3b76, words(16, 0, sim.open('/dev/iommu', 2), 0))).toBe(0);
    expect(region(sim, device, 0)).toMatchObject({ size: 1 << 20 });
  });

  it('[IFD-1] [IFD-4] without VFIO_DEVICE_CDEV has groups alone, and no device that knows BIND', () => {
    const { sim, raw } = machine({ iommufd: true, build: { VFIO_DEVICE_CDEV: false } });
    expect(sim.list('/dev/vfio')).toEqual(['vfio', '0']);
    expect(sim.list('/dev')).toContain('iommu');
    const { device } = raw.device(a);
    expect(sim.ioctl(device, 0x3b76, words(16, 0, 3, 0))).toBe(-25);
    const both = machine({ iommufd: true });
    expect(both.sim.ioctl(both.raw.device(a).device, 0x3b76, words(16, 0, 3, 0))).toBe(-22);
  });

  it('[IFD-30] without VFIO_CONTAINER has groups that take an iommufd, and no /dev/vfio/vfio nor type1', () => {
    const { sim, raw } = machine({ kernel: '6.12', iommufd: true, build: { VFIO_CONTAINER: false } });
    expect(sim.list('/dev/vfio')).toEqual(['devices', '0']);
    expect(sim.list('/sys/module')).not.toContain('vfio_iommu_type1');
    const [group, iommufd] = [raw.group(0), sim.open('/dev/iommu', 2)];
    expect(raw.setContainer(group, iommufd)).toBe(0);
    expect(raw.setIommu(iommufd, 3)).toBe(0);
    expect(raw.deviceFd(group, a)).toBeGreaterThan(0);
  });

  it('[CTR-19] with IOMMUFD_VFIO_CONTAINER serves /dev/vfio/vfio by iommufd, however it is asked for', () => {
    for (const options of [
      { iommufd: 'container' },
      { kernel: '6.12', build: { IOMMUFD_VFIO_CONTAINER: true } },
    ] as const) {
      const { sim, raw } = machine(options);
      expect(sim.ioctl(raw.container(), 0x3b65, 6)).toBe(0);
      expect(sim.list('/dev')).toContain('iommu');
    }
    const { sim, raw } = machine();
    expect(sim.ioctl(raw.container(), 0x3b65, 6)).toBe(1);
  });

  it('[IRQ-1] [CFG-16] without VFIO_PCI_INTX has no INTx and shows no pin', () => {
    const intx = (options: SimulationOptions) => {
      const { sim, raw } = machine(options);
      const { device } = raw.device(a);
      const bytes = words(16, 0, 0, 0);
      expect(sim.ioctl(device, 0x3b6d, bytes)).toBe(0);
      const fd = sim.eventfd(0);
      return { count: word(bytes, 12), pin: raw.config(device, 0x3d, 1), set: raw.irqs(device, 0x24, 0, 0, 1, [fd]) };
    };
    expect(intx({})).toEqual({ count: 1, pin: 1, set: 0 });
    expect(intx({ build: { VFIO_PCI_INTX: false } })).toEqual({ count: 0, pin: 0, set: -22 });
  });

  it('[DEV-10] without VFIO_PCI_MMAP has BARs that are read and written, and not mapped; from 7.2 there is no such kernel', () => {
    const { sim, raw } = machine({ build: { VFIO_PCI_MMAP: false } });
    const { device } = raw.device(a);
    expect(region(sim, device, 0)).toEqual({ flags: 3, size: 1 << 20 });
    expect(sim.mapDevice(device, 0, 4096, 3)).toBe(-22);
    expect(sim.pread(device, new Uint8Array(4), 0)).toBe(4);
    expect(() => simulation({ kernel: '7.3', build: { VFIO_PCI_MMAP: false } })).toThrow(/no option VFIO_PCI_MMAP/);
  });

  it('[DEV-18] [RW-10] with VFIO_PCI_VGA has the region of a display controller: its legacy ranges, each to its end', () => {
    const { sim, raw } = machine({ devices: { [a]: display } });
    const { device } = raw.device(a);
    const at = 8 * 2 ** 40;
    expect(region(sim, device, 8)).toEqual({ flags: 3, size: 0xc0000 });
    expect(sim.pwrite(device, Uint8Array.of(1, 2, 3, 4, 5), at + 0xbfffd)).toBe(3);
    const read = new Uint8Array(4).fill(9);
    expect(sim.pread(device, read, at + 0xbfffd)).toBe(3);
    expect([...read]).toEqual([1, 2, 3, 9]);
    expect(sim.pread(device, new Uint8Array(4), at + 0x3ba)).toBe(2);
    expect(sim.pread(device, new Uint8Array(64), at + 0x3c0)).toBe(32);
    for (const outside of [0, 0x3af, 0x3bc, 0x3e0, 0x9ffff, 0xc0000]) {
      expect(sim.pread(device, read, at + outside)).toBe(-22);
      expect(sim.pwrite(device, read, at + outside)).toBe(-22);
    }
    expect(sim.mapDevice(device, at, 4096, 3)).toBe(-22);
  });

  it('[DEV-18] [LIFE-16] has no such region without it, with disable_vga, and for what is no display controller', () => {
    for (const options of [
      { devices: { [a]: display }, build: { VFIO_PCI_VGA: false } },
      { devices: { [a]: display }, modules: { vfio_pci: { disable_vga: true } } },
      {},
    ] satisfies SimulationOptions[]) {
      const { sim, raw } = machine(options);
      const { device } = raw.device(a);
      expect(region(sim, device, 8)).toBe(-22);
      expect(sim.pread(device, new Uint8Array(4), 8 * 2 ** 40 + 0xa0000)).toBe(-22);
      expect(sim.pread(device, new Uint8Array(4), CONFIG)).toBe(4);
    }
    const without = machine({ build: { VFIO_PCI_VGA: false } }).sim;
    expect(without.list('/sys/module/vfio_pci/parameters')).not.toContain('disable_vga');
  });

  it.each<[SimulationOptions, RegExp]>([
    [{ kernel: '6.1', build: { IOMMUFD: true } }, /6\.1 has no iommufd/],
    [{ kernel: '6.3', build: { VFIO_DEVICE_CDEV: true } }, /6\.3 has no device files/],
    [{ kernel: '6.12', build: { VFIO_DEVICE_CDEV: true, IOMMUFD: false } }, /needs IOMMUFD/],
    [{ kernel: '6.12', iommufd: true, build: { IOMMUFD: false } }, /IOMMUFD is off/],
    [{ kernel: '6.3', build: { VFIO_GROUP: false } }, /VFIO_DEVICE_CDEV \(6\.6/],
    [{ kernel: '6.12', build: { VFIO_GROUP: false, VFIO_CONTAINER: true } }, /container needs VFIO_GROUP/],
    [{ iommufd: 'container', build: { VFIO_CONTAINER: true } }, /exclude each other/],
    [{ build: { VFIO_CONTAINER: false } }, /must be IOMMUFD/],
    [{ build: { VFIO_VGA: true } as never }, /build has no VFIO_VGA/],
  ])('%o is no kernel that can be built', (options, words) => {
    expect(() => simulation(options)).toThrow(words);
  });
});
