// Which folder may import which. The one place that says so; the check and the tests read it.
export const layers = {
  'packages/vfio-core': { name: 'vfio-core', imports: [] },
  'packages/vfio-pci': { name: 'vfio-pci', imports: ['vfio-core'] },
  'packages/vfio-irq': { name: 'vfio-irq', imports: ['vfio-core'] },
  'packages/vfio-noiommu': { name: 'vfio-noiommu', imports: ['vfio-core'] },
  'packages/vfio-sim': { name: 'vfio-sim', imports: ['vfio-core', 'vfio-pci'] },
  'packages/drivers-example': { name: 'vfio-drivers-example', imports: ['vfio-core', 'vfio-pci', 'vfio-irq'] },
  'packages/vfio-cli': {
    name: 'vfio-cli',
    imports: ['vfio-core', 'vfio-pci', 'vfio-irq', 'vfio-noiommu', 'vfio-sim', 'vfio-drivers-example'],
  },
};

/** The only library sources that may use `node:` modules, `process` or `Buffer`. */
export const nodeAllowed = ['packages/vfio-core/src/linux/', 'packages/vfio-sim/src/node/', 'packages/vfio-cli/'];
