/** An iommufd in the place of a container, and dirty tracking. */

import { ALL, attach, attached, bound, Iommufd, structure } from '../src/iommufd-world.js';
import { changed, type Item, item } from '../src/item.js';
import { E, long, machine, type World, word, words } from '../src/world.js';
import { reaches } from './ifd-calls.js';
import { at, dma, PAGE } from './t1-calls.js';

const [first, second] = machine.pair;
const needs = { from: '6.2', needs: 'iommufd' } as const;
const tracking = { from: '6.7', needs: 'iommufd' } as const;

/** A group in an iommufd: the descriptors. */
function inContainer(
  w: World,
  address: string,
): { readonly iommufd: Iommufd; readonly fd: number; readonly group: number } {
  const iommufd = new Iommufd(w);
  const group = w.group(address);
  w.is(w.setContainer(group, iommufd.fd), 0, 'SET_CONTAINER');
  return { iommufd, fd: iommufd.fd, group };
}

/** The whole way to an open device. */
function deviceOf(w: World, type = 3): { readonly iommufd: Iommufd; readonly fd: number; readonly device: number } {
  const { iommufd, fd, group } = inContainer(w, machine.edu);
  w.is(w.setIommu(fd, type), 0, `SET_IOMMU(${type})`);
  return { iommufd, fd, device: w.ok(w.deviceFd(group, machine.edu), 'GET_DEVICE_FD') };
}

export const containerItems: readonly Item[] = [
  item(
    'IFD-30',
    'SET_CONTAINER takes an iommufd; the first group makes a compatible address space there. VFIO_IOAS gets, sets, clears it.',
    async (w) => {
      const iommufd = new Iommufd(w);
      w.is(iommufd.vfioIoas(0), E.NODEV, 'GET when there is none');
      const group = w.group(machine.edu);
      w.is(w.setContainer(group, iommufd.fd), 0, 'SET_CONTAINER');
      w.is(w.status(group), 3, 'status of the group');
      const ioas = w.ok(iommufd.vfioIoas(0), 'GET');
      const device = w.ok(w.deviceFd(group, machine.edu), 'GET_DEVICE_FD');
      const memory = w.memory(PAGE);
      w.is(iommufd.map(ioas, at(0), memory.address, PAGE), 0, 'IOAS_MAP there');
      w.is(await reaches(w, device, at(0), memory.bytes), true, 'DMA');
      w.is(w.unmap(iommufd.fd, at(0), PAGE), { result: 0, size: 4096n }, 'UNMAP_DMA');
      const other = iommufd.ioas();
      w.is([iommufd.vfioIoas(1, other), iommufd.vfioIoas(0)], [0, other], 'SET');
      w.is(iommufd.vfioIoas(1, 999), E.NOENT, 'SET of an unknown one');
      w.is([iommufd.vfioIoas(2), iommufd.vfioIoas(0)], [0, E.NODEV], 'CLEAR');
      w.is(iommufd.vfioIoas(3), E.OPNOTSUPP, 'operation 3');
    },
    needs,
  ),
  item(
    'IFD-31',
    'Unlike type1: extensions 6 and 10 are 0; SET_IOMMU without a group ENODEV, unknown EINVAL, twice fine; DIRTY_PAGES ENOTTY.',
    (w) => {
      const empty = new Iommufd(w).fd;
      w.is(w.ioctl(empty, 0x3b64), 0, 'GET_API_VERSION');
      w.is(
        [1, 3, 6, 9, 10].map((n) => w.extension(empty, n)),
        [1, 1, 0, 1, 0],
        'extensions 1, 3, 6, 9, 10',
      );
      w.is(w.extension(empty, 4), E.NODEV, 'extension 4 without an address space');
      w.is(w.setIommu(empty, 3), E.NODEV, 'SET_IOMMU without a group');
      const { fd } = deviceOf(w);
      w.is(w.setIommu(fd, 3), 0, 'SET_IOMMU again');
      for (const type of [0, 6, 8, 99]) w.is(w.setIommu(fd, type), E.INVAL, `SET_IOMMU(${type})`);
      w.is(w.ioctl(fd, 0x3b75, words(8, 1)), E.NOTTY, 'DIRTY_PAGES');
      w.is(w.extension(fd, 4) >= 0, true, 'extension 4');
    },
    needs,
  ),
  item(
    'IFD-32',
    'MAP_DMA and UNMAP_DMA work before SET_IOMMU, once a group is in. Neither READ nor WRITE is not refused up front; VADDR is EINVAL.',
    (w) => {
      const empty = new Iommufd(w).fd;
      const { address } = w.memory(PAGE);
      w.is(w.map(empty, at(0), address, PAGE), E.NODEV, 'without a group');
      const { fd } = inContainer(w, machine.edu);
      w.is(w.map(fd, at(0), address, PAGE), 0, 'MAP_DMA');
      w.is(w.map(fd, at(1), address, PAGE, 0), 0, 'MAP_DMA, flags 0');
      w.is(w.map(fd, at(2), address, PAGE, 4), E.INVAL, 'MAP_DMA, VADDR');
      w.is(w.map(fd, at(0), address, PAGE), E.EXIST, 'MAP_DMA again');
      w.is(w.unmap(fd, at(0), 2 * PAGE), { result: 0, size: 8192n }, 'UNMAP_DMA');
      w.is(w.unmap(fd, at(0), PAGE), { result: 0, size: 0n }, 'UNMAP_DMA of nothing');
    },
    needs,
  ),
  changed(
    'IFD-33',
    'UNMAP_DMA of a part: ENOENT under model 3, with the size written back; under model 1 mappings are cut where one likes.',
    {
      ...needs,
      run: (w) => {
        const { fd } = deviceOf(w);
        const { address } = w.memory(4 * PAGE);
        w.is(w.map(fd, at(0), address, 4 * PAGE), 0, 'MAP_DMA');
        w.is(w.unmap(fd, at(1), PAGE), { result: E.NOENT, size: 0n }, 'UNMAP_DMA in the middle');
        w.is(w.unmap(fd, at(0), 4 * PAGE), { result: 0, size: 16384n }, 'UNMAP_DMA of all');
      },
    },
    {
      ...needs,
      run: async (w) => {
        const { fd, device } = deviceOf(w, 1);
        const memory = w.memory(4 * PAGE);
        w.is(w.map(fd, at(0), memory.address, 4 * PAGE), 0, 'MAP_DMA');
        w.is(w.unmap(fd, at(2), PAGE), { result: 0, size: 4096n }, 'UNMAP_DMA in the middle');
        for (const page of [0, 3])
          w.is(await reaches(w, device, at(page), memory.bytes.subarray(page * PAGE)), true, `DMA to page ${page}`);
        w.is(w.unmap(fd, at(0), 4 * PAGE), { result: 0, size: 12288n }, 'UNMAP_DMA of the rest');
      },
    },
  ),
  item(
    'IFD-34',
    'GET_INFO of an iommufd: DMA_AVAIL is 0xFFFFFFFF, and there is no MIGRATION.',
    (w) => {
      const { fd } = deviceOf(w);
      const bytes = new Uint8Array(512);
      bytes.set(words(bytes.length));
      w.is(w.ioctl(fd, 0x3b70, bytes), 0, 'GET_INFO');
      w.is([word(bytes, 4), long(bytes, 8) & 4096n], [3, 4096n], 'flags, pages of 4096');
      const found: [number, number][] = [];
      for (let next = word(bytes, 16); next !== 0; next = word(bytes, next + 4))
        found.push([word(bytes, next) & 0xffff, word(bytes, next + 8)]);
      w.is(
        found,
        [
          [3, 0xffff_ffff],
          [1, 2],
        ],
        'capabilities, each with its first word',
      );
    },
    needs,
  ),
  item(
    'IFD-35',
    'SET_CONTAINER claims nothing: that the host has a member of the group shows at GET_DEVICE_FD.',
    (w) => {
      w.is(w.unbind(second), 0, 'unbind');
      w.is(w.bind(second, 'nvme'), 0, "to the host's driver");
      const { group } = inContainer(w, first);
      w.is(w.status(group), 3, 'status of the group');
      w.is(w.deviceFd(group, first), E.PERM, 'GET_DEVICE_FD');
    },
    needs,
  ),
];

export const dirtyItems: readonly Item[] = [
  changed(
    'IFD-37',
    'HWPT_ALLOC with DIRTY_TRACKING (2) makes a page table whose written pages can be asked for; without the hardware: EOPNOTSUPP.',
    {
      ...tracking,
      run: (w) => {
        const { iommufd, id } = bound(w, machine.edu);
        const ioas = iommufd.ioas();
        w.is(iommufd.capabilities(id), 0n, 'capabilities of the hardware');
        w.is(iommufd.hwpt(id, ioas, 2), E.OPNOTSUPP, 'HWPT_ALLOC with DIRTY_TRACKING');
        const hwpt = w.ok(iommufd.hwpt(id, ioas), 'HWPT_ALLOC');
        w.is(iommufd.call(0x8b, words(16, 1, hwpt, 0)), E.OPNOTSUPP, 'SET_DIRTY_TRACKING');
      },
    },
    {
      ...tracking,
      iommu: { dirtyTracking: true },
      simulationOnly: "the lab's IOMMU does not note which pages are written",
      run: async (w) => {
        const { iommufd, device, id } = bound(w, machine.edu);
        w.is(iommufd.capabilities(id), 1n, 'capabilities of the hardware');
        const ioas = iommufd.ioas();
        w.is(iommufd.map(ioas, at(0), w.memory(8 * PAGE).address, 8 * PAGE), 0, 'IOAS_MAP');
        const hwpt = w.ok(iommufd.hwpt(id, ioas, 2), 'HWPT_ALLOC');
        w.is(attach(w, device, hwpt), hwpt, 'ATTACH');
        w.is(iommufd.call(0x8b, words(16, 1, hwpt, 0)), 0, 'SET_DIRTY_TRACKING');
        await dma(w, device, 'to memory', at(3), 4);
        await dma(w, device, 'from memory', at(5), 4);
        const bitmap = w.memory(PAGE);
        const ask = (flags: number) => {
          bitmap.bytes[0] = 0;
          const bytes = structure([48, hwpt, flags, 0], at(0), 0x8000n, 4096n, bitmap.address);
          w.is(iommufd.call(0x8c, bytes), 0, 'GET_DIRTY_BITMAP');
          return bitmap.bytes[0];
        };
        w.is([ask(1), ask(0), ask(0)], [8, 8, 0], 'without clearing, with it, afterwards');
      },
    },
  ),
  item(
    'IFD-38',
    'GET_DIRTY_BITMAP: length 0, misaligned, or page size 0: EINVAL; a range that wraps: EOVERFLOW.',
    (w) => {
      const { iommufd, hwpt } = attached(w, machine.edu);
      const bitmap = w.memory(PAGE);
      w.is(iommufd.dirty(hwpt, at(0), 0n, 4096n, bitmap), E.INVAL, 'length 0');
      w.is(iommufd.dirty(hwpt, at(0) + 1n, 4096n, 4096n, bitmap), E.INVAL, 'misaligned');
      w.is(iommufd.dirty(hwpt, at(0), 4097n, 4096n, bitmap), E.INVAL, 'length misaligned');
      w.is(iommufd.dirty(hwpt, at(0), 4096n, 0n, bitmap), E.INVAL, 'page size 0');
      w.is(iommufd.dirty(hwpt, ALL - 0xfffn, 0x2000n, 4096n, bitmap), E.OVERFLOW, 'wrap');
    },
    tracking,
  ),
];
