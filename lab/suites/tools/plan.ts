import { mebibytes, noiommuMessages, nvme, plan, type Run } from '../../src/suite.js';

const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  memoryMiB: 1536,
  slots: [['edu'], [nvme('disk')]],
  disks: [{ name: 'disk', bytes: mebibytes(128) }],
  carryModules: ['nvme', 'ext4', 'crc32c_generic', 'dm_mod'],
  hugePages: name === 'noiommu' ? 64 : 0,
  seconds: 900,
  silentSeconds: 120,
  expected: [
    { pattern: /EXT4-fs .*mounted filesystem/, reason: 'the suite mounts the disk' },
    { pattern: /device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled/, reason: 'said when dm_mod is loaded' },
    ...(name === 'noiommu' ? noiommuMessages : []),
  ],
});

export default plan({
  title: 'the vfio command and the demo as a user starts them, on the real kernel',
  runs: [machine('iommu'), machine('noiommu')],
  tools: [
    { program: 'dmsetup', package: 'dmsetup' },
    { program: 'mkswap', package: 'util-linux' },
    { program: 'swapon', package: 'mount' },
  ],
});
