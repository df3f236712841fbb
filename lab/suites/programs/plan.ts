import { mebibytes, noiommuMessages, nvme, plan, type Run } from '../../src/suite.js';

const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  memoryMiB: 1536,
  // Without an IOMMU a physical address must be in edu's reach, wherever the huge page lies.
  slots: [[name === 'noiommu' ? 'edu,dma_mask=0xffffffff' : 'edu'], [nvme('disk')]],
  disks: [{ name: 'disk', bytes: mebibytes(64) }],
  carryModules: ['nvme'],
  hugePages: name === 'noiommu' ? 32 : 0,
  expected: name === 'noiommu' ? noiommuMessages : [],
});

export default plan({
  title: 'the programs of the guides on the real kernel and the real devices of QEMU',
  runs: [machine('iommu'), machine('noiommu')],
});
