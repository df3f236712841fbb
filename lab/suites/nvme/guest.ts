import { bind } from 'vfio-pci';
import { nvmeBehaviour, possible, runBehaviour } from '../../../tests/nvme-behaviour/index.js';
import { NvmeOnDevice } from '../../../tests/nvme-behaviour/on-device.js';
import { check, field, kernelLog, mode, openFiles, same, test } from '../guest.js';
import { openForMode } from '../open.js';

const address = '0000:01:00.0';

let controller: NvmeOnDevice | undefined;
let before = 0;

const opened = (): NvmeOnDevice => {
  check(controller, 'the controller did not open');
  return controller;
};

test('the controller opens, with eight vectors of MSI-X', async () => {
  bind(address);
  before = openFiles();
  // Four milliseconds a wait: QEMU's controller shares its processors with the guest.
  controller = await NvmeOnDevice.open(await openForMode(address), { kind: 'qemu', pause: 4 });
});

test('every behaviour can be asked about here', () => {
  same(
    nvmeBehaviour.filter((behaviour) => !possible(behaviour, opened())).map(({ title }) => title),
    [],
    'left out',
  );
});

let cases = 0;
for (const behaviour of nvmeBehaviour) {
  const refusal = behaviour.needs === 'refusal' && mode === 'iommu';
  test(behaviour.title, async () => {
    // The kernel prints a few IOMMU faults in five seconds, and drops the others without a word.
    if (refusal) await new Promise((done) => setTimeout(done, 5500));
    await runBehaviour(behaviour, opened());
    same(opened().memoryHeld, 0, 'allocations left');
    cases++;
    field('cases', cases);
  });
}

test('the controller closes and leaves nothing open', () => {
  opened().close();
  same(openFiles(), before, 'open descriptors');
  // Where QEMU's controller is known to answer in a way of its own, and the case expects that.
  field(
    'exceptions',
    nvmeBehaviour.filter(({ note }) => note !== undefined).map(({ title, note }) => ({ title, note })),
  );
});

if (mode === 'iommu')
  test('the IOMMU refused data and queues that the controller was not to reach, both ways, and nothing else', () => {
    const faults = kernelLog().flatMap(({ text }) => {
      const found = /DMAR: \[DMA (Read|Write) NO_PASID\] Request device \[01:00\.0\] fault addr (0x[0-9a-f]+)/.exec(
        text,
      );
      return found === null ? [] : [{ direction: found[1] as string, address: found[2] as string }];
    });
    same([...new Set(faults.map((fault) => fault.direction))].sort(), ['Read', 'Write'], 'directions');
    same(
      faults.filter((fault) => fault.address !== '0x700000000'),
      [],
      'faults elsewhere',
    );
    field('refused', faults.length);
  });
