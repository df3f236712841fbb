/** The host's side of a simulated machine: what sysfs, module parameters and other processes do to a function. */

import { describe, expect, it } from 'vitest';
import { endpoint, memoryBar } from '../model/endpoint.js';
import { edu } from '../models/edu.js';
import type { SimulationOptions } from '../options.js';
import { simulation } from '../simulation.js';
import { Raw, words } from '../testing/raw.js';
import { type DynamicId, idsOf, idWritten, meets, shown } from './pci/ids.js';

const a = '0000:01:00.0';
const folder = `/sys/bus/pci/devices/${a}`;
const plain =
  (vendor = 0x1234, classCode = 0x118000) =>
  () => ({
    config: endpoint({ vendor, device: 0x19e2, class: classCode, bars: [memoryBar(4096)], msi: 1 }),
    read: () => 0,
    write: () => {},
    reset: () => {},
  });
const machine = (options: SimulationOptions = {}) => {
  const sim = simulation({ devices: { [a]: plain() }, ...options });
  return { sim, raw: new Raw(sim) };
};
const driverOf = (sim: ReturnType<typeof simulation>, address = a) => sim.device(address).driver;

describe('ids of a driver', () => {
  const id = (text: string) => idWritten(text) as DynamicId;

  it('[LIFE-18] have two to six hexadecimal fields; what is none is told, what is empty is not', () => {
    const bad: string[] = [];
    const found = idsOf('1af4:1000,,8086:10d3:8086,xyz,12,1:2:3:4:20000:ff0000,8086:zz', (text) => bad.push(text));
    expect(found.map(shown)).toEqual([
      'add [1af4:1000[ffffffff:ffffffff]] class 0x000000/00000000',
      'add [8086:10d3[8086:ffffffff]] class 0x000000/00000000',
      'add [0001:0002[0003:0004]] class 0x020000/00ff0000',
    ]);
    expect(bad).toEqual(['xyz', '12', '8086:zz']);
  });

  it('[LIFE-14] meet a function by ids, by subsystem, and by the bits of the class that count', () => {
    const { config } = endpoint({ vendor: 0x1af4, device: 0x1000, class: 0x020000, subsystemVendor: 0x1af4 });
    const view = new DataView(config.buffer);
    const met = (text: string) => meets(id(text), view, 0x020000);
    expect(['1af4 1000', 'ffffffff ffffffff', '1af4 1000 1af4', '1af4 1000 1af4 0 020000 ffff00'].map(met)).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['1af4 1001', '1af4 1000 8086', '1af4 1000 1af4 0 010000 ff0000'].map(met)).toEqual([false, false, false]);
    expect(idWritten('1af4')).toBeUndefined();
  });

  it('[LIFE-14] are taken from the parameter and from new_id, once each', () => {
    const { sim } = machine({
      devices: { [a]: { model: plain(), driver: null } },
      modules: { vfio_pci: { ids: '1234:19e2,no' } },
    });
    expect(driverOf(sim)).toBe('vfio-pci');
    expect(sim.log).toContain('vfio_pci: invalid id string "no"');
    expect(sim.writeFile('/sys/bus/pci/drivers/vfio-pci/new_id', '1234 19e2')).toBe(-17);
    expect(sim.writeFile('/sys/bus/pci/drivers/vfio-pci/remove_id', '1234 19e2')).toBe(0);
    expect(sim.writeFile('/sys/bus/pci/drivers/vfio-pci/remove_id', '1234 19e2')).toBe(-19);
    expect(sim.status('/sys/module/vfio_pci/parameters/ids')).toBe(-2);
  });
});

describe('vfio-pci', () => {
  const bind = (sim: ReturnType<typeof simulation>) => {
    sim.writeFile(`${folder}/driver_override`, 'vfio-pci');
    return sim.writeFile('/sys/bus/pci/drivers/vfio-pci/bind', a);
  };
  const free = (options: SimulationOptions, vendor?: number) =>
    machine({ devices: { [a]: { model: plain(vendor), driver: null } }, ...options }).sim;

  it('[LIFE-20] refuses what is on its list, unless it is told not to', () => {
    expect(bind(free({ kernel: '6.1' }, 0x8086))).toBe(-22);
    expect(bind(free({ kernel: '5.8' }, 0x8086))).toBe(0);
    expect(bind(free({ kernel: '6.1', modules: { vfio_pci: { disable_denylist: true } } }, 0x8086))).toBe(0);
    expect(free({ kernel: '6.1' }).writeFile('/sys/module/vfio_pci/parameters/disable_denylist', 'Y')).toBe(-13);
  });

  it('[LIFE-19] refuses a device behind an IOMMU that does not snoop', () => {
    expect(bind(free({ kernel: '6.1', iommu: { coherent: false } }))).toBe(-22);
    expect(bind(free({ kernel: '5.15', iommu: { coherent: false } }))).toBe(0);
  });

  it('[LIFE-13] [LIFE-20] makes virtual functions where it may, and refuses a function that has some', () => {
    const { sim } = machine({ devices: { [a]: { model: plain(), nativeDriver: 'host', virtualFunctions: 2 } } });
    const set = (count: number) => sim.writeFile(`${folder}/sriov_numvfs`, `${count}`);
    expect(sim.readFile(`${folder}/sriov_totalvfs`)).toBe('2\n');
    expect([set(1), set(3)]).toEqual([-2, -34]);
    sim.writeFile('/sys/module/vfio_pci/parameters/enable_sriov', 'Y');
    expect([set(2), set(1), sim.readFile(`${folder}/sriov_numvfs`)]).toEqual([0, -16, '2\n']);
    const virtual = '/sys/bus/pci/devices/0000:01:00.2';
    expect(sim.readFile(`${virtual}/driver_override`)).toBe('vfio-pci\n');
    expect(sim.readLink(`${virtual}/driver`)).toContain('vfio-pci');
    // vfio-pci takes them away when it goes; the host's driver leaves them.
    sim.writeFile('/sys/bus/pci/drivers/vfio-pci/unbind', a);
    expect(sim.list('/sys/bus/pci/devices')).toEqual([a]);
    sim.writeFile(`${folder}/driver_override`, '\n');
    sim.writeFile('/sys/bus/pci/drivers/host/bind', a);
    expect(set(1)).toBe(0);
    sim.writeFile('/sys/bus/pci/drivers/host/unbind', a);
    expect(bind(sim)).toBe(-16);
  });

  it('[LIFE-17] tells the arbiter what a VGA adapter decodes', () => {
    const decodes = (modules: SimulationOptions['modules']) => {
      const { sim } = machine({ devices: { [a]: plain(0x1234, 0x030000) }, ...(modules && { modules }) });
      const fd = sim.open('/dev/vga_arbiter', 2);
      expect(sim.pwrite(fd, new TextEncoder().encode('target PCI:0000:09:00.0'), 0)).toBe(-19);
      expect(sim.pwrite(fd, new TextEncoder().encode('lock io'), 0)).toBe(-22);
      const text = new Uint8Array(100);
      return new TextDecoder().decode(text.subarray(0, sim.pread(fd, text, 0))).split(',')[2];
    };
    expect(decodes(undefined)).toBe('decodes=io+mem');
    expect(decodes({ vfio_pci: { disable_vga: true } })).toBe('decodes=none');
  });
});

describe('a device', () => {
  it('[LIFE-2] [RST-1] is neither opened nor reset while another process holds its lock', () => {
    const { sim, raw } = machine();
    const { group, device } = raw.device(a);
    expect(sim.device(a).whileLocked(() => sim.ioctl(device, 0x3b6f))).toBe(-11);
    expect(sim.ioctl(device, 0x3b6f)).toBe(0);
    sim.close(device);
    expect(sim.device(a).whileLocked(() => raw.deviceFd(group, a))).toBe(-11);
    expect(raw.deviceFd(group, a)).toBeGreaterThan(0);
  });

  it('[LIFE-10] says once that a signal came while its unbind waits', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    const blocked = () => sim.log.filter((line) => line.includes('blocked until device is released')).length;
    sim.device(a).signalUnbind();
    expect(blocked()).toBe(0);
    sim.writeFile(`${folder}/driver/unbind`, a);
    sim.device(a).signalUnbind();
    sim.device(a).signalUnbind();
    expect([blocked(), driverOf(sim)]).toEqual([1, 'vfio-pci']);
    expect(sim.readLink(`${folder}/driver`)).toBe(-2);
    sim.close(device);
    expect(driverOf(sim)).toBeUndefined();
  });

  it('[LIFE-15] loses its configuration to a fatal error, and gets its BARs back when its user switches memory on', () => {
    const { sim, raw } = machine();
    const { device } = raw.device(a);
    const bar = raw.config(device, 0x10, 4);
    const hardware = () => new DataView(sim.device(a).config.buffer).getUint32(0x10, true);
    sim.device(a).reportError({ fatal: true });
    expect([hardware(), raw.config(device, 4, 2) & 2]).toEqual([0, 0]);
    raw.setConfig(device, 4, 2, 2);
    expect(hardware()).toBe(bar);
  });

  it('has its configuration space in sysfs, to read and to write', () => {
    const { sim } = machine({ devices: { [a]: { model: edu(), driver: null } } });
    const fd = sim.open(`${folder}/config`, 2);
    expect(sim.pwrite(fd, words(0x5a5a_0007).subarray(0, 3), 4)).toBe(3);
    const bytes = new Uint8Array(8);
    expect([sim.pread(fd, bytes, 0), ...bytes.subarray(0, 5)]).toEqual([8, 0x34, 0x12, 0xe8, 0x11, 0x07]);
    expect([sim.pread(fd, bytes, 252), sim.pread(fd, bytes, 256), sim.pwrite(fd, bytes, 256)]).toEqual([4, 0, 0]);
  });

  it('[LIFE-4] that no reset reaches alone is reset with its bus, when vfio-pci has all of it and nothing is open', () => {
    const b = '0000:01:00.1';
    const conventional = () => ({
      ...plain()(),
      config: endpoint({ vendor: 1, device: 1, class: 0, express: false, msi: 1 }),
    });
    const { sim, raw } = machine({
      devices: { [a]: conventional, [b]: conventional },
      groups: { 3: [a, b] },
    });
    const { group, device } = raw.device(a, 3);
    const other = raw.deviceFd(group, b);
    const fd = sim.open(`${folder}/config`, 2);
    const at = (sim.device(a).config[0x34] as number) + 12;
    sim.pwrite(fd, Uint8Array.of(0x5a), at);
    sim.close(device);
    expect(sim.device(a).config[at]).toBe(0x5a);
    sim.close(other);
    expect(sim.device(a).config[at]).toBe(0);
  });
});
