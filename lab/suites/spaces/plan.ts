import { mebibytes, nvme, plan, type Run } from '../../src/suite.js';

/** The machine of tests/spaces-behaviour: edu shares its group with the second disk. */
const machine: Omit<Run, 'name'> = {
  mode: 'iommu',
  memoryMiB: 4608,
  slots: [[nvme('disk')], ['edu,addr=0.0,multifunction=on', nvme('other', 'addr=0.1')]],
  disks: ['disk', 'other'].map((disk) => ({ name: disk, bytes: mebibytes(16) })),
  // Two of each size: a space unmaps one while another is still being given back.
  kernelArguments: ['hugepagesz=1G', 'hugepages=1', 'hugepagesz=2M', 'hugepages=16'],
  scripts: ['heir.ts'],
  seconds: 900,
  silentSeconds: 240,
};

export default plan({
  title:
    'address spaces by each way into the kernel: every kind of memory under an NVMe disk, several devices, several spaces',
  runs: [
    { ...machine, name: 'type1', kernel: '6.1' },
    { ...machine, name: 'iommufd', kernel: '6.12' },
  ],
});
