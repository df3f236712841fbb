import { changed, type Item, item } from '../src/item.js';
import { E, machine, type World } from '../src/world.js';
import { at, dma, info, LAST_PAGE, PAGE, ranges, UNMAPPED, withParameter } from './t1-calls.js';

const first = machine.pair[0] as string;
const HUGE = 4 << 20;

const refused: readonly Item[] = [
  changed(
    'T1-16',
    "MAP_DMA flags are READ (1) and WRITE (2), from the device's side, and from 5.12 VADDR (4); any other bit: EINVAL.",
    {
      run: async (w) => {
        const { container, device } = w.device(machine.edu);
        const memory = w.memory(2 * PAGE);
        // Before it is mapped: what nobody has written yet is pinned for reading as the page of zeros that all share.
        memory.bytes.set([9, 8, 7, 6]);
        for (const flags of [8, 9, 0x8000_0003, 0xffff_ffff])
          w.is(w.map(container, at(0), memory.address, PAGE, flags), E.INVAL, `flags ${flags}`);
        w.is(w.map(container, at(0), memory.address, PAGE, 3, 31), E.INVAL, 'argsz 31');
        w.is(w.map(container, at(0), memory.address, PAGE, 1), 0, 'READ');
        w.is(w.map(container, at(1), memory.address + 4096n, PAGE, 2), 0, 'WRITE');
        await dma(w, device, 'from memory', at(0), 4);
        await dma(w, device, 'to memory', at(1), 4);
        w.is([...memory.bytes.subarray(4096, 4100)], [9, 8, 7, 6], 'what the device read and wrote');
      },
    },
    {
      below: '5.12',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.map(container, at(0), w.memory(PAGE).address, PAGE, 4), E.INVAL, 'flags 4');
      },
    },
    {
      from: '5.12',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        w.is(w.map(container, at(0), address, PAGE, 4), E.NOENT, 'VADDR without a mapping');
        for (const flags of [5, 6, 7]) w.is(w.map(container, at(0), address, PAGE, flags), E.INVAL, `flags ${flags}`);
      },
    },
  ),
  item('T1-17', 'Neither READ nor WRITE: EINVAL.', (w) => {
    const { container } = w.ready(machine.edu);
    w.is(w.map(container, at(0), w.memory(PAGE).address, PAGE, 0), E.INVAL, 'MAP_DMA');
    w.is(w.unmap(container, at(0), PAGE).size, 0n, 'nothing is mapped');
  }),
  item('T1-18', 'Size 0: EINVAL.', (w) => {
    const { container } = w.ready(machine.edu);
    w.is(w.map(container, at(0), w.memory(PAGE).address, 0), E.INVAL, 'MAP_DMA');
  }),
  item('T1-19', 'Address, process address or size that is no multiple of the smallest page size: EINVAL.', (w) => {
    const { container } = w.ready(machine.edu);
    const { address } = w.memory(2 * PAGE);
    for (const odd of [1n, 512n, 2048n, 4095n]) {
      w.is(w.map(container, at(0) + odd, address, PAGE), E.INVAL, `device address + ${odd}`);
      w.is(w.map(container, at(0), address + odd, PAGE), E.INVAL, `process address + ${odd}`);
      w.is(w.map(container, at(0), address, odd), E.INVAL, `size ${odd}`);
      w.is(w.map(container, at(0), address, 4096n + odd), E.INVAL, `size 4096 + ${odd}`);
    }
    w.is(w.map(container, at(0), address, PAGE), 0, 'all multiples');
  }),
  changed(
    'T1-20',
    'A kernel of 64 bits has room for every value. From 6.18 size 0 and wrap are tested first, before READ, WRITE and alignment.',
    {
      below: '6.18',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        w.is(w.map(container, LAST_PAGE, address, 2 * PAGE, 0), E.INVAL, 'wrap without READ and WRITE');
        w.is(w.map(container, LAST_PAGE + 1n, address, 2 * PAGE), E.INVAL, 'wrap, misaligned');
        w.is(w.map(container, at(0), LAST_PAGE + 1n, 0, 0), E.INVAL, 'size 0');
      },
    },
    {
      from: '6.18',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        w.is(w.map(container, LAST_PAGE, address, 2 * PAGE, 0), E.OVERFLOW, 'wrap without READ and WRITE');
        w.is(w.map(container, LAST_PAGE + 1n, address, 2 * PAGE), E.OVERFLOW, 'wrap, misaligned');
        w.is(w.map(container, at(0), LAST_PAGE + 1n, 0, 0), E.INVAL, 'size 0');
      },
    },
  ),
  changed(
    'T1-21',
    'A range of device or process addresses that wraps: EINVAL, from 6.18 EOVERFLOW.',
    {
      below: '6.18',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.map(container, LAST_PAGE, w.memory(2 * PAGE).address, 2 * PAGE), E.INVAL, 'device addresses');
        w.is(w.map(container, at(0), LAST_PAGE, 2 * PAGE), E.INVAL, 'process addresses');
      },
    },
    {
      from: '6.18',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.map(container, LAST_PAGE, w.memory(2 * PAGE).address, 2 * PAGE), E.OVERFLOW, 'device addresses');
        w.is(w.map(container, at(0), LAST_PAGE, 2 * PAGE), E.OVERFLOW, 'process addresses');
      },
    },
  ),
  changed(
    'T1-22',
    'The last page of the 64-bit space passes the test for wrap; from 6.18 it can be mapped, found and unmapped.',
    {
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.map(container, at(0), LAST_PAGE, PAGE), E.FAULT, 'as process address: looked up, and not there');
        w.is(w.unmap(container, LAST_PAGE, PAGE), { result: 0, size: 0n }, 'UNMAP_DMA: looked up, and not there');
      },
    },
    {
      from: '6.18',
      iommu: { addressBits: 64 },
      simulationOnly: 'no IOMMU in the lab translates 64 bits',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        w.is(w.map(container, LAST_PAGE, address, PAGE), 0, 'MAP_DMA');
        w.is(w.map(container, LAST_PAGE, address, PAGE), E.EXIST, 'MAP_DMA again');
        w.is(w.unmap(container, LAST_PAGE, PAGE), { result: 0, size: 4096n }, 'UNMAP_DMA');
      },
    },
  ),
  item('T1-23', 'Any overlap with a mapping, even an identical one: EEXIST, and the mapping stays.', async (w) => {
    const { container, device } = w.device(machine.edu);
    const memory = w.memory(8 * PAGE);
    w.is(w.map(container, at(2), memory.address, 2 * PAGE), 0, 'MAP_DMA');
    for (const [page, pages] of [
      [2, 2],
      [2, 1],
      [3, 1],
      [1, 2],
      [3, 2],
      [0, 8],
    ] as const)
      w.is(w.map(container, at(page), memory.address, pages * PAGE), E.EXIST, `${pages} pages at ${page}`);
    memory.bytes.set([1, 2, 3, 4]);
    await dma(w, device, 'from memory', at(2), 4);
    await dma(w, device, 'to memory', at(3), 4);
    w.is([...memory.bytes.subarray(4096, 4100)], [1, 2, 3, 4], 'the mapping translates as before');
    w.is(w.unmap(container, at(2), 2 * PAGE).size, 8192n, 'UNMAP_DMA');
  }),
  item('T1-24', 'Mappings that touch are fine, and stay apart.', (w) => {
    const { container } = w.ready(machine.edu);
    const { address } = w.memory(3 * PAGE);
    for (const page of [1, 0, 2])
      w.is(w.map(container, at(page), address + BigInt(page * PAGE), PAGE), 0, `MAP_DMA of page ${page}`);
    w.is(w.unmap(container, at(1), PAGE), { result: 0, size: 4096n }, 'UNMAP_DMA of the middle one');
    w.is(w.unmap(container, at(0), 3 * PAGE), { result: 0, size: 8192n }, 'UNMAP_DMA of the others');
  }),
  item(
    'T1-25',
    'A process address that is not mapped, or WRITE of memory that the process cannot write: EFAULT, all of it undone.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const before = w.around.locked();
      w.is(w.map(container, at(0), UNMAPPED, PAGE), E.FAULT, 'not mapped');
      const readOnly = BigInt(w.around.readOnlyAddress);
      for (const flags of [2, 3]) w.is(w.map(container, at(0), readOnly, PAGE, flags), E.FAULT, `flags ${flags}`);
      const { fd, memory } = w.shared(4 * PAGE);
      w.is(w.system.truncate(fd, 2 * PAGE), 0, 'two pages cut off');
      w.is(w.map(container, at(0), memory.address, 4 * PAGE), E.FAULT, 'half of it is there');
      w.is(w.around.locked() - before, 0, 'bytes locked');
      w.is(w.unmap(container, at(0), 4 * PAGE).size, 0n, 'nothing is mapped');
      w.is(w.map(container, at(0), memory.address, 2 * PAGE), 0, 'MAP_DMA of what is there');
    },
  ),
];

const pinned: readonly Item[] = [
  item('T1-26', 'READ of memory that is read-only works; the IOMMU refuses what a device writes there.', async (w) => {
    const { container, device } = w.device(machine.edu);
    w.is(w.map(container, at(0), BigInt(w.around.readOnlyAddress), PAGE, 1), 0, 'MAP_DMA of read-only memory');
    const memory = w.memory(PAGE);
    memory.bytes.set([5, 6, 7, 8]);
    w.is(w.map(container, at(1), memory.address, PAGE, 1), 0, 'MAP_DMA for reading');
    // The write comes first: an IOMMU that remembers the page as readable may refuse without a word.
    await dma(w, device, 'to memory', at(1), 4);
    w.is([...memory.bytes.subarray(0, 4)], [5, 6, 7, 8], 'memory after the write');
    const copy = w.memory(PAGE);
    w.is(w.map(container, at(2), copy.address, PAGE), 0, 'MAP_DMA of a page to look at');
    await dma(w, device, 'from memory', at(1), 4);
    await dma(w, device, 'to memory', at(2), 4);
    w.is([...copy.bytes.subarray(0, 4)], [5, 6, 7, 8], 'what the device read');
    const fault = /DMA Write.*\[01:00\.0\] fault addr 0x101000/;
    w.is(await w.until(() => w.around.log().some((line) => fault.test(line))), true, 'the log has the fault');
  }),
  item('T1-27', 'A mapped BAR as process address is accepted, and not counted as locked.', (w) => {
    const { container } = w.ready(machine.edu);
    const { device } = w.device(first);
    const window = w.window(device, 0, 4 * PAGE);
    const before = w.around.locked();
    w.is(w.map(container, at(0), window.address, 4 * PAGE), 0, 'MAP_DMA');
    w.is(w.around.locked() - before, 0, 'bytes locked');
    w.is(w.unmap(container, at(0), 4 * PAGE), { result: 0, size: 16384n }, 'UNMAP_DMA');
    w.is(w.around.locked() - before, 0, 'bytes locked afterwards');
  }),
  item('T1-28', 'Pages are pinned when they are mapped: a later munmap changes nothing for the device.', async (w) => {
    const { container, device } = w.device(machine.edu);
    const [old, fresh] = [w.memory(PAGE), w.memory(PAGE)];
    old.bytes.set([0xca, 0xfe, 0xba, 0xbe]);
    w.is(w.map(container, at(0), old.address, PAGE), 0, 'MAP_DMA');
    w.is(w.map(container, at(1), fresh.address, PAGE), 0, 'MAP_DMA of a page to look at');
    old.unmap();
    w.memory(PAGE).bytes.fill(0x55);
    await dma(w, device, 'from memory', at(0), 4);
    await dma(w, device, 'to memory', at(1), 4);
    w.is([...fresh.bytes.subarray(0, 4)], [0xca, 0xfe, 0xba, 0xbe], 'what the device read');
  }),
  item(
    'T1-29',
    'Without CAP_IPC_LOCK pinned pages count against RLIMIT_MEMLOCK: an exact fit succeeds, more is ENOMEM and a warning, all of it undone.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const { address } = w.memory(3 * PAGE);
      const before = w.around.locked();
      w.is(w.map(container, at(0), address, 2 * PAGE), 0, 'MAP_DMA of all that is allowed');
      w.is(w.around.locked() - before, 8192, 'bytes locked');
      w.is(w.map(container, at(4), address, PAGE), E.NOMEM, 'MAP_DMA of one page more');
      w.is(w.around.locked() - before, 8192, 'bytes locked after the failure');
      w.is(w.unmap(container, at(4), PAGE).size, 0n, 'nothing is mapped there');
      w.is(w.unmap(container, at(0), 2 * PAGE).size, 8192n, 'UNMAP_DMA');
      w.is(w.map(container, at(0), address, 3 * PAGE), E.NOMEM, 'MAP_DMA of three pages at once');
      w.is(w.around.locked() - before, 0, 'bytes locked after that');
      w.is(
        w.around.log().some((line) => line.includes('RLIMIT_MEMLOCK (8192) exceeded')),
        true,
        'the log says so',
      );
    },
    { rights: 'no CAP_IPC_LOCK', memlock: 8192 },
  ),
  changed(
    'T1-30',
    'Each mapping counts: a page that is mapped twice counts twice. With CAP_IPC_LOCK there is no limit, and VmLck rises all the same.',
    {
      memlock: 4096,
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        const before = w.around.locked();
        for (const page of [0, 1, 2]) w.is(w.map(container, at(page), address, PAGE), 0, `MAP_DMA at page ${page}`);
        w.is(w.around.locked() - before, 12288, 'bytes locked');
      },
    },
    {
      memlock: 4096,
      rights: 'no CAP_IPC_LOCK',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        w.is(w.map(container, at(0), address, PAGE), 0, 'MAP_DMA');
        w.is(w.map(container, at(1), address, PAGE), E.NOMEM, 'MAP_DMA of the same page elsewhere');
      },
    },
  ),
  changed(
    'T1-31',
    'The limit is the one at the time of the call; what is charged is the process that maps, from 4.10 also when another one unmaps.',
    {
      from: '4.10',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const before = w.around.locked();
        w.is(w.map(container, at(0), w.memory(2 * PAGE).address, 2 * PAGE), 0, 'MAP_DMA');
        w.is(w.around.locked() - before, 8192, 'bytes locked');
        const request = new Uint8Array(24);
        const view = new DataView(request.buffer);
        view.setUint32(0, 24, true);
        view.setBigUint64(8, at(0), true);
        view.setBigUint64(16, 8192n, true);
        w.is(w.around.heir.ioctl(container, 0x3b72, request), 0, 'UNMAP_DMA by another process');
        w.is(w.around.locked() - before, 0, 'bytes locked then');
      },
    },
    { rights: 'no CAP_IPC_LOCK', memlock: 4096, run: underLimit },
  ),
  changed(
    'T1-32',
    "A device address out of range: the error of the IOMMU's driver; from 5.4 EINVAL, before anything is pinned.",
    {
      below: '5.4',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const before = w.around.locked();
        w.is(w.map(container, 1n << 57n, w.memory(PAGE).address, PAGE), E.FAULT, 'beyond its width, Intel');
        w.is(w.around.locked() - before, 0, 'bytes locked');
      },
    },
    {
      from: '5.4',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const [, top = 0n] = ranges(w, container).at(-1) ?? [];
        for (const iova of [1n << 57n, top + 1n, 0xfee0_0000n])
          w.is(w.map(container, iova, UNMAPPED, PAGE), E.INVAL, `0x${iova.toString(16)}, nothing to pin`);
        const { address } = w.memory(2 * PAGE);
        w.is(w.map(container, 0xfedf_f000n, address, 2 * PAGE), E.INVAL, 'across the end of a range');
        w.is(w.map(container, 0xfedf_f000n, address, PAGE), 0, 'up to the end of a range');
      },
    },
  ),
  item(
    'T1-33',
    'From 5.1 more than dma_entry_limit mappings: ENOSPC, tested after overlap.',
    (w) =>
      withParameter(w, 'dma_entry_limit', '2', () => {
        const { container } = w.ready(machine.edu);
        const { address } = w.memory(PAGE);
        for (const page of [0, 1]) w.is(w.map(container, at(page), address, PAGE), 0, `MAP_DMA at page ${page}`);
        w.is(w.map(container, at(1), address, PAGE), E.EXIST, 'overlap');
        w.is(w.map(container, at(2), address, PAGE), E.NOSPC, 'a third');
        w.is(w.map(container, 1n << 57n, address, PAGE), E.NOSPC, 'a third, out of range');
        w.is(w.unmap(container, at(0), PAGE).size, 4096n, 'UNMAP_DMA of the first');
        w.is(w.map(container, at(2), address, PAGE), 0, 'MAP_DMA in its stead');
      }),
    { from: '5.1' },
  ),
  item('T1-34', 'disable_hugepages pins and maps page by page; nothing else is seen of it.', (w) =>
    withParameter(w, 'disable_hugepages', 'Y', async () => {
      const { container, device } = w.device(machine.edu);
      const memory = w.memory(HUGE);
      const before = w.around.locked();
      w.is(w.map(container, at(0), memory.address, HUGE), 0, 'MAP_DMA of 4 MiB');
      w.is(w.around.locked() - before, HUGE, 'bytes locked');
      memory.bytes.set([3, 1, 4, 1], HUGE - 4096);
      await dma(w, device, 'from memory', at(HUGE / PAGE - 1), 4);
      await dma(w, device, 'to memory', at(512), 4);
      w.is([...memory.bytes.subarray(512 * PAGE, 512 * PAGE + 4)], [3, 1, 4, 1], 'what the device copied');
      w.is(info(w, container).pageSizes & -info(w, container).pageSizes, 4096n, 'smallest page size');
      w.is(w.unmap(container, at(0), HUGE), { result: 0, size: BigInt(HUGE) }, 'UNMAP_DMA');
    }),
  ),
];

export const t1Map: readonly Item[] = [...refused, ...pinned];

function underLimit(w: World): void {
  const { container } = w.ready(machine.edu);
  const { address } = w.memory(2 * PAGE);
  const before = w.around.locked();
  w.is(w.map(container, at(0), address, 2 * PAGE), E.NOMEM, 'MAP_DMA of two pages, one allowed');
  w.around.limitLocked(8192);
  w.is(w.map(container, at(0), address, 2 * PAGE), 0, 'MAP_DMA, two allowed');
  w.around.limitLocked(4096);
  w.is(w.around.locked() - before, 8192, 'bytes locked when one is allowed again');
  w.is(w.map(container, at(4), address, PAGE), E.NOMEM, 'MAP_DMA of one more');
  w.is(w.unmap(container, at(0), 2 * PAGE).size, 8192n, 'UNMAP_DMA');
  w.is(w.around.locked() - before, 0, 'bytes locked at the end');
}
