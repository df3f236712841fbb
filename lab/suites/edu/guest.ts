import { bind } from 'vfio-pci';
import { eduBehaviour, type Refusal } from '../../../tests/edu-behaviour/index.js';
import { field, kernelLog, mode, openFiles, same, test } from '../guest.js';
import { openForMode } from '../open.js';

const address = '0000:01:00.0';

/** What the kernel's driver of the IOMMU reported, from its log. */
const refused = async (): Promise<Refusal[]> =>
  kernelLog().flatMap(({ text }) => {
    const found = /DMAR: \[DMA (Read|Write) NO_PASID\] Request device \[01:00\.0\] fault addr (0x[0-9a-f]+)/.exec(text);
    return found === null ? [] : [{ address: BigInt(found[2] as string), write: found[1] === 'Write' }];
  });

test('the device is bound and opens', async () => {
  bind(address);
  (await openForMode(address)).close();
});

let cases = 0;
for (const { title, run, iommuOnly } of eduBehaviour) {
  if (iommuOnly && mode === 'noiommu') continue;
  test(title, async () => {
    // The kernel prints three IOMMU faults in five seconds at most, and drops the others without a word.
    if (iommuOnly) await new Promise((done) => setTimeout(done, 2500));
    const before = openFiles();
    await run({ open: () => openForMode(address), ...(mode === 'iommu' ? { refused } : {}) });
    same(openFiles(), before, 'open descriptors after the case');
    cases++;
    field('cases', cases);
  });
}

if (mode === 'iommu')
  test('the IOMMU refused what it had to, and nothing else', async () => {
    const all = await refused();
    same(all.map(({ write }) => (write ? 'write' : 'read')).sort(), ['read', 'write', 'write', 'write']);
    field('refused', all.length);
  });
