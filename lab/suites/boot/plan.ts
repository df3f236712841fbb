import { nvme, plan } from '../../src/suite.js';

const slots = [['edu'], [nvme('disk0')]];
const disks = [{ name: 'disk0', bytes: 2 ** 26 }];

export default plan({
  title: 'a kernel boots with VFIO, with and without an IOMMU, and runs Node',
  runs: [
    { name: 'iommu', mode: 'iommu', slots, disks },
    { name: 'noiommu', mode: 'noiommu', slots, disks },
  ],
});
