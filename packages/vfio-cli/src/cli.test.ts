import { edu, memoryDisk, nvmeController, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { parsed, vfio } from './testing.js';

const free = '0000:01:00.0';
const hosted = '0000:02:00.0';
const machine = () =>
  simulation({
    devices: {
      [free]: edu(),
      [hosted]: { model: nvmeController({ disks: [memoryDisk(1 << 20)] }), driver: 'nvme' },
    },
    groups: { 7: [free], 8: [hosted] },
  });

describe('vfio list', () => {
  it('names every function with its driver and group, as a table and as JSON', async () => {
    const sim = machine();
    const table = await vfio(sim, 'list');
    expect(table.code).toBe(0);
    expect(table.out.split('\n')[0]).toMatch(/ADDRESS\s+ID\s+DRIVER\s+GROUP\s+CLASS\s+NAME/);
    expect(table.out).toMatch(/0000:01:00\.0\s+1234:11e8\s+vfio-pci\s+7\s/);
    expect(table.out).toMatch(/0000:02:00\.0\s+\S+\s+nvme\s+8\s/);
    const listed = parsed<object[]>(await vfio(sim, 'list', '--json'));
    expect(listed).toMatchObject([
      { address: free, vendor: 0x1234, device: 0x11e8, driver: 'vfio-pci', iommuGroup: 7, noiommu: false },
      { address: hosted, driver: 'nvme', iommuGroup: 8, bridge: false },
    ]);
    expect(parsed<object[]>(await vfio(sim, 'list', '--bound', '--json'))).toHaveLength(1);
  });

  it('says so where there is nothing', async () => {
    expect(await vfio(simulation(), 'list')).toEqual({ code: 0, out: 'No PCI function found.', err: '' });
  });
});

describe('vfio info', () => {
  it('shows regions, interrupts and capabilities of a device that can be opened, and closes it again', async () => {
    const sim = machine();
    const info = parsed(await vfio(sim, 'info', free, '--json'));
    expect(info).toMatchObject({
      address: free,
      driver: 'vfio-pci',
      iommuGroup: 7,
      inUse: [],
      notOpened: null,
      opened: { capabilities: [{ id: 5, name: 'MSI' }] },
    });
    const { opened } = info as { opened: { regions: object[]; interrupts: object[] } };
    expect(opened.regions).toContainEqual(expect.objectContaining({ index: 0, size: 1 << 20, mappable: true }));
    expect(opened.interrupts).toContainEqual(expect.objectContaining({ name: 'MSI', count: 1 }));
    expect(sim.openFds).toEqual([]);
    const { out, code } = await vfio(sim, 'info', free);
    expect(code).toBe(0);
    expect(out).toMatch(/BAR 0/);
  });

  it('says why a device was not opened', async () => {
    const { out, code } = await vfio(machine(), 'info', hosted, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ opened: null, notOpened: expect.stringContaining('bound to nvme') });
  });
});

describe('vfio bind and unbind', () => {
  it('say each step and change nothing without --yes', async () => {
    const sim = machine();
    const { code, out } = await vfio(sim, 'bind', hosted);
    expect(code).toBe(0);
    expect(out).toMatch(/0000:02:00\.0: nvme -> vfio-pci/);
    expect(out).toMatch(/write .* to \/sys\/bus\/pci\/devices\/0000:02:00\.0\/driver_override/);
    expect(out).toMatch(/Nothing was changed\. Run it again with --yes/);
    expect(sim.device(hosted).driver).toBe('nvme');
    expect(parsed(await vfio(sim, 'bind', hosted, '--json'))).toMatchObject({ done: false, plans: [{ from: 'nvme' }] });
    expect(sim.device(hosted).driver).toBe('nvme');
  });

  it('do it with --yes, and give the function back to the driver that it had', async () => {
    const sim = machine();
    expect(await vfio(sim, 'bind', hosted, '--yes')).toMatchObject({ code: 0, out: `${hosted}: nvme -> vfio-pci` });
    expect(sim.device(hosted).driver).toBe('vfio-pci');
    expect(await vfio(sim, 'unbind', hosted, '--yes')).toMatchObject({ code: 0 });
    expect(sim.device(hosted).driver).toBe('nvme');
  });

  it('say what was changed before a function that fails, and what its group still needs', async () => {
    const sim = simulation({
      devices: {
        '0000:03:00.0': { model: edu(), driver: null },
        '0000:03:00.1': { model: nvmeController({ disks: [memoryDisk(1 << 20)] }), driver: 'nvme' },
        '0000:04:00.0': { model: edu(), driver: null, iommu: false },
      },
      groups: { 3: ['0000:03:00.0', '0000:03:00.1'] },
    });
    const { code, out, err } = await vfio(sim, 'bind', '0000:03:00.0', '0000:04:00.0', '--yes');
    expect(code).toBe(1);
    expect(out).toBe(
      '0000:03:00.0: no driver -> vfio-pci\n  its group cannot be used yet: vfio bind 0000:03:00.1 --yes',
    );
    expect(err).toMatch(/^ERR_VFIO_NO_IOMMU: 0000:04:00\.0/);
    expect([sim.device('0000:03:00.0').driver, sim.device('0000:04:00.0').driver]).toEqual(['vfio-pci', undefined]);
  });

  it('say with --json too what was changed before the one that failed', async () => {
    const sim = simulation({
      devices: {
        '0000:03:00.0': { model: edu(), driver: null },
        '0000:04:00.0': { model: edu(), driver: null, iommu: false },
      },
    });
    const { code, out, err } = await vfio(sim, 'bind', '0000:03:00.0', '0000:04:00.0', '--yes', '--json');
    expect([code, err]).toEqual([1, '']);
    expect(JSON.parse(out)).toMatchObject({
      done: false,
      plans: [{ address: '0000:03:00.0' }, { address: '0000:04:00.0' }],
      results: [{ address: '0000:03:00.0', driver: 'vfio-pci' }],
      failed: '0000:04:00.0',
      error: { code: 'ERR_VFIO_NO_IOMMU', remedy: expect.any(String) },
    });
  });

  it('make all plans before the first is carried out, so that a wrong address changes nothing', async () => {
    const sim = machine();
    const { code, err } = await vfio(sim, 'bind', hosted, '0000:09:00.0', '--yes');
    expect(code).toBe(1);
    expect(err).toMatch(/^ERR_VFIO_NO_DEVICE: /);
    expect(sim.device(hosted).driver).toBe('nvme');
  });
});

describe('the command line', () => {
  it.each([
    [['lst'], /unknown command 'lst'/],
    [['list', '--colour'], /unknown option '--colour'/],
    [['info'], /missing required argument 'address'/],
    [['list', 'extra', 'words'], /too many arguments/],
  ])('%j is wrong usage: exit code 2, and what is wrong', async (args, wanted) => {
    const { code, err } = await vfio(machine(), ...args);
    expect(code).toBe(2);
    expect(err).toMatch(wanted);
  });

  it('prints its help, which is no failure', async () => {
    const { code, out } = await vfio(machine(), '--help');
    expect(code).toBe(0);
    for (const command of ['list', 'info', 'bind', 'unbind', 'doctor']) expect(out).toContain(command);
  });

  it('an error goes to the error output, or with --json as data to the output', async () => {
    const plain = await vfio(machine(), 'info', 'nonsense');
    expect(plain).toMatchObject({ code: 1, out: '' });
    expect(plain.err).toMatch(/^ERR_VFIO_ARGUMENT: /);
    const data = await vfio(machine(), 'info', '0000:1f:00.0', '--json');
    expect(data).toMatchObject({ code: 1, err: '' });
    expect(JSON.parse(data.out)).toMatchObject({ error: { code: 'ERR_VFIO_NO_DEVICE', remedy: expect.any(String) } });
  });
});
