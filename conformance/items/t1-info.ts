import { changed, type Item, item } from '../src/item.js';
import { E, long, machine, type World, word } from '../src/world.js';
import { at, available, capability, dma, info, PAGE, ranges, withParameter } from './t1-calls.js';

const first = machine.pair[0] as string;

/** The three models, or the two that are left: how each answers to unmapping the second half of a mapping. */
function unmapRules(w: World, types: readonly number[]): void {
  const memory = w.memory(2 * PAGE);
  for (const type of types) {
    const { container, group } = w.ready(machine.edu, type);
    w.is(w.map(container, at(0), memory.address, 2 * PAGE), 0, `MAP_DMA, model ${type}`);
    w.is(w.map(container, at(0), memory.address, 2 * PAGE), E.EXIST, `MAP_DMA again, model ${type}`);
    const { result } = w.unmap(container, at(1), PAGE);
    w.is(result, type === 1 ? 0 : E.INVAL, `UNMAP_DMA of the second half, model ${type}`);
    w.is(w.unmap(container, at(0), 2 * PAGE).size, 8192n, `UNMAP_DMA of the whole, model ${type}`);
    w.close(group);
    w.close(container);
  }
}

const attach: readonly Item[] = [
  changed(
    'T1-1',
    'TYPE1 (1), TYPE1v2 (3) and, until 7.2, NESTING (6, which is v2) differ in how they unmap alone.',
    { run: (w) => unmapRules(w, [1, 3]) },
    {
      below: '7.2',
      iommu: { nesting: true },
      simulationOnly: 'the IOMMU in the lab has no nesting',
      run: (w) => unmapRules(w, [1, 3, 6]),
    },
  ),
  item(
    'T1-2',
    'Where interrupts are not remapped, attach is EPERM unless allow_unsafe_interrupts is Y.',
    async (w) => {
      const container = w.container();
      w.is(w.setContainer(w.group(machine.edu), container), 0, 'SET_CONTAINER');
      w.is(w.setIommu(container, 3), E.PERM, 'SET_IOMMU');
      w.is(
        w.around.log().some((line) => line.includes('No interrupt remapping')),
        true,
        'the log says why',
      );
      await withParameter(w, 'allow_unsafe_interrupts', 'Y', () =>
        w.is(w.setIommu(container, 3), 0, 'SET_IOMMU with allow_unsafe_interrupts'),
      );
    },
    { mode: 'no remapping' },
  ),
  item('T1-3', 'A group that is attached cannot be attached again: EINVAL.', (w) => {
    const { container, group } = w.ready(machine.edu);
    w.is(w.setContainer(group, container), E.INVAL, 'the same container');
    w.is(w.setContainer(group, w.container()), E.INVAL, 'another container');
    w.is(w.map(container, at(0), w.memory(PAGE).address, PAGE), 0, 'MAP_DMA: all is as it was');
  }),
  changed(
    'T1-4',
    "Nesting is refused with the domain's error where the IOMMU does not have it; from 7.2 there is none: ENODEV.",
    {
      below: '7.2',
      run: (w) => {
        const container = w.container();
        w.is(w.setContainer(w.group(machine.edu), container), 0, 'SET_CONTAINER');
        w.is(w.setIommu(container, 6), E.INVAL, 'SET_IOMMU(6) with an IOMMU of Intel');
        w.is(w.setIommu(container, 3), 0, 'SET_IOMMU(3) then');
      },
    },
    {
      from: '7.2',
      run: (w) => {
        const container = w.container();
        w.is(w.setContainer(w.group(machine.edu), container), 0, 'SET_CONTAINER');
        w.is(w.setIommu(container, 6), E.NODEV, 'SET_IOMMU(6)');
      },
    },
  ),
  item('T1-5', 'A group that comes later has all mappings that were made before.', async (w) => {
    const { container, device } = w.device(machine.edu);
    const memory = w.memory(PAGE);
    memory.bytes.set([0x11, 0x22, 0x33, 0x44]);
    w.is(w.map(container, at(0), memory.address, PAGE), 0, 'MAP_DMA');
    const group = w.group(first);
    w.is(w.setContainer(group, container), 0, 'SET_CONTAINER of the other group');
    const other = w.ok(w.deviceFd(group, first), 'GET_DEVICE_FD of the other device');
    for (const [place, one] of [device, other].entries()) {
      await dma(w, one, 'from memory', at(0), 4);
      await dma(w, one, 'to memory', at(0) + BigInt(16 + 16 * place), 4);
    }
    w.is([...memory.bytes.subarray(16, 20)], [0x11, 0x22, 0x33, 0x44], 'what the first device wrote');
    w.is([...memory.bytes.subarray(32, 36)], [0x11, 0x22, 0x33, 0x44], 'what the second device wrote');
    w.is(w.unmap(container, at(0), PAGE).size, 4096n, 'bytes unmapped');
  }),
  changed(
    'T1-6',
    'From 5.4 a group is refused with EINVAL while mappings lie where its devices have reserved ranges.',
    {
      from: '5.4',
      iommu: { reserved: { [machine.nvme]: [[0x20_0000n, 0x2f_ffffn]] } },
      simulationOnly: 'no device of the machine in the lab has a reserved range of its own',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const group = w.group(machine.nvme);
        const memory = w.memory(PAGE);
        w.is(w.map(container, 0x2f_f000n, memory.address, PAGE), 0, 'MAP_DMA in the range');
        w.is(w.setContainer(group, container), E.INVAL, 'SET_CONTAINER');
        w.is(w.unmap(container, 0x2f_f000n, PAGE).size, 4096n, 'UNMAP_DMA');
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER without the mapping');
        w.is(w.map(container, 0x2f_f000n, memory.address, PAGE), E.INVAL, 'MAP_DMA in the range then');
        w.is(
          ranges(w, container).slice(0, 2),
          [
            [0n, 0x1f_ffffn],
            [0x30_0000n, 0xfedf_ffffn],
          ],
          'IOVA ranges',
        );
        w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
        w.is(w.map(container, 0x2f_f000n, memory.address, PAGE), 0, 'MAP_DMA when the group has left');
      },
    },
    {
      below: '5.4',
      iommu: { reserved: { [machine.nvme]: [[0x20_0000n, 0x2f_ffffn]] } },
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.map(container, 0x2f_f000n, w.memory(PAGE).address, PAGE), 0, 'MAP_DMA in the range');
        w.is(w.setContainer(w.group(machine.nvme), container), 0, 'SET_CONTAINER');
      },
    },
  ),
  item(
    'T1-7',
    'From 5.12 attach is EBUSY while the process address of some mapping is void.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const memory = w.memory(PAGE);
      const group = w.group(machine.nvme);
      w.is(w.map(container, at(0), memory.address, PAGE), 0, 'MAP_DMA');
      w.is(w.unmap(container, at(0), PAGE, 4).result, 0, 'UNMAP_DMA with VADDR');
      w.is(w.setContainer(group, container), E.BUSY, 'SET_CONTAINER');
      w.is(w.map(container, at(0), memory.address, PAGE, 4), 0, 'MAP_DMA with VADDR');
      w.is(w.setContainer(group, container), 0, 'SET_CONTAINER then');
    },
    { from: '5.12' },
  ),
  item('T1-8', 'When the last group leaves, everything is unmapped and unpinned.', (w) => {
    const { container, group } = w.ready(machine.edu);
    const other = w.group(machine.nvme);
    const before = w.around.locked();
    w.is(w.setContainer(other, container), 0, 'SET_CONTAINER');
    w.is(w.map(container, at(0), w.memory(4 * PAGE).address, 4 * PAGE), 0, 'MAP_DMA');
    w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER of the first');
    w.is(w.around.locked() - before, 16384, 'bytes locked with one group left');
    w.is(w.unsetContainer(other), 0, 'UNSET_CONTAINER of the last');
    w.is(w.around.locked() - before, 0, 'bytes locked with none');
  }),
];

const CHAIN_HELD = { from: '5.4' } as const;

const getInfo: readonly Item[] = [
  changed(
    'T1-9',
    'GET_INFO sets PGSIZES (1) and iova_pgsizes, and leaves an argsz that is large enough as it is.',
    {
      below: '5.4',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { result, argsz, flags } = info(w, container, 16);
        w.is([result, argsz, flags], [0, 16, 1], 'result, argsz and flags');
        w.is(info(w, container, 15).result, E.INVAL, 'argsz 15');
      },
    },
    {
      ...CHAIN_HELD,
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { result, argsz, flags, pageSizes } = info(w, container);
        w.is([result, argsz, flags & 1], [0, 512, 1], 'result, argsz and PGSIZES');
        w.is(pageSizes > 0n, true, 'there are page sizes');
        w.is(info(w, container, 15).result, E.INVAL, 'argsz 15');
      },
    },
  ),
  changed(
    'T1-10',
    "The smallest page size is never below the processor's page: smaller ones are shown as that one.",
    {
      run: (w) => {
        const { pageSizes } = info(w, w.ready(machine.edu).container);
        w.is(pageSizes & 0xfffn, 0n, 'sizes below 4096');
      },
    },
    {
      iommu: { pageSizes: 0x20_0200n },
      simulationOnly: "no IOMMU in the lab has pages smaller than the processor's",
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(info(w, container).pageSizes, 0x20_1000n, 'iova_pgsizes of an IOMMU with 512 bytes and 2 MiB');
        w.is(w.map(container, at(0) + 512n, w.memory(PAGE).address, PAGE), E.INVAL, 'MAP_DMA at 512');
      },
    },
  ),
  changed(
    'T1-11',
    "Until 5.15 Intel's driver claims every size from 4 KiB up, then those it has; the smallest alone is for alignment.",
    {
      below: '5.15',
      run: (w) => w.is(info(w, w.ready(machine.edu).container).pageSizes, 0xffff_ffff_ffff_f000n, 'iova_pgsizes'),
    },
    {
      from: '5.15',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(info(w, container).pageSizes, 0x4020_1000n, 'iova_pgsizes');
        const memory = w.memory(3 * PAGE);
        w.is(w.map(container, at(1), memory.address, 3 * PAGE), 0, 'MAP_DMA of three small pages');
      },
    },
  ),
  changed(
    'T1-12',
    'From 5.4 CAPS (2) announces a chain: MIGRATION (2, from 5.8), DMA_AVAIL (3, from 5.10), IOVA_RANGE (1), in this order.',
    {
      below: '5.4',
      run: (w) => w.is(info(w, w.ready(machine.edu).container).flags, 1, 'flags'),
    },
    {
      from: '5.10',
      run: (w) => {
        const { container } = w.ready(machine.edu);
        const { flags, chain } = info(w, container);
        w.is(flags, 3, 'flags');
        w.is(
          chain.map(({ id, version }) => [id, version]),
          [
            [2, 1],
            [3, 1],
            [1, 1],
          ],
          'chain',
        );
        const migration = capability(w, container, 2);
        w.is(word(migration, 0), 0, 'MIGRATION: flags');
        w.is([long(migration, 8), long(migration, 16)], [4096n, 0x1000_0000n], 'MIGRATION: page size, largest bitmap');
      },
    },
  ),
  item(
    'T1-13',
    'From 5.4 a buffer too small for the chain: success, argsz says what it needs, cap_offset is 0; with space it is 24.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const small = info(w, container, 16);
      w.is([small.result, small.flags & 2], [0, 2], 'argsz 16');
      w.is(small.argsz > 24, true, 'argsz is raised');
      w.is(small.capOffset, 0xeeee_eeee, 'cap_offset behind argsz is not written');
      const { argsz: needed } = small;
      for (const size of [24, needed - 1]) {
        const { result, argsz, capOffset } = info(w, container, size);
        w.is([result, argsz, capOffset], [0, needed, 0], `argsz ${size}`);
      }
      const exact = info(w, container, needed);
      w.is([exact.result, exact.argsz, exact.capOffset], [0, needed, 24], `argsz ${needed}`);
      w.is(exact.bytes[needed], 0xee, 'nothing is written behind it');
    },
    CHAIN_HELD,
  ),
  item(
    'T1-14',
    'From 5.4 IOVA_RANGE leaves out the MSI window 0xFEE00000..0xFEEFFFFF; its ends are inclusive.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const all = ranges(w, container);
      w.is(all.length >= 2, true, 'two ranges or more');
      w.is(
        all.some(([low, high]) => low <= 0xfeef_ffffn && high >= 0xfee0_0000n),
        false,
        'a range reaches into the window',
      );
      w.is([all[0]?.[0], all.some(([, high]) => high === 0xfedf_ffffn)], [0n, true], 'the last address before it');
      const [, top = 0n] = all.at(-1) ?? [];
      w.is(top & (top + 1n), 0n, 'the last address is the highest of a number of bits');
      const memory = w.memory(PAGE);
      for (const iova of [0xfedf_f000n, 0xfef0_0000n, top - 0xfffn])
        w.is(w.map(container, iova, memory.address, PAGE), 0, `MAP_DMA at 0x${iova.toString(16)}`);
      for (const iova of [0xfee0_0000n, 0xfeef_f000n, top + 1n])
        w.is(w.map(container, iova, memory.address, PAGE), E.INVAL, `MAP_DMA at 0x${iova.toString(16)}`);
    },
    CHAIN_HELD,
  ),
  item(
    'T1-15',
    'From 5.10 DMA_AVAIL starts at dma_entry_limit, 65535 by default, drops by one with a mapping and rises when it goes.',
    (w) => {
      const { container } = w.ready(machine.edu);
      const memory = w.memory(4 * PAGE);
      w.is(w.parameter('vfio_iommu_type1', 'dma_entry_limit'), '65535', 'dma_entry_limit');
      w.is(available(w, container), 65535, 'at the start');
      w.is(w.map(container, at(0), memory.address, 2 * PAGE), 0, 'MAP_DMA of two pages');
      w.is(w.map(container, at(8), memory.address, PAGE), 0, 'MAP_DMA of one');
      w.is(available(w, container), 65533, 'with two mappings');
      w.is(w.map(container, at(8), memory.address, PAGE), E.EXIST, 'MAP_DMA that fails');
      w.is(available(w, container), 65533, 'after a failure');
      w.is(w.unmap(container, at(0), 0x10_0000).size, 12288n, 'UNMAP_DMA of both');
      w.is(available(w, container), 65535, 'at the end');
    },
    { from: '5.10' },
  ),
];

export const t1Info: readonly Item[] = [...attach, ...getInfo];
