import { defaultBackend } from 'vfio-core';
import { bind, PciDevice } from 'vfio-pci';
import { eduBehaviour } from '../../../tests/edu-behaviour/index.js';
import { check, field, mode, openFiles, same, test } from '../guest.js';
import { IommuTrace, joined, noting, pagesAfter, physicalOf } from '../iommu-trace.js';
import { openForMode } from '../open.js';
import { refusedDma } from '../refused-dma.js';

const address = '0000:01:00.0';

test('the device is bound and opens', async () => {
  bind(address);
  (await openForMode(address)).close();
});

if (mode === 'iommu')
  test('what the IOMMU got is what was asked for, page by page, and all of it is taken back', async () => {
    const { system, granted } = noting(defaultBackend());
    await using device = await PciDevice.open(address, { backend: system });
    const before = granted.length;
    const trace = IommuTrace.start();
    const { dma } = device;
    const sizes = [1, 4096, 5 * 4096, 64 * 1024, 3 * 2 ** 20];
    const buffers = sizes.map((size) => dma.allocate(size));
    buffers.push(dma.map(new WebAssembly.Memory({ initial: 3, maximum: 3 }), { direction: 'device-reads' }));

    const pages = pagesAfter(trace.events());
    const maps = granted.slice(before).filter(({ op }) => op === 'map');
    for (const { iova, size, address: from = 0n } of maps) {
      for (let at = 0n; at < size; at += 4096n)
        same(pages.get(iova + at), physicalOf(from + at), `the page at device address 0x${(iova + at).toString(16)}`);
    }
    same(pages.size * 4096, Number(maps.reduce((sum, { size }) => sum + size, 0n)), 'bytes that the device reaches');
    for (const buffer of buffers) {
      for (let at = 0; at < buffer.length; at += 4096)
        check(pages.has(buffer.address + BigInt(at)), `byte ${at} of a buffer of ${buffer.length} is not mapped`);
    }
    for (const buffer of buffers) buffer.close();
    await device.close();

    const events = trace.stop();
    same(joined(events), joined(granted.slice(before)), 'what the IOMMU got');
    same(pagesAfter(events).size, 0, 'pages that are left');
    field('iommuEvents', events.length);
    field('iommuPages', pages.size);
  });

let cases = 0;
for (const { title, run, iommuOnly } of eduBehaviour) {
  if (iommuOnly && mode === 'noiommu') continue;
  test(title, async () => {
    // The kernel prints three IOMMU faults in five seconds at most, and drops the others without a word.
    if (iommuOnly) await new Promise((done) => setTimeout(done, 2500));
    const before = openFiles();
    await run({
      open: () => openForMode(address),
      ...(mode === 'iommu' ? { refused: async () => refusedDma('01:00.0') } : {}),
    });
    same(openFiles(), before, 'open descriptors after the case');
    cases++;
    field('cases', cases);
  });
}

if (mode === 'iommu')
  test('the IOMMU refused what it had to, and nothing else', async () => {
    const all = refusedDma('01:00.0');
    same(all.map(({ write }) => (write ? 'write' : 'read')).sort(), ['read', 'write', 'write', 'write']);
    field('refused', all.length);
  });
