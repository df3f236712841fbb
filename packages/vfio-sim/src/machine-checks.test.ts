import { isVfioError } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { endpoint, memoryBar } from './model/endpoint.js';
import { edu } from './models/edu.js';
import type { SimulationOptions } from './options.js';
import { simulation } from './simulation.js';

const a = '0000:01:00.0';
const devices = { [a]: edu() };

/** What JavaScript lets through. */
const loosely = (options: object) => options as SimulationOptions;

const described = (change: object): SimulationOptions => {
  const config = { ...endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(4096)] }), ...change };
  return { devices: { [a]: () => ({ config, read: () => 0, write: () => {}, reset: () => {} }) } };
};

describe('a machine that cannot be is refused in words', () => {
  it.each<[string, SimulationOptions, RegExp]>([
    ['an option that there is not', loosely({ device: devices }), /simulation has no device: it has devices, groups/],
    ['a kernel before VFIO', { kernel: '3.10' }, /3\.10 is no kernel/],
    ['a kernel by its whole name', loosely({ kernel: '6.1.0-56-amd64' }), /6\.1\.0-56-amd64 is no kernel/],
    ['an address that is none', { devices: { '01:00.0': edu() } }, /01:00\.0 is no PCI address/],
    ['an address in two groups', { groups: { 1: [a], 2: [a] } }, /stands in two groups/],
    ['an address twice in one', { groups: { 1: [a, { address: a }] } }, /stands twice in group 1/],
    ['a device that is a bystander too', { devices, groups: { 1: [{ address: a }] } }, /a device and a bystander/],
    ['a group without a number', { groups: loosely({ seven: [a] }) as never }, /seven is no number of a group/],
    ['the module for the driver', { devices: { [a]: { model: edu(), driver: 'vfio_pci' } } }, /called vfio-pci/],
    ['a driver that is no name', { groups: { 1: [{ address: a, driver: '../x' }] } }, /no name of a driver/],
    [
      'a driver that nobody knows',
      { groups: { 1: [{ address: a, driver: 'acme' }] } },
      /class of .* is not known.*acme/,
    ],
    ['a class of 32 bits', { groups: { 1: [{ address: a, class: 0x1060400 }] } }, /class of .* from 0 to 0xffffff/],
    ['half a megabyte of memlock', { memlock: 1.5 }, /memlock is 1\.5/],
    ['huge pages of a size that there is not', { hugePages: loosely({ '4M': 1 }) as never }, /hugePages has no 4M/],
    ['an IOMMU of 8 bits', { iommu: { addressBits: 8 } }, /addressBits is 8: from 20 to 64/],
    ['page sizes that are none', { iommu: { pageSizes: 0n } }, /0x201000n/],
    ['an aperture upside down', { iommu: { aperture: [0x2000n, 0xfffn] } }, /the aperture is 0x2000 to 0xfff/],
    ['an aperture of half a page', { iommu: { aperture: [0n, 0x7ffn] } }, /whole pages/],
    [
      'a range kept by nobody',
      { devices, iommu: { reserved: { '0000:09:00.0': [] } } },
      /0000:09:00\.0, which the mach/,
    ],
    [
      'a parameter that there is not',
      { modules: { vfio: loosely({ noiommu: true }) as never } },
      /modules\.vfio has no noi/,
    ],
    ['a module that there is not', { modules: loosely({ 'vfio-pci': {} }) as never }, /modules has no vfio-pci/],
    ['a right that there is not', { capabilities: loosely({ root: true }) as never }, /capabilities has no root/],
    ['a BAR of 3 KiB', described({ bars: [{ kind: 'memory', size: 3072 }] }), /BAR 0 of .* 3072 bytes: a power of two/],
    [
      'a BAR in the place of another',
      described({ bars: [{ ...memoryBar(4096), is64: true }, memoryBar(16)] }),
      /next slot/,
    ],
    ['configuration space of 64 bytes', described({ config: new Uint8Array(64) }), /64 bytes: 256 or 4096/],
  ])('%s', (_what, options, words) => {
    let thrown: unknown;
    try {
      simulation(options);
    } catch (error) {
      thrown = error;
    }
    if (!isVfioError(thrown)) throw thrown ?? new Error('it was taken');
    expect(thrown.code).toBe('ERR_VFIO_ARGUMENT');
    expect(thrown.summary).toMatch(words);
    expect(thrown.remedy).toMatch(/SimulationOptions/);
  });

  it('and one that can is not: a group with a bridge and a USB controller', () => {
    const bridge = { address: '0000:00:01.0', driver: 'pcieport' };
    const sim = simulation({ groups: { 7: [a, bridge, { address: '0000:01:00.1', driver: 'xhci_hcd' }] } });
    const classes = ['0000:00:01.0', a, '0000:01:00.1'].map((one) => sim.readFile(`/sys/bus/pci/devices/${one}/class`));
    expect(classes).toEqual(['0x060400\n', '0xff0000\n', '0x0c0330\n']);
    expect(sim.list('/sys/kernel/iommu_groups/7/devices')).toEqual([a, '0000:00:01.0', '0000:01:00.1']);
  });
});
