import { changed, type Item, item } from '../src/item.js';
import { E, machine, type World } from '../src/world.js';
import { at, type Bitmap, dirtyBitmap, LAST_PAGE, PAGE, track, unmapWith } from './t1-calls.js';

/** A container with mappings of so many pages, at these pages. */
function mapped(w: World, type: number, ...places: readonly (readonly [page: number, pages: number])[]): number {
  const { container } = w.ready(machine.edu, type);
  const { address } = w.memory(16 * PAGE);
  for (const [page, pages] of places) w.is(w.map(container, at(page), address, pages * PAGE), 0, `MAP_DMA at ${page}`);
  return container;
}

type BitmapFacts = Omit<Bitmap, 'bytes'>;

const lowest = (bytes: Uint8Array): number => new DataView(bytes.buffer).getUint32(0, true);

export const t1Unmap: readonly Item[] = [
  changed(
    'T1-35',
    'UNMAP_DMA with a flag that the kernel does not have, size 0, or a misaligned address or size: EINVAL.',
    {
      run: (w) => {
        const container = mapped(w, 3, [0, 2]);
        for (const flags of [8, 0x10, 0x8000_0000])
          w.is(w.unmap(container, at(0), 2 * PAGE, flags).result, E.INVAL, `flags ${flags}`);
        w.is(w.unmap(container, at(0), 0).result, E.INVAL, 'size 0');
        w.is(w.unmap(container, at(0), 4097).result, E.INVAL, 'size 4097');
        w.is(w.unmap(container, at(0) + 1n, PAGE).result, E.INVAL, 'misaligned address');
        w.is(w.unmap(container, at(0), 2 * PAGE, 0, 23).result, E.INVAL, 'argsz 23');
        w.is(w.unmap(container, at(0), 2 * PAGE), { result: 0, size: 8192n }, 'the mapping is still there');
      },
    },
    {
      below: '5.8',
      run: (w) => {
        const container = mapped(w, 3, [0, 2]);
        for (const flags of [1, 2, 4])
          w.is(w.unmap(container, at(0), 2 * PAGE, flags).result, E.INVAL, `flags ${flags}`);
      },
    },
  ),
  changed(
    'T1-36',
    'A range that wraps: not noticed before 4.10, then EINVAL, from 6.18 EOVERFLOW.',
    {
      below: '4.10',
      run: (w) => w.is(w.unmap(mapped(w, 3), LAST_PAGE, 2 * PAGE), { result: 0, size: 0n }, 'UNMAP_DMA'),
    },
    {
      from: '4.10',
      below: '6.18',
      run: (w) => w.is(w.unmap(mapped(w, 3), LAST_PAGE, 2 * PAGE).result, E.INVAL, 'UNMAP_DMA'),
    },
    {
      from: '6.18',
      run: (w) => w.is(w.unmap(mapped(w, 3), LAST_PAGE, 2 * PAGE).result, E.OVERFLOW, 'UNMAP_DMA'),
    },
  ),
  item('T1-37', 'Success overwrites size with the bytes that were unmapped.', (w) => {
    const container = mapped(w, 3, [0, 1], [4, 3]);
    w.is(w.unmap(container, at(0), 16 * PAGE), { result: 0, size: 16384n }, 'UNMAP_DMA of 16 pages');
  }),
  item('T1-38', 'v2: a range over several mappings and holes unmaps them all.', (w) => {
    const container = mapped(w, 3, [0, 1], [1, 2], [5, 1], [9, 2]);
    w.is(w.unmap(container, at(0), 9 * PAGE), { result: 0, size: 16384n }, 'UNMAP_DMA of the first nine pages');
    w.is(w.unmap(container, at(0), 16 * PAGE), { result: 0, size: 8192n }, 'UNMAP_DMA of what is left');
  }),
  item('T1-39', 'v2: no mapping in the range: success, and size 0.', (w) => {
    const container = mapped(w, 3, [0, 1], [8, 1]);
    w.is(w.unmap(container, at(1), 7 * PAGE), { result: 0, size: 0n }, 'UNMAP_DMA of a hole');
  }),
  item(
    'T1-40',
    'v2: a range that begins or ends inside a mapping: EINVAL, nothing is unmapped, size is as it was.',
    (w) => {
      const container = mapped(w, 3, [0, 1], [4, 4]);
      for (const [page, pages] of [
        [0, 6],
        [5, 1],
        [5, 8],
        [4, 3],
        [5, 3],
      ] as const)
        w.is(
          w.unmap(container, at(page), pages * PAGE),
          { result: E.INVAL, size: BigInt(pages * PAGE) },
          `UNMAP_DMA of ${pages} pages at ${page}`,
        );
      w.is(w.unmap(container, at(0), 8 * PAGE).size, 20480n, 'UNMAP_DMA of all');
    },
  ),
  item('T1-41', 'v1: a range that begins inside a mapping leaves it, and stops there: success, size 0.', (w) => {
    const container = mapped(w, 1, [0, 4], [6, 1]);
    w.is(w.unmap(container, at(1), PAGE), { result: 0, size: 0n }, 'UNMAP_DMA of the second page');
    w.is(w.unmap(container, at(1), 8 * PAGE), { result: 0, size: 0n }, 'UNMAP_DMA from the second page on');
    w.is(w.unmap(container, at(0), 8 * PAGE), { result: 0, size: 20480n }, 'UNMAP_DMA of all');
  }),
  item('T1-42', 'v1: a range with the first byte of a mapping unmaps it whole; size says more than was asked.', (w) => {
    const container = mapped(w, 1, [0, 4], [6, 2]);
    w.is(w.unmap(container, at(0), PAGE), { result: 0, size: 16384n }, 'UNMAP_DMA of the first page');
    w.is(w.unmap(container, at(5), 2 * PAGE), { result: 0, size: 8192n }, 'UNMAP_DMA of a hole and a first page');
  }),
  item('T1-43', 'UNMAP_DMA lowers VmLck by the pages that are unpinned.', (w) => {
    const before = w.around.locked();
    const container = mapped(w, 3, [0, 3], [4, 2]);
    w.is(w.around.locked() - before, 20480, 'bytes locked');
    w.is(w.unmap(container, at(0), 3 * PAGE).size, 12288n, 'UNMAP_DMA of the first');
    w.is(w.around.locked() - before, 8192, 'bytes locked then');
    w.is(w.unmap(container, at(4), 2 * PAGE).size, 8192n, 'UNMAP_DMA of the second');
    w.is(w.around.locked() - before, 0, 'bytes locked at the end');
  }),
  item(
    'T1-44',
    'From 5.12 ALL (2), with address and size 0, unmaps everything, and size is the sum; extension 9 tells.',
    (w) => {
      const container = mapped(w, 3, [0, 1], [4, 2], [9, 1]);
      w.is(w.extension(container, 9), 1, 'extension 9');
      w.is(w.unmap(container, at(0), 0, 2).result, E.INVAL, 'ALL with an address');
      w.is(w.unmap(container, 0n, PAGE, 2).result, E.INVAL, 'ALL with a size');
      w.is(w.unmap(container, 0n, 0, 2), { result: 0, size: 16384n }, 'ALL');
      w.is(w.unmap(container, 0n, 0, 2), { result: 0, size: 0n }, 'ALL again');
      w.is(w.unmap(container, at(0), 16 * PAGE).size, 0n, 'nothing is left');
    },
    { from: '5.12' },
  ),
  item(
    'T1-45',
    'From 5.12 UNMAP_DMA with VADDR (4) keeps mappings and voids their process addresses; MAP_DMA with VADDR (4) sets new ones. Extension 10 tells, once there is a model.',
    (w) => {
      w.is(w.extension(w.container(), 10), 0, 'extension 10 without a model');
      const before = w.around.locked();
      const container = mapped(w, 3, [0, 2], [4, 1]);
      const { address } = w.memory(4 * PAGE);
      w.is(w.extension(container, 10), 1, 'extension 10');
      const set = (page: number, pages: number, flags = 4) => w.map(container, at(page), address, pages * PAGE, flags);
      w.is(set(4, 1), E.INVAL, 'MAP_DMA of one that is not void');
      w.is(w.unmap(container, at(4), PAGE, 4), { result: 0, size: 4096n }, 'the second is void');
      w.is(w.unmap(container, at(0), 8 * PAGE, 4).result, E.INVAL, 'both: one is void already');
      w.is(set(0, 2), E.INVAL, 'the first was left valid');
      w.is(w.unmap(container, at(0), 2 * PAGE, 4), { result: 0, size: 8192n }, 'the first is void');
      w.is(w.around.locked() - before, 12288, 'bytes locked: the mappings are there');
      w.is(w.map(container, at(0), address, 2 * PAGE), E.EXIST, 'MAP_DMA over it');
      w.is(set(8, 1), E.NOENT, 'MAP_DMA where nothing is mapped');
      w.is(set(0, 1), E.INVAL, 'MAP_DMA of a part');
      w.is(set(0, 3), E.INVAL, 'MAP_DMA of more');
      for (const flags of [5, 6, 7]) w.is(set(0, 2, flags), E.INVAL, `MAP_DMA, flags ${flags}`);
      w.is(set(0, 2), 0, 'MAP_DMA of the first');
      w.is(set(4, 1), 0, 'MAP_DMA of the second');
      w.is(w.unmap(container, 0n, 0, 6), { result: 0, size: 12288n }, 'ALL and VADDR');
      w.is(w.unmap(container, at(0), 8 * PAGE), { result: 0, size: 12288n }, 'UNMAP_DMA of void mappings');
      w.is(w.around.locked() - before, 0, 'bytes locked at the end');
    },
    { from: '5.12' },
  ),
  item(
    'T1-46',
    'From 5.8 UNMAP_DMA with GET_DIRTY_BITMAP (1) wants room for the bitmap, tracking on, the smallest page size and no other flag, else EINVAL; the bitmap then has the pages.',
    (w) => {
      const container = mapped(w, 3, [0, 3], [4, 1]);
      const bytes = new Uint8Array(8);
      const refused = (what: string, other: BitmapFacts = {}, flags = 1, argsz = 48) =>
        w.is(
          unmapWith(w, container, at(0), 8 * PAGE, { bytes, ...other }, flags, argsz).result,
          E.INVAL,
          `UNMAP_DMA, ${what}`,
        );
      refused('tracking is off');
      w.is(track(w, container, 1), 0, 'START');
      refused('no room in argsz', {}, 1, 47);
      refused('pages of 8192 bytes', { page: 8192 });
      refused('a bitmap of 7 bytes', { size: 7 });
      refused('a bitmap of 0 bytes', { size: 0 });
      refused('ALL', {}, 3);
      refused('VADDR', {}, 5);
      w.is(unmapWith(w, container, at(0), 8 * PAGE, { bytes }), { result: 0, size: 16384n }, 'UNMAP_DMA');
      w.is(lowest(bytes), 0b1_0111, 'bitmap');
      w.is(unmapWith(w, container, at(0), 8 * PAGE, { bytes }), { result: 0, size: 0n }, 'UNMAP_DMA again');
    },
    { from: '5.8' },
  ),
];

export const t1Dirty: readonly Item[] = [
  item(
    'T1-47',
    'From 5.8 IOMMU_DIRTY_PAGES takes exactly one of START (1), STOP (2), GET_BITMAP (4), else EINVAL; v1 gives EACCES.',
    (w) => {
      const { container: old, group } = w.ready(machine.edu, 1);
      for (const flags of [1, 2, 4, 8]) w.is(track(w, old, flags), E.ACCES, `v1, flags ${flags}`);
      w.close(group);
      const { container } = w.ready(machine.nvme);
      for (const flags of [3, 5, 6, 7, 8, 9, 0x8000_0000]) w.is(track(w, container, flags), E.INVAL, `flags ${flags}`);
      w.is(track(w, container, 1, 7), E.INVAL, 'argsz 7');
      for (const flags of [1, 2]) w.is(track(w, container, flags), 0, `flags ${flags}`);
    },
    { from: '5.8' },
  ),
  item(
    'T1-48',
    'START twice and STOP twice: success.',
    (w) => {
      const container = mapped(w, 3, [0, 1]);
      for (const flags of [2, 1, 1, 2, 2]) w.is(track(w, container, flags), 0, `flags ${flags}`);
    },
    { from: '5.8' },
  ),
  changed(
    'T1-49',
    'GET_BITMAP while tracking is off, of a range that is misaligned, empty or wraps (from 6.18 EOVERFLOW), with a page size that is not the smallest or too small a bitmap: EINVAL.',
    {
      from: '5.8',
      run: (w) => {
        const container = mapped(w, 3, [0, 4]);
        const bytes = new Uint8Array(8);
        const get = (iova: bigint, size: number | bigint, more: BitmapFacts = {}, argsz = 48) =>
          dirtyBitmap(w, container, iova, size, { bytes, ...more }, 4, argsz);
        w.is(get(at(0), 4 * PAGE), E.INVAL, 'tracking is off');
        w.is(track(w, container, 1), 0, 'START');
        w.is(get(at(0), 4 * PAGE), 0, 'tracking is on');
        w.is(get(at(0) + 512n, 4 * PAGE), E.INVAL, 'misaligned address');
        w.is(get(at(0), 4 * PAGE + 512), E.INVAL, 'misaligned size');
        w.is(get(at(0), 0), E.INVAL, 'size 0');
        w.is(get(at(0), 4 * PAGE, { page: 8192 }), E.INVAL, 'pages of 8192 bytes');
        w.is(get(at(0), 65 * PAGE), E.INVAL, 'a bitmap of 8 bytes for 65 pages');
        w.is(get(at(0), 4 * PAGE, { size: 0 }), E.INVAL, 'a bitmap of 0 bytes');
        w.is(get(at(0), 4 * PAGE, {}, 47), E.INVAL, 'argsz 47');
        for (const [page, pages] of [
          [1, 3],
          [0, 3],
        ] as const)
          w.is(get(at(page), pages * PAGE), E.INVAL, `${pages} pages at ${page}: a part of a mapping`);
        w.is(track(w, container, 2), 0, 'STOP');
        w.is(get(at(0), 4 * PAGE), E.INVAL, 'tracking is off again');
      },
    },
    ...[['5.8', '6.18', E.INVAL] as const, ['6.18', undefined, E.OVERFLOW] as const].map(([from, below, error]) => ({
      from,
      ...(below === undefined ? {} : { below }),
      run: (w: World) => {
        const container = mapped(w, 3, [0, 4]);
        w.is(track(w, container, 1), 0, 'START');
        const bytes = new Uint8Array(8);
        w.is(dirtyBitmap(w, container, LAST_PAGE, 2 * PAGE, { bytes }), error, 'a range that wraps');
      },
    })),
  ),
  {
    id: 'T1-50',
    words: 'Devices that pin nothing themselves may have written every page: all mapped pages are reported, each time.',
    differs:
      'from the second time on it reports pages as well that are not mapped: bits behind a mapping that does not begin at a multiple of 64 pages of the range',
    variants: [{ from: '5.8', run: allDirty }],
  },
];

function allDirty(w: World): void {
  const container = mapped(w, 3, [0, 3], [4, 1], [70, 2]);
  const bytes = new Uint8Array(16);
  w.is(track(w, container, 1), 0, 'START');
  w.is(w.map(container, at(6), w.memory(PAGE).address, PAGE), 0, 'MAP_DMA while tracking');
  const ask = (what: string) => {
    bytes.fill(0);
    w.is(dirtyBitmap(w, container, at(0), 80 * PAGE, { bytes }), 0, what);
    return [lowest(bytes), bytes[8], bytes[9]];
  };
  w.is(ask('GET_BITMAP'), [0b101_0111, 0b1100_0000, 0], 'bitmap');
  w.is(
    ask('GET_BITMAP again'),
    [0b1_0101_1111_0111, 0b1100_0000, 0b11_0000],
    'the second bitmap, with more than is mapped',
  );
  for (const flags of [2, 1]) w.is(track(w, container, flags), 0, `flags ${flags}`);
  w.is(ask('GET_BITMAP after STOP and START'), [0b101_0111, 0b1100_0000, 0], 'the first bitmap then');
}
