import { type Mode, plan, type Run } from '../../src/suite.js';

const boot = (name: string, plants: RegExp, mode: Mode = 'iommu', more: Partial<Run> = {}): Run => ({
  name,
  mode,
  plants,
  slots: [['edu']],
  ownModules: ['plant.c'],
  environment: { LAB_PLANT: name.replace(/^noiommu-/, '') },
  ...more,
});

export default plan({
  title: 'the lab reports runs that plant a fault, a warning, a hang, a panic, a failure',
  runs: [
    boot('iommu-fault', /DMAR: \[DMA Write.*fault addr 0x800000/, 'iommu', { programs: ['dma.c'] }),
    boot('warning', /WARNING: .*plant_init/),
    boot('noiommu-warning', /WARNING: .*plant_init/, 'noiommu'),
    boot('message', /planted message/),
    boot('oops', /BUG: kernel NULL pointer dereference/),
    boot('use-after-free', /BUG kmalloc-64 .*Poison overwritten/, 'iommu', {
      kernelArguments: ['slub_debug=FZPU'],
    }),
    boot('panic', /it panicked: Kernel panic - not syncing: sysrq triggered crash, during the test "planted"/),
    boot('hang', /it hung: no sign of life for 20 s, during the test "planted"/, 'iommu', { silentSeconds: 20 }),
    boot('endless', /it hung: not ended after 60 s, during the test "planted"/, 'iommu', { seconds: 60 }),
    boot('failed-test', /planted: Error: planted failure/),
    boot('early-end', /its program ended with code 0 before its last test, during the test "planted"/),
    boot('missing-message', /the kernel logs .*never said/, 'iommu', {
      expected: [{ pattern: /never said/, reason: 'planted', required: true }],
    }),
  ],
});
