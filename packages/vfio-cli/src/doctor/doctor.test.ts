import { Errno, type SystemCalls } from 'vfio-core';
import { edu, type Simulation, type SimulationOptions, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { parsed, vfio } from '../testing.js';
import { type Check, type Diagnosis, diagnose } from './index.js';

const address = '0000:01:00.0';
const machine = (options: SimulationOptions = {}) => simulation({ devices: { [address]: edu() }, ...options });

function found(id: string, options: SimulationOptions, device: string | undefined = address): Check | undefined {
  const sim = machine(options);
  const check = diagnose(sim, device).checks.find((one) => one.id === id);
  expect(sim.openFds).toEqual([]);
  return check;
}

/** The same machine for another user: who it is comes from procfs, and the kernel keeps the nodes of root to root. */
function asUser(sim: Simulation, uid: number, closed: readonly string[]): SystemCalls {
  const other: Partial<SystemCalls> = {
    readFile: (path) => {
      const text = sim.readFile(path);
      return path === '/proc/self/status'
        ? String(text).replace(/^Uid:.*$/m, `Uid:\t${uid}\t${uid}\t${uid}\t${uid}`)
        : text;
    },
    open: (path, flags) => (closed.includes(path) ? -Errno.EACCES : sim.open(path, flags)),
  };
  return new Proxy<SystemCalls>(sim, {
    get: (target, name) => {
      const value = other[name as keyof SystemCalls] ?? target[name as keyof SystemCalls];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('vfio doctor', () => {
  it('finds nothing wrong where drivers run, and leaves nothing open', async () => {
    const sim = machine();
    const { code, out } = await vfio(sim, 'doctor', address);
    expect(code).toBe(0);
    expect(out).toMatch(/Drivers can run here\.$/);
    expect(out).not.toMatch(/FAILED/);
    expect(sim.openFds).toEqual([]);
  });

  it('tells by which way a device is reached, and looks at its group only where that is opened', () => {
    const ids = (system: SystemCalls) => diagnose(system, address).checks.map(({ id }) => id);
    const found = (system: SystemCalls) => diagnose(system, address).checks.find(({ id }) => id === 'way')?.found;
    const plain = machine();
    expect([found(plain), ids(plain).includes('group-access')]).toEqual([expect.stringMatching(/^container: /), true]);
    const files = machine({ kernel: '6.12', iommufd: true });
    expect([found(files), ids(files).includes('group-access')]).toEqual([expect.stringMatching(/^iommufd: /), false]);
    expect(files.openFds).toEqual([]);
  });

  it('ends with 1 where a check failed, and shows each cure', async () => {
    const sim = machine({ modules: 'not loaded' });
    const plain = await vfio(sim, 'doctor');
    expect(plain.code).toBe(1);
    expect(plain.out).toMatch(/FAILED +Module vfio-pci: not loaded\n +cure: modprobe vfio-pci/);
    const data = await vfio(sim, 'doctor', '--json');
    expect(data.code).toBe(1);
    expect(parsed<Diagnosis>(data).ok).toBe(false);
  });

  it.each<[string, SimulationOptions, Partial<Check>]>([
    ['iommu', { iommu: false }, { status: 'failed', cure: expect.stringContaining('intel_iommu=on') }],
    ['iommu', { noiommu: true }, { status: 'warning', found: expect.stringContaining('no-IOMMU mode is on') }],
    [
      'group',
      { noiommu: true, devices: { [address]: { model: edu(), driver: null } } },
      { status: 'failed', cure: `vfio bind ${address} --yes` },
    ],
    ['iommu', {}, { status: 'ok', found: 'on, 1 groups' }],
    ['module-vfio-pci', { modules: 'not loaded' }, { status: 'failed', cure: 'modprobe vfio-pci' }],
    ['container-node', { modules: 'not loaded' }, { status: 'failed', cure: 'modprobe vfio-pci' }],
    [
      'driver',
      { devices: { [address]: { model: edu(), driver: null } } },
      { status: 'failed', cure: `vfio bind ${address} --yes` },
    ],
    [
      'group',
      { groups: { 5: [address, { address: '0000:01:00.1', driver: 'snd_hda_intel' }] } },
      {
        status: 'failed',
        found: expect.stringMatching(/0000:01:00\.1 \(.*, snd_hda_intel\)/),
        cure: 'vfio bind 0000:01:00.1 --yes',
      },
    ],
    [
      'memlock',
      { memlock: 8 << 20 },
      { status: 'warning', found: expect.stringContaining('8192 KiB'), cure: expect.stringContaining('ulimit -l') },
    ],
    ['memlock', { memlock: 8 << 20, capabilities: { ipcLock: true } }, { status: 'ok' }],
    ['memlock', {}, { status: 'ok', found: 'unlimited' }],
    [
      'parameter-allow_unsafe_interrupts',
      { modules: { vfio_iommu_type1: { allow_unsafe_interrupts: true } } },
      { status: 'warning', cure: expect.stringContaining('echo N > /sys/module/vfio_iommu_type1') },
    ],
    [
      'parameter-enable_unsafe_noiommu_mode',
      { noiommu: true },
      { status: 'warning', cure: expect.stringContaining('/sys/module/vfio/') },
    ],
    ['parameter-disable_idle_d3', { modules: { vfio_pci: { disable_idle_d3: true } } }, { status: 'info' }],
    [
      'parameter-nointxmask',
      { modules: { vfio_pci: { nointxmask: true } } },
      { status: 'info', found: expect.stringContaining('exclusive interrupt line') },
    ],
    ['parameter-nointxmask', {}, { status: 'ok', found: 'N' }],
    [
      'parameter-dma_entry_limit',
      { modules: { vfio_iommu_type1: { dma_entry_limit: 16 } } },
      { status: 'info', found: '16 mappings in a container' },
    ],
    [
      'parameter-disable_denylist',
      { modules: { vfio_pci: { disable_denylist: true } } },
      { status: 'warning', cure: expect.stringContaining('disable_denylist=0') },
    ],
    [
      'module-type1',
      { modules: { vfio_iommu_type1: 'not loaded' } },
      { status: 'warning', cure: 'modprobe vfio_iommu_type1' },
    ],
    [
      'group-access',
      { noiommu: true, capabilities: { sysRawio: false } },
      { status: 'failed', found: expect.stringContaining('CAP_SYS_RAWIO') },
    ],
  ])('%s with %o', (id, options, wanted) => {
    expect(found(id, options)).toMatchObject(wanted);
  });

  it('a machine in no-IOMMU mode runs drivers: nothing fails, and what is missing is a warning', () => {
    const { ok, checks } = diagnose(machine({ noiommu: true }), address);
    expect(checks.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(ok).toBe(true);
    expect(checks.filter(({ status }) => status === 'warning').map(({ id }) => id)).toContain('iommu');
  });

  it('a kernel with device files alone runs drivers too', () => {
    const { ok, checks } = diagnose(machine({ kernel: '6.12', build: { VFIO_GROUP: false } }), address);
    expect(checks.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(ok).toBe(true);
  });

  it('names the node that a user may not open, and the command that gives it to them', () => {
    const sim = machine({ groups: { 5: [address] } });
    const { checks, ok } = diagnose(asUser(sim, 1000, ['/dev/vfio/vfio']), address);
    expect(ok).toBe(false);
    expect(checks.find(({ id }) => id === 'container-access')).toMatchObject({
      status: 'failed',
      found: 'permission denied',
      cure: 'chmod 0666 /dev/vfio/vfio',
    });
    expect(checks.find(({ id }) => id === 'group-access')).toMatchObject({
      status: 'failed',
      found: 'owner 0, mode 600: not yours',
      cure: 'sudo chown 1000 /dev/vfio/5',
    });
    expect(sim.openFds).toEqual([]);
  });

  it('an address where nothing is, is a finding', () => {
    expect(found('device', {}, '0000:1f:00.0')).toMatchObject({ status: 'failed', cure: 'vfio list' });
  });

  it('without an address every bound device is checked, and none at all is a warning', () => {
    expect(diagnose(machine()).checks.filter(({ id }) => id === 'driver')).toHaveLength(1);
    const none = diagnose(simulation({ devices: { [address]: { model: edu(), driver: null } } }));
    expect(none.checks.find(({ id }) => id === 'devices')).toMatchObject({ status: 'warning' });
    expect(none.ok).toBe(true);
  });
});
