import { describe, expect, it } from 'vitest';
import { type BootFiles, qemuArguments } from './qemu.js';

const files: BootFiles = {
  image: '/vmlinuz',
  initrd: '/initrd',
  folder: '/run-folder',
  monitor: '/m',
  results: '/r',
  shares: ['/checkout'],
  images: { disk0: '/disk0.img' },
};

describe('the machine', () => {
  it('has an IOMMU only in the mode that asks for one', () => {
    const has = (mode: 'iommu' | 'noiommu') =>
      qemuArguments({ name: 'x', mode }, files).some((word) => word.startsWith('intel-iommu'));
    expect([has('iommu'), has('noiommu')]).toEqual([true, false]);
  });

  it('puts each slot behind a root port of its own, in order, and names the port to every device of it', () => {
    const slots = [['edu'], ['nvme,drive=disk0,addr=0.0', 'nvme,addr=0.1']];
    const devices = qemuArguments({ name: 'x', mode: 'noiommu', slots }, files).filter(
      (_, i, all) => all[i - 1] === '-device',
    );
    expect(devices).toEqual([
      'pcie-root-port,id=port1,bus=pcie.0,addr=10.0,chassis=1,slot=1',
      'edu,bus=port1',
      'pcie-root-port,id=port2,bus=pcie.0,addr=11.0,chassis=2,slot=2',
      'nvme,drive=disk0,addr=0.0,bus=port2',
      'nvme,addr=0.1,bus=port2',
    ]);
  });

  it('gives each disk its image, and the options that the plan has for it', () => {
    const disks = [{ name: 'disk0', bytes: 4096, options: 'throttling.iops-read=100' }];
    const drives = qemuArguments({ name: 'x', mode: 'iommu', disks }, files).filter(
      (_, i, all) => all[i - 1] === '-drive',
    );
    expect(drives).toEqual(['file=/disk0.img,if=none,id=disk0,format=raw,cache=unsafe,throttling.iops-read=100']);
  });

  it('shares the host for reading only, and the folder of the run for writing', () => {
    const shares = qemuArguments({ name: 'x', mode: 'iommu' }, files).filter((_, i, all) => all[i - 1] === '-virtfs');
    expect(shares.filter((share) => !share.includes('readonly=on'))).toEqual([
      'local,path=/run-folder,mount_tag=run,security_model=none,multidevs=remap',
    ]);
    expect(shares).toHaveLength(3);
  });
});
