import { describe, expect, it } from 'vitest';
import { FakeMachine } from '../testing/fake-machine.js';
import { bind, bindPlan, hostUsage, unbind, unbindPlan } from './index.js';
import { memoryPath } from './memory.js';

const address = '0000:01:00.0';
const [EINVAL, EACCES, EIO] = [22, 13, 5];
const code = (expected: string, details: object = {}) =>
  expect.objectContaining({ code: expected, details: expect.objectContaining(details) });

function machine(more: Parameters<FakeMachine['add']>[1] = {}) {
  const fake = new FakeMachine({ [address]: { driver: 'nvme', group: 7, ...more } });
  return { fake, backend: fake.system };
}

/** A disk of the device with two partitions. */
function disk(fake: FakeMachine, folder = '/sys/block/nvme0n1') {
  fake.links.set(folder, `../devices/pci0000:00/${address}/nvme/nvme0/nvme0n1`);
  fake.files.set(`${folder}/dev`, '259:0\n');
  for (const part of [1, 2]) {
    fake.files.set(`${folder}/nvme0n1p${part}/dev`, `259:${part}\n`);
    fake.files.set(`${folder}/nvme0n1p${part}/partition`, `${part}\n`);
  }
}

describe('bind', () => {
  it('says its steps first and does nothing then', () => {
    const { fake, backend } = machine();
    const plan = bindPlan('01:00.0', { backend });
    expect(plan).toMatchObject({ address, from: 'nvme', to: 'vfio-pci' });
    expect(plan.steps.map(({ path, value }) => [path, value])).toEqual([
      [`/sys/bus/pci/devices/${address}/driver_override`, 'vfio-pci'],
      ['/sys/bus/pci/drivers/nvme/unbind', address],
      ['/sys/bus/pci/drivers_probe', address],
    ]);
    expect(bind(address, { backend, dryRun: true })).toMatchObject({ changed: false, driver: 'nvme' });
    expect(fake.writes).toEqual([]);
  });

  it('binds, and unbind of another process gives the former driver and override back', () => {
    const { fake, backend } = machine({ override: 'nvme' });
    expect(bind(address, { backend })).toMatchObject({
      changed: true,
      driver: 'vfio-pci',
      remembered: memoryPath(address),
    });
    expect([fake.driver(address), fake.override(address)]).toEqual(['vfio-pci', 'vfio-pci']);
    expect(unbind(address, { backend: fake.system })).toMatchObject({ changed: true, from: 'vfio-pci', to: 'nvme' });
    expect([fake.driver(address), fake.override(address)]).toEqual(['nvme', 'nvme']);
    expect(fake.files.has(memoryPath(address))).toBe(false);
  });

  it('gives a device without a driver back to none', () => {
    const fake = new FakeMachine({ [address]: { native: 'nvme' } });
    bind(address, { backend: fake.system });
    unbind(address, { backend: fake.system });
    expect([fake.driver(address), fake.override(address)]).toEqual([undefined, '(null)']);
  });

  it('has nothing to do where the driver is the right one already', () => {
    const { fake, backend } = machine({ driver: 'vfio-pci' });
    expect(bind(address, { backend })).toMatchObject({ changed: false, steps: [], driver: 'vfio-pci' });
    expect(fake.writes).toEqual([]);
  });

  it('works without a memory, where it cannot be written', () => {
    const { fake, backend } = machine();
    fake.refuse = (path) => (path.startsWith('/run/') ? -EACCES : undefined);
    expect(bind(address, { backend }).remembered).toBeUndefined();
    unbind(address, { backend });
    expect([fake.driver(address), fake.override(address)]).toEqual(['nvme', '(null)']);
  });

  it('does not believe a memory of another device, or one that is spoilt', () => {
    for (const text of [
      '{"vendor":1,"device":2,"driver":"other"}',
      'rubbish',
      '"text"',
      '{"vendor":6966,"device":16,"driver":"../x"}',
    ]) {
      const { fake, backend } = machine({ driver: 'vfio-pci', native: 'nvme' });
      fake.files.set(memoryPath(address), text);
      expect(unbindPlan(address, { backend }).to).toBeUndefined();
    }
  });

  it('names the members of the group that are still in the way', () => {
    const { fake, backend } = machine();
    fake.add('0000:01:00.1', { driver: 'snd_hda_intel', group: 7 });
    expect(bind(address, { backend }).stillToBind).toEqual(['0000:01:00.1']);
  });

  it('is undone when the driver refuses, and tells the kernel’s reason', () => {
    const { fake, backend } = machine();
    fake.failing.set('vfio-pci', EINVAL);
    expect(() => bind(address, { backend })).toThrow(code('ERR_VFIO_BIND', { rolledBack: true, driver: 'nvme' }));
    expect(() => bind(address, { backend })).toThrow(/EINVAL/);
    expect([fake.driver(address), fake.override(address)]).toEqual(['nvme', '(null)']);
    expect(fake.files.has(memoryPath(address))).toBe(false);
  });

  it.each(['driver_override', 'unbind', 'drivers_probe'])('is undone when the write to %s fails', (where) => {
    const { fake, backend } = machine();
    let failed = 0;
    fake.refuse = (path) => (path.endsWith(where) && failed++ === 0 ? -EIO : undefined);
    expect(() => bind(address, { backend })).toThrow(code('ERR_VFIO_BIND', { rolledBack: true }));
    expect([fake.driver(address), fake.override(address)]).toEqual(['nvme', '(null)']);
  });

  it('says so when it could not be undone', () => {
    const { fake, backend } = machine();
    fake.failing.set('vfio-pci', EINVAL);
    fake.failing.set('nvme', EIO);
    expect(() => bind(address, { backend })).toThrow(/could not be put back: it has no driver now/);
  });

  it('answers ERR_VFIO_NO_IOMMU where vfio-pci refuses a device without a group', () => {
    const fake = new FakeMachine({ [address]: { driver: 'nvme' } });
    fake.failing.set('vfio-pci', EINVAL);
    expect(() => bind(address, { backend: fake.system })).toThrow(code('ERR_VFIO_NO_IOMMU'));
    expect(fake.driver(address)).toBe('nvme');
  });

  it('answers ERR_VFIO_PERMISSION to anybody but root', () => {
    const { fake, backend } = machine();
    fake.refuse = () => -EACCES;
    expect(() => bind(address, { backend })).toThrow(code('ERR_VFIO_PERMISSION'));
    expect(fake.driver(address)).toBe('nvme');
  });

  it('answers ERR_VFIO_NOT_LOADED where there is no such driver', () => {
    const { fake, backend } = machine();
    fake.drivers.delete('vfio-pci');
    expect(() => bind(address, { backend })).toThrow(code('ERR_VFIO_NOT_LOADED'));
    expect(() => bind(address, { backend })).toThrow('modprobe vfio-pci');
    expect(fake.writes).toEqual([]);
  });

  it('refuses bridges, wrong addresses, absent devices and names that are no drivers', () => {
    const { fake, backend } = machine();
    fake.add('0000:00:1c.0', { class: 0x060400, headerType: 1, driver: 'pcieport' });
    expect(() => bind('0000:00:1c.0', { backend })).toThrow(code('ERR_VFIO_BIND'));
    expect(() => bind('nonsense', { backend })).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => bind('0000:09:00.0', { backend })).toThrow(code('ERR_VFIO_NO_DEVICE'));
    expect(() => bind(address, { backend, driver: '../nvme' })).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => unbind(address, { backend, to: '' })).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(fake.writes).toEqual([]);
  });

  it('refuses a disk in use before anything is written', () => {
    const { fake, backend } = machine();
    disk(fake);
    fake.files.set('/proc/self/mountinfo', '31 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n');
    expect(() => bind(address, { backend })).toThrow(code('ERR_VFIO_DEVICE_IN_USE', { usage: expect.any(Array) }));
    expect(() => bind(address, { backend })).toThrow('nvme0n1p1 is mounted at /');
    expect(fake.writes).toEqual([]);
  });
});

describe('unbind', () => {
  it('gives a device to the driver that is asked for', () => {
    const { fake, backend } = machine();
    fake.drivers.add('uio_pci_generic');
    bind(address, { backend });
    unbind(address, { backend, to: 'uio_pci_generic' });
    expect([fake.driver(address), fake.override(address)]).toEqual(['uio_pci_generic', '(null)']);
  });

  it('answers ERR_VFIO_NOT_BOUND to a device that a host driver has', () => {
    expect(() => unbind(address, { backend: machine().backend })).toThrow(
      code('ERR_VFIO_NOT_BOUND', { driver: 'nvme' }),
    );
  });

  it('answers ERR_VFIO_BUSY while a program has the group open, since the kernel would wait for its end', () => {
    const { fake, backend } = machine({ driver: 'vfio-pci', native: 'nvme' });
    fake.files.set('/proc/41/comm', 'node\n');
    fake.links.set('/proc/41/fd/20', '/dev/vfio/7');
    fake.links.set('/proc/42/fd/20', '/dev/vfio/8');
    expect(() => unbind(address, { backend })).toThrow(
      code('ERR_VFIO_BUSY', { processes: [{ pid: 41, command: 'node' }] }),
    );
    expect(fake.writes).toEqual([]);
  });

  it('is undone when the former driver refuses', () => {
    const { fake, backend } = machine();
    bind(address, { backend });
    fake.failing.set('nvme', EIO);
    expect(() => unbind(address, { backend })).toThrow(code('ERR_VFIO_BIND', { rolledBack: true, driver: 'vfio-pci' }));
    expect([fake.driver(address), fake.override(address)]).toEqual(['vfio-pci', 'vfio-pci']);
    fake.failing.clear();
    unbind(address, { backend });
    expect(fake.driver(address)).toBe('nvme');
  });
});

describe('hostUsage', () => {
  it('finds mounts by device number and by name, with blanks in their paths', () => {
    const { fake, backend } = machine();
    disk(fake);
    fake.files.set(
      '/proc/self/mountinfo',
      '31 1 259:1 / /a\\040b rw shared:1 - ext4 /dev/root rw\n32 1 0:40 /sub /btrfs rw - btrfs /dev/nvme0n1p2 rw\n33 1 8:1 / /other rw - ext4 /dev/sda1 rw\n',
    );
    expect(hostUsage(address, { backend }).map((use) => [use.kind, use.block, use.by])).toEqual([
      ['mount', 'nvme0n1p1', '/a b'],
      ['mount', 'nvme0n1p2', '/btrfs'],
    ]);
  });

  it('finds mounts of the first process, swap, and block devices on top', () => {
    const { fake, backend } = machine();
    disk(fake);
    fake.files.set('/proc/1/mountinfo', '31 1 259:0 / /host rw - ext4 /dev/nvme0n1 rw\n');
    fake.files.set('/proc/swaps', 'Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n');
    fake.links.set('/sys/block/nvme0n1/nvme0n1p2/holders/dm-0', '../../dm-0');
    expect(hostUsage('01:00.0', { backend }).map((use) => use.description)).toEqual([
      'nvme0n1 is mounted at /host',
      'nvme0n1p1 is in use as swap: /dev/nvme0n1p1',
      'nvme0n1p2 is held by dm-0',
    ]);
  });

  it('finds a disk behind native multipath, whose own path leads elsewhere', () => {
    const { fake, backend } = machine();
    disk(fake);
    fake.links.set('/sys/block/nvme0n1', '../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1');
    fake.files.set(`/sys/bus/pci/devices/${address}/nvme/nvme0/nvme0c0n1/dev`, '');
    fake.files.set('/proc/swaps', '/dev/nvme0n1p1 partition 1 0 -2\n');
    expect(hostUsage(address, { backend })).toHaveLength(1);
  });

  it('is empty for a free disk, another device’s disk, and a device without one', () => {
    const { fake, backend } = machine();
    expect(hostUsage(address, { backend })).toEqual([]);
    disk(fake);
    expect(hostUsage(address, { backend })).toEqual([]);
    fake.add('0000:02:00.0', {});
    fake.files.set('/proc/self/mountinfo', '31 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n');
    expect(hostUsage('0000:02:00.0', { backend })).toEqual([]);
  });
});
