import { describe, expect, it } from 'vitest';
import { edu } from './models/edu.js';
import { simulation } from './simulation.js';

const address = '0000:01:00.0';
const devicePath = `/sys/bus/pci/devices/${address}`;

describe('a machine from options', () => {
  it('[NOI-2] has no group for a device that its IOMMU does not cover, and no driver for it while no-IOMMU mode is off', () => {
    const sim = simulation({ devices: { [address]: { model: edu(), iommu: false } } });
    expect(sim.device(address).group).toBeUndefined();
    expect(sim.device(address).driver).toBeUndefined();
  });

  it('gives such a device a group without an IOMMU while no-IOMMU mode is on', () => {
    const sim = simulation({
      devices: { [address]: { model: edu(), iommu: false } },
      modules: { vfio: { enable_unsafe_noiommu_mode: true } },
    });
    const { group } = sim.device(address);
    expect(sim.list('/dev/vfio')).toEqual(['vfio', `noiommu-${group}`]);
  });

  it('refuses a device that is in a group and not covered by the IOMMU', () => {
    const options = { devices: { [address]: { model: edu(), iommu: false } }, groups: { 3: [address] } } as const;
    expect(() => simulation(options)).toThrow(/ERR_VFIO_ARGUMENT.*not covered by the IOMMU/);
  });

  it('[CTR-20] may lack the type1 module, in sysfs too', () => {
    const sim = simulation({ modules: { vfio_iommu_type1: 'not loaded' } });
    expect(sim.list('/sys/module')).not.toContain('vfio_iommu_type1');
    expect(simulation().list('/sys/module')).toContain('vfio_iommu_type1');
  });

  it('lets the process give up a right and take it again, and shows it in its status', () => {
    const sim = simulation({ devices: { [address]: edu() }, noiommu: true });
    const node = `/dev/vfio/noiommu-${sim.device(address).group}`;
    const rawio = () =>
      BigInt(`0x${/CapEff:\s+([0-9a-f]+)/.exec(sim.readFile('/proc/self/status') as string)?.[1]}`) & (1n << 17n);
    sim.grant({ sysRawio: false });
    expect([sim.open(node, 2), rawio()]).toEqual([-1, 0n]);
    sim.grant({ sysRawio: true });
    expect(sim.open(node, 2)).toBeGreaterThan(0);
    expect(rawio()).toBe(1n << 17n);
  });

  it('finds a function that was taken out by hand again, not one that was pulled out', () => {
    const sim = simulation({ devices: { [address]: edu() } });
    expect(sim.writeFile(`${devicePath}/remove`, '1')).toBe(0);
    expect(sim.status(devicePath)).toBe(-2);
    expect(sim.writeFile('/sys/bus/pci/rescan', '1')).toBe(0);
    expect(sim.status(devicePath)).toMatchObject({ type: 'link' });
    sim.device(address).unplug();
    expect(sim.writeFile('/sys/bus/pci/rescan', '1')).toBe(0);
    expect(sim.status(devicePath)).toBe(-2);
  });
});
