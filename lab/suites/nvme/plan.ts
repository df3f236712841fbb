import { iommuFaultMessages, mebibytes, noiommuMessages, plan, type Run } from '../../src/suite.js';

const namespace = (nsid: number, drive: string, blockSize: number): string[] => [
  // Without it the drive ignores what Dataset Management deallocates.
  ...['-set', `drive.${drive}.discard=unmap`],
  '-device',
  `nvme-ns,bus=nvme1,drive=${drive},nsid=${nsid},logical_block_size=${blockSize},physical_block_size=${blockSize}`,
];

const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  slots: [['nvme,id=nvme1,serial=behaviour']],
  disks: [
    { name: 'disk1', bytes: mebibytes(16) },
    { name: 'disk2', bytes: mebibytes(16) },
  ],
  qemu: [...namespace(1, 'disk1', 512), ...namespace(2, 'disk2', 4096)],
  hugePages: name === 'noiommu' ? 32 : 0,
  seconds: 900,
  silentSeconds: 120,
  expected:
    name === 'noiommu'
      ? noiommuMessages
      : [
          {
            pattern: /DMAR: \[DMA Read NO_PASID\] Request device \[01:00\.0\] fault addr 0x700000000 /,
            reason: 'the suite lets the controller fetch commands and data where nothing is mapped',
            required: true,
          },
          {
            pattern: /DMAR: \[DMA Write NO_PASID\] Request device \[01:00\.0\] fault addr 0x700000000 /,
            reason: 'the suite lets the controller store data where nothing is mapped',
            required: true,
          },
          ...iommuFaultMessages,
        ],
});

export default plan({
  title: "what an NVMe controller does, case by case, on QEMU's controller behind the real kernel's VFIO",
  runs: [machine('iommu'), machine('noiommu')],
});
