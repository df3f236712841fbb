import { iommuFaultMessages, noiommuMessages, plan, type Run } from '../../src/suite.js';

const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  memoryMiB: 1536,
  // Without an IOMMU a physical address must be in edu's reach, wherever the huge page lies.
  slots: [[name === 'noiommu' ? 'edu,dma_mask=0xffffffff' : 'edu']],
  hugePages: name === 'noiommu' ? 32 : 0,
  expected:
    name === 'noiommu'
      ? noiommuMessages
      : [
          {
            pattern: /DMAR: \[DMA Read NO_PASID\] Request device \[01:00\.0\] fault addr 0x5000000 /,
            reason: 'the suite lets the device read where nothing is mapped',
            required: true,
          },
          {
            pattern: /DMAR: \[DMA Write NO_PASID\] Request device \[01:00\.0\] fault addr 0x5010000 /,
            reason: 'the suite lets the device write where nothing is mapped',
            required: true,
          },
          {
            pattern: /DMAR: \[DMA Write NO_PASID\] Request device \[01:00\.0\] fault addr 0x[0-9a-f]+ /,
            reason: 'the suite lets the device write into a closed buffer and into one that it may only read',
          },
          ...iommuFaultMessages,
        ],
});

export default plan({
  title: "the edu driver on QEMU's edu device: registers, INTx with unmask, MSI, DMA both ways, refused DMA",
  runs: [machine('iommu'), machine('noiommu'), { ...machine('iommu'), name: 'iommu-6.12', kernel: '6.12' }],
});
