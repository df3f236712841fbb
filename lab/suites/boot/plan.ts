import { nvme, plan } from '../../src/suite.js';

const slots = [['edu'], [nvme('disk0')]];
const disks = [{ name: 'disk0', bytes: 2 ** 26 }];

export default plan({
  title: '6.1 and 6.12 boot with VFIO, with and without an IOMMU, and run Node',
  runs: [
    { name: 'iommu', mode: 'iommu', slots, disks },
    { name: 'noiommu', mode: 'noiommu', slots, disks },
    { name: 'iommu-6.12', mode: 'iommu', kernel: '6.12', slots, disks },
    { name: 'noiommu-6.12', mode: 'noiommu', kernel: '6.12', slots, disks },
  ],
});
