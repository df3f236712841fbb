import { mebibytes, nvme, plan, type Run } from '../../src/suite.js';

/** For a quick look: fewer rounds. */
const rounds = (name: string) => (process.env[name] === undefined ? {} : { [name]: process.env[name] });

const machine = (name: string, more: Partial<Run> = {}): Run => ({
  name,
  mode: 'iommu',
  memoryMiB: 1536,
  slots: [[nvme('disk', 'id=card')]],
  disks: [{ name: 'disk', bytes: mebibytes(32) }],
  scripts: ['victim.ts'],
  environment: { ...rounds('FAULTS_MANY'), ...rounds('FAULTS_FEW') },
  seconds: 400,
  silentSeconds: 120,
  ...more,
});

const asked = /vfio-pci 0000:01:00\.0: (Relaying device request to user|.*blocked until device is released)/;

export default plan({
  title: 'processes and Workers that end in the middle of DMA, devices that are taken away or fall asleep under it',
  runs: [
    machine('ended'),
    machine('taken', { expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }] }),
    machine('unplugged', {
      // By ACPI the kernel is asked at once; by the port itself, only five seconds after the button was pressed.
      qemu: ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on'],
      expected: [{ pattern: asked, reason: 'the device is asked for [LIFE-9]', required: true }],
    }),
  ],
  judge: (runs) => ({
    fields: { scenarios: Object.assign({}, ...runs.map(({ fields }) => fields)) as Record<string, unknown> },
  }),
});
