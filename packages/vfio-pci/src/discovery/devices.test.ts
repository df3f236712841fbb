import { describe, expect, it } from 'vitest';
import { FakeMachine } from '../testing/fake-machine.js';
import { parseResources } from './devices.js';
import { devices, findDevice } from './index.js';
import { parsePciIds } from './pci-ids.js';

const code = (expected: string) => expect.objectContaining({ code: expected });

const ids = `# comment
1b36  Red Hat, Inc.
\t0001  QEMU PCI-PCI bridge
\t0010  QEMU NVM Express Controller
\t\t1af4 1100  QEMU Virtual Machine
8086  Intel Corporation
\t0010  Something of Intel
C 01  Mass storage controller
\t08  Non-Volatile memory controller
`;

const resource = [
  '0x00000000febf0000 0x00000000febf3fff 0x0000000000140204',
  '0x0000000000000000 0x0000000000000000 0x0000000000000000',
  '0x000000000000c000 0x000000000000c01f 0x0000000000040101',
].join('\n');

function machine() {
  return new FakeMachine({
    '0000:01:00.1': { class: 0x040300, driver: 'snd_hda_intel', group: 7 },
    '0000:01:00.0': { driver: 'nvme', group: 7, resource },
    '0000:00:1c.0': { class: 0x060400, headerType: 0x81, driver: 'pcieport' },
  });
}

describe('devices()', () => {
  it('lists functions in the order of their addresses, with ids, drivers and groups', () => {
    const found = devices({ backend: machine().system });
    expect(found.map((fn) => [fn.address, fn.driver, fn.iommuGroup?.id, fn.isBridge])).toEqual([
      ['0000:00:1c.0', 'pcieport', undefined, true],
      ['0000:01:00.0', 'nvme', 7, false],
      ['0000:01:00.1', 'snd_hda_intel', 7, false],
    ]);
    expect(found[1]).toMatchObject({
      vendor: 0x1b36,
      device: 0x0010,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      classCode: 0x010802,
      revision: 2,
      className: 'Non-Volatile memory controller',
      numaNode: -1,
    });
  });

  it('closes every file that it looked into', () => {
    const here = machine();
    devices({ backend: here.system });
    expect(here.leaks).toEqual([]);
  });

  it('is empty where there is no PCI', () => {
    expect(devices({ backend: new FakeMachine().system })).toEqual([]);
  });

  it('takes names from the machine’s pci.ids, else shows class and ids', () => {
    const here = machine();
    expect(findDevice('01:00.0', { backend: here.system }).name).toBe('Non-Volatile memory controller [1b36:0010]');
    here.files.set('/usr/share/hwdata/pci.ids', ids);
    expect(findDevice('01:00.0', { backend: here.system }).name).toBe('Red Hat, Inc. QEMU NVM Express Controller');
    here.add('0000:02:00.0', { vendor: 0x8086, device: 0xffff, class: 0x020000 });
    expect(findDevice('02:00.0', { backend: here.system }).name).toBe(
      'Intel Corporation Ethernet controller [8086:ffff]',
    );
  });

  it('tells the members of a group and which of them are in the way', () => {
    const members = findDevice('0000:01:00.0', { backend: machine().system }).iommuGroup?.members();
    expect(members?.map((one) => [one.address, one.driver, one.blocksGroup])).toEqual([
      ['0000:01:00.0', 'nvme', true],
      ['0000:01:00.1', 'snd_hda_intel', true],
    ]);
  });

  it('[NOI-6] knows a group of no-IOMMU mode by its name', () => {
    const here = machine();
    expect(findDevice('01:00.0', { backend: here.system }).iommuGroup?.noiommu).toBe(false);
    here.files.set('/sys/kernel/iommu_groups/7/name', 'vfio-noiommu\n');
    expect(findDevice('01:00.0', { backend: here.system }).iommuGroup?.noiommu).toBe(true);
  });

  it('sees a driver override', () => {
    const here = new FakeMachine({ '0000:01:00.0': { override: 'vfio-pci' } });
    expect(findDevice('01:00.0', { backend: here.system }).driverOverride).toBe('vfio-pci');
  });
});

describe('findDevice()', () => {
  it('answers ERR_VFIO_NO_DEVICE to an absent device, with those that there are', () => {
    const backend = machine().system;
    expect(() => findDevice('0000:05:00.0', { backend })).toThrow(code('ERR_VFIO_NO_DEVICE'));
    try {
      findDevice('0000:05:00.0', { backend });
    } catch (thrown) {
      expect((thrown as { details: { present: string[] } }).details.present).toContain('0000:01:00.0');
    }
  });

  it.each(['', '1', '0000:01:00', '0000:01:00.8', '0000:01:20.0', '0000:01:00.0/../x', 'gggg:01:00.0', null])(
    'answers ERR_VFIO_ARGUMENT to %j',
    (address) => {
      expect(() => findDevice(address as string, { backend: machine().system })).toThrow(code('ERR_VFIO_ARGUMENT'));
    },
  );
});

describe('what the kernel writes', () => {
  it('BARs: start, end and flags', () => {
    expect(parseResources(resource)).toEqual([
      { index: 0, size: 0x4000, kind: 'memory', is64: true, prefetchable: false, start: 0xfebf0000n },
      { index: 2, size: 32, kind: 'io', is64: false, prefetchable: false, start: 0xc000n },
    ]);
    expect(parseResources('rubbish\n0x1 0x0 0x200\n')).toEqual([]);
  });

  it('pci.ids: a device under its vendor only, no subsystem and no class', () => {
    const look = parsePciIds(ids, [
      { vendor: 0x1b36, device: 0x0010 },
      { vendor: 0x8086, device: 0x0001 },
    ]);
    expect(look({ vendor: 0x1b36, device: 0x0010 })).toEqual({
      vendor: 'Red Hat, Inc.',
      device: 'QEMU NVM Express Controller',
    });
    expect(look({ vendor: 0x8086, device: 0x0001 })).toEqual({ vendor: 'Intel Corporation' });
    expect(look({ vendor: 0x0001, device: 0x0001 })).toEqual({});
  });
});
