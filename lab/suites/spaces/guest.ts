import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { defaultBackend, findDeviceFile, groupOf } from 'vfio-core';
import { bind } from 'vfio-pci';
import { iommufdBehaviour } from '../../../tests/iommufd-behaviour/index.js';
import { type SpacesBench, spacesBehaviour } from '../../../tests/spaces-behaviour/index.js';
import { check, field, kernel, openFiles, same, script, test } from '../guest.js';
import { type Granted, type IommuEvent, IommuTrace, noting } from '../iommu-trace.js';

const [nvme, otherNvme, edu] = ['0000:01:00.0', '0000:02:00.1', '0000:02:00.0'] as const;

const status = (name: string): number =>
  Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

/** What must be as before once a case has ended: descriptors, and memory that is locked (type1) or pinned (iommufd). */
const held = () => ({ descriptors: openFiles(), locked: status('VmLck'), pinned: status('VmPin') });

const hugePages = [2 ** 21, 2 ** 30].filter(
  (bytes) => Number(readFileSync(`/sys/kernel/mm/hugepages/hugepages-${bytes / 1024}kB/nr_hugepages`, 'utf8')) > 0,
);

test('the devices are bound', () => {
  for (const address of [nvme, edu, otherNvme]) bind(address);
  same(hugePages, [2 ** 21, 2 ** 30], 'sizes of huge pages that are set aside');
});

let witnessed = 0;

/** The kernel's own events of its IOMMU against what was asked for: all of it came, as wide as it was asked for, and all went again. */
function compare(granted: readonly Granted[], events: readonly IommuEvent[]): void {
  for (const op of ['map', 'unmap'] as const) {
    const told = events.filter((event) => event.op === op);
    for (const { iova, size } of granted.filter((one) => one.op === op)) {
      // All at once: what it took is counted below.
      if (iova === 0n) continue;
      const bytes = told
        .filter((event) => event.iova >= iova && event.iova + event.size <= iova + size)
        .reduce((sum, event) => sum + event.size, 0n);
      check(bytes >= size, `${op} of ${size} bytes at 0x${iova.toString(16)}: the IOMMU got ${bytes}`);
      witnessed++;
    }
  }
  // By bytes and not by pages: some ranges are a GiB.
  const bytes = (op: IommuEvent['op']) =>
    events.filter((event) => event.op === op).reduce((sum, { size }) => sum + size, 0n);
  same(bytes('map') - bytes('unmap'), 0n, 'bytes that devices can still reach');
}

const ways = kernel === '6.1' ? (['container'] as const) : (['container', 'iommufd-container', 'iommufd'] as const);
const cases: Record<string, number> = {};
for (const way of ways) {
  for (const { title, run } of spacesBehaviour) {
    test(
      `${way}: ${title}`,
      async () => {
        const before = held();
        const { system, granted } = noting(defaultBackend());
        const asked = () => granted.filter(({ op }) => op === 'map').length;
        const bench: SpacesBench = { backend: system, way, nvme, otherNvme, edu, hugePages, asked };
        const trace = IommuTrace.start();
        await run(bench);
        compare(granted, trace.stop());
        same(held(), before, 'descriptors, locked and pinned memory');
        cases[way] = (cases[way] ?? 0) + 1;
        field('cases', cases);
        field('mappingsWitnessed', witnessed);
      },
      { seconds: 120 },
    );
  }
  if (way !== 'iommufd-container')
    test(`${way}: a process without rights drives a device whose files its parent opened`, () => {
      const system = defaultBackend();
      const paths =
        way === 'container'
          ? ['/dev/vfio/vfio', groupOf(system, edu).path]
          : ['/dev/iommu', findDeviceFile(system, edu)];
      const files = paths.map((path) => openSync(path as string, 'r+'));
      const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all'];
      const { stdout, stderr } = spawnSync('setpriv', [...nobody, process.execPath, script('heir'), way, edu], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe', ...files],
      });
      for (const file of files) closeSync(file);
      const { user, equal, way: taken, error } = JSON.parse(stdout || '{}');
      same([user, equal, taken?.name], [65534, true, way], `what the other process says: ${error ?? stderr}`);
    });
  test(`${way}: every case ran`, () => check(cases[way] === spacesBehaviour.length, `${cases[way]} cases`));
}

let below = 0;
// Neither kernel here has what came after 6.12, and QEMU's IOMMU tracks no writes.
const has = { dirtyTracking: false, mapFile: false, changeProcess: false };
for (const { title, run, container = false } of iommufdBehaviour) {
  if (kernel === '6.1' && !container) continue;
  test(`below the spaces: ${title}`, async () => {
    const before = held();
    await run({ backend: defaultBackend(), lone: nvme, edu, sibling: otherNvme, has });
    same(held(), before, 'descriptors, locked and pinned memory');
    below++;
    field('casesBelow', below);
  });
}
