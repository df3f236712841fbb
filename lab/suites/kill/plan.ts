import { mebibytes, noiommuMessages, nvme, plan, type Run } from '../../src/suite.js';

const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  memoryMiB: 2048,
  slots: [[nvme('disk')]],
  disks: [{ name: 'disk', bytes: mebibytes(256) }],
  hugePages: name === 'noiommu' ? 64 : 0,
  programs: ['watcher.c'],
  seconds: 1500,
  silentSeconds: 120,
  expected: name === 'noiommu' ? noiommuMessages : [],
});

export default plan({
  title: 'a process killed in the middle of writes, 20 times in one boot',
  runs: [machine('iommu'), machine('noiommu')],
});
