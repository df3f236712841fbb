import { iommuFaultMessages, mebibytes, noiommuMessages, nvme, plan, type Run } from '../../src/suite.js';

const machine = (name: 'iommu' | 'noiommu' | 'no-remapping'): Run => ({
  name,
  mode: name === 'noiommu' ? 'noiommu' : 'iommu',
  // The machine of conformance/src/world.ts.
  slots: [
    // Without an IOMMU a physical address must be in edu's reach, wherever the huge page lies.
    [name === 'noiommu' ? 'edu,dma_mask=0xffffffff' : 'edu'],
    ['edu,addr=0.0,multifunction=on', nvme('neighbour', 'addr=0.1')],
    [nvme('disk')],
    [],
    ['VGA'],
  ],
  disks: ['neighbour', 'disk'].map((disk) => ({ name: disk, bytes: mebibytes(16) })),
  qemu: [
    ...['-device', 'nvme-subsys,id=subsystem'],
    ...['-device', 'pcie-root-port,id=port6,bus=pcie.0,addr=15.0,chassis=6,slot=6'],
    '-device',
    'nvme,serial=lab-sriov,subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,bus=port6',
  ],
  carryModules: ['nvme', 'pci-stub', 'aer_inject'],
  programs: ['heir.c'],
  // Only these sections, by name, for work on one of them.
  environment: { CONFORMANCE_SECTIONS: process.env.CONFORMANCE_SECTIONS ?? '' },
  kernelArguments: name === 'no-remapping' ? ['intremap=off'] : [],
  hugePages: name === 'noiommu' ? 32 : 0,
  seconds: 1500,
  silentSeconds: 500,
  expected: [
    { pattern: /vfio_pin_(pages|page_external).*RLIMIT_MEMLOCK/, reason: '[T1-29] the limit is exceeded on purpose' },
    {
      pattern: /DMAR: \[DMA Write NO_PASID\] Request device \[01:00\.0\] fault addr 0x101000 /,
      reason: '[T1-26] edu writes where it may only read',
    },
    ...iommuFaultMessages,
    ...(name === 'no-remapping'
      ? [
          { pattern: /No interrupt remapping support/, reason: '[T1-2] what type1 says' },
          { pattern: /MSI interrupts are not secure/, reason: '[IFD-8] what iommufd says' },
        ]
      : []),
    {
      pattern:
        /nvme nvme\d+: (failed to mark controller|ctrl state \d is not RESETTING|Removing after probe failure|Device not ready; aborting)/,
      reason: "[GRP-7] [LIFE-3] a controller is taken from the host's driver while that still starts it",
    },
    {
      pattern:
        /vfio-pci: probe of [0-9a-f:.]+ failed with error -22$|probe with driver vfio-pci failed with error -22$/,
      reason: '[NOI-3] [NOI-30] a device without a group and a bridge are refused',
    },
    {
      pattern:
        /pcieport .*(AER: Uncorrect(ed|able)|PCIe Bus Error: severity=Uncorrect(ed|able)|device \[.*error status|\[(14| 4)\] )/,
      reason: '[LIFE-7] [LIFE-12] [LIFE-15] errors of the link are injected',
    },
    { pattern: /No device request channel registered/, reason: '[LIFE-9] nobody listens to the request' },
    { pattern: /Device is currently in use, task "sh"/, reason: '[LIFE-10] a signal to the task that unbinds' },
    {
      pattern: /driver left SR-IOV enabled|Cannot bind to PF with SR-IOV|0000:06:00.0.* failed with error -16$/,
      reason: '[LIFE-13] a function with virtual functions is refused',
    },
    {
      pattern: /0000:06:00\.1: Hardware bug: VF reports bogus INTx pin 1/,
      reason: "[GRP-32] QEMU's virtual function says that it has a pin",
    },
    { pattern: /vfio_pci: invalid id string "(zz|1234)"/, reason: '[LIFE-18] ids that are none' },
    ...(name === 'noiommu' ? noiommuMessages : []),
  ],
});

/** No-IOMMU mode, and an IOMMU that covers edu but not the NVMe controller, which is below a root bus of its own, number 2. */
const mixed: Run = {
  ...machine('noiommu'),
  name: 'mixed',
  slots: [['edu']],
  disks: [{ name: 'disk', bytes: mebibytes(16) }],
  qemu: [
    ...['-device', 'intel-iommu,intremap=on,caching-mode=on'],
    ...['-device', 'pxb-pcie,id=uncovered,bus=pcie.0,bus_nr=2,bypass_iommu=on'],
    ...['-device', 'pcie-root-port,id=port3,bus=uncovered,addr=1.0,chassis=3,slot=3'],
    ...['-device', `${nvme('disk')},bus=port3`],
  ],
  // Interrupts are remapped by what does not cover that bus: messages from there have nowhere to go.
  kernelArguments: ['intel_iommu=on', 'iommu=nopt', 'pci=nomsi'],
};

/** The same boot on 6.12, with iommufd and device files. */
const on612 = (run: Run): Run => ({ ...run, name: `${run.name}-6.12`, kernel: '6.12' });

export default plan({
  title: 'the numbered behaviours of VFIO, item by item, on real kernels',
  runs: [
    machine('iommu'),
    machine('noiommu'),
    machine('no-remapping'),
    mixed,
    on612(machine('iommu')),
    on612(machine('noiommu')),
    on612(machine('no-remapping')),
    on612(mixed),
  ],
});
