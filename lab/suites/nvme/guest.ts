import { bind } from 'vfio-pci';
import { nvmeBehaviour, possible, runBehaviour } from '../../../tests/nvme-behaviour/index.js';
import { NvmeOnDevice } from '../../../tests/nvme-behaviour/on-device.js';
import { check, field, mode, openFiles, same, test } from '../guest.js';
import { openForMode } from '../open.js';
import { refusedDma } from '../refused-dma.js';

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
    const faults = refusedDma('01:00.0');
    same([...new Set(faults.map(({ write }) => write))].sort(), [false, true], 'directions: writes');
    same(
      faults.filter(({ address }) => address !== 0x7_0000_0000n),
      [],
      'faults elsewhere',
    );
    field('refused', faults.length);
  });
