import { plan, type Run } from '../../src/suite.js';

/** How often things are done can be set: `SPEED_ROUNDS=1` for a look. */
const iommu: Run = {
  name: 'iommu',
  mode: 'iommu',
  memoryMiB: 6144,
  // On the root bus, where nothing can reset it: what is measured is opening, not a reset.
  qemu: ['-device', 'edu,bus=pcie.0,addr=5.0'],
  hugePages: 16,
  kernelArguments: ['hugepagesz=1G', 'hugepages=1'],
  programs: ['calls.c'],
  environment: { SPEED_ROUNDS: process.env.SPEED_ROUNDS ?? '' },
  seconds: 3600,
  silentSeconds: 600,
};

export default plan({
  title: 'what mapping, unmapping and opening cost, beside the same calls in C in the same boot',
  runs: [iommu, { ...iommu, name: 'iommu-6.12', kernel: '6.12' }],
});
