/** Commands of iommufd: common rules, and address spaces. */

import {
  ALL,
  attach,
  attached,
  bound,
  FIXED,
  Iommufd,
  pinned,
  READABLE,
  structure,
  WRITEABLE,
} from '../src/iommufd-world.js';
import { changed, type Item, item } from '../src/item.js';
import { E, machine, words } from '../src/world.js';
import { reaches } from './ifd-calls.js';
import { at, PAGE, UNMAPPED } from './t1-calls.js';

const first = machine.pair[0];
const needs = { from: '6.2', needs: 'iommufd' } as const;
const cdevs = { from: '6.6', needs: 'iommufd' } as const;
const later = 'no kernel of the lab is that new';

export const commandItems: readonly Item[] = [
  item(
    'IFD-17',
    'A structure begins with its size: below the minimum EINVAL; longer with something behind E2BIG, with zeros fine.',
    (w) => {
      const iommufd = new Iommufd(w);
      w.is(iommufd.call(0x81, words(8, 0, 0)), E.INVAL, 'IOAS_ALLOC with 8 bytes');
      w.is(iommufd.call(0x81, words(16, 0, 0, 1)), E.E2BIG, 'IOAS_ALLOC with 16 bytes, not all zero');
      w.is(iommufd.call(0x81, words(16, 0, 0, 0)), 0, 'IOAS_ALLOC with 16 bytes');
    },
    needs,
  ),
  item(
    'IFD-18',
    'A reserved field that is not 0, and an unknown flag: EOPNOTSUPP.',
    (w) => {
      const iommufd = new Iommufd(w);
      const ioas = iommufd.ioas();
      const { address } = w.memory(PAGE);
      w.is(iommufd.call(0x81, words(12, 1, 0)), E.OPNOTSUPP, 'IOAS_ALLOC, flags 1');
      w.is(iommufd.call(0x84, structure([32, ioas, 0, 1], 0n, 0n)), E.OPNOTSUPP, 'IOVA_RANGES, reserved 1');
      w.is(iommufd.map(ioas, at(0), address, PAGE, 15), E.OPNOTSUPP, 'IOAS_MAP, flag 8');
      w.is(iommufd.call(0x85, structure([40, 7, ioas, 1], address, 4096n, at(0))), E.OPNOTSUPP, 'MAP, reserved 1');
      w.is(iommufd.option(2, 1, ioas).result, E.OPNOTSUPP, 'OPTION 2');
      w.is(iommufd.option(1, 2, ioas).result, E.OPNOTSUPP, 'OPTION, operation 2');
    },
    needs,
  ),
  item(
    'IFD-19',
    'A number that no object has, or one of another type: ENOENT.',
    (w) => {
      const { iommufd, id } = bound(w, machine.edu);
      const { address } = w.memory(PAGE);
      for (const ioas of [0, 999, id]) {
        w.is(iommufd.ranges(ioas).result, E.NOENT, `IOVA_RANGES of ${ioas}`);
        w.is(iommufd.map(ioas, at(0), address, PAGE), E.NOENT, `IOAS_MAP in ${ioas}`);
        w.is(iommufd.unmap(ioas, at(0), PAGE).result, E.NOENT, `IOAS_UNMAP in ${ioas}`);
      }
      w.is(iommufd.capabilities(iommufd.ioas()), E.NOENT, 'GET_HW_INFO of an IOAS');
    },
    cdevs,
  ),
  item(
    'IFD-20',
    'DESTROY: ENOENT for what is not there, EBUSY for what is in use.',
    (w) => {
      const { iommufd, device, ioas, hwpt } = attached(w, machine.edu);
      w.is(iommufd.destroy(999), E.NOENT, 'unknown');
      w.is(iommufd.destroy(ioas), E.BUSY, 'an IOAS with a device');
      w.is(iommufd.destroy(hwpt), E.BUSY, 'its HWPT');
      w.close(device);
      w.is(iommufd.destroy(hwpt), E.NOENT, 'the HWPT after the device was closed');
      w.is(iommufd.destroy(ioas), 0, 'the IOAS');
      w.is(iommufd.destroy(ioas), E.NOENT, 'the IOAS again');
    },
    cdevs,
  ),
  item(
    'IFD-21',
    'Devices that are bound keep the iommufd alive after it was closed.',
    async (w) => {
      const { iommufd, device, ioas } = attached(w, machine.edu);
      const memory = w.memory(PAGE);
      w.is(iommufd.map(ioas, at(0), memory.address, PAGE), 0, 'IOAS_MAP');
      w.close(iommufd.fd);
      w.is(await reaches(w, device, at(0), memory.bytes), true, 'DMA afterwards');
      const before = pinned(w);
      w.close(device);
      w.is(before - pinned(w), PAGE, 'bytes unpinned when it closes');
    },
    cdevs,
  ),
];

export const ioasItems: readonly Item[] = [
  item(
    'IFD-22',
    'IOAS_ALLOC gives a number each time; one iommufd has many address spaces.',
    (w) => {
      const iommufd = new Iommufd(w);
      const [one, two] = [iommufd.ioas(), iommufd.ioas()];
      const { address } = w.memory(PAGE);
      w.is(one > 0 && two > 0 && one !== two, true, `${one} and ${two}`);
      for (const ioas of [one, two]) w.is(iommufd.map(ioas, at(0), address, PAGE), 0, `IOAS_MAP in ${ioas}`);
    },
    needs,
  ),
  changed(
    'IFD-23',
    'IOVA_RANGES tells what may be mapped, ends inclusive: at first everything; attaching a device takes out what it and the IOMMU cannot.',
    {
      ...needs,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const wanted = { result: 0, count: 1, alignment: 1n, ranges: [[0n, ALL]] };
        w.is(iommufd.ranges(iommufd.ioas()), wanted, 'a fresh one');
      },
    },
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        const all = iommufd.ranges(ioas);
        w.is([all.result, all.count, all.alignment], [0, 2, 4096n], 'result, count, alignment');
        w.is([all.ranges[0], all.ranges[1]?.[0]], [[0n, 0xfedf_ffffn], 0xfef0_0000n], 'without the window of MSIs');
        w.is((all.ranges[1]?.[1] ?? ALL) < ALL, true, 'not more than the IOMMU translates');
        const { result, count, ranges } = iommufd.ranges(ioas, 1);
        w.is({ result, count, ranges }, { result: E.MSGSIZE, count: 2, ranges: [all.ranges[0]] }, 'room for one');
        w.is(iommufd.ranges(ioas, 0).result, E.MSGSIZE, 'no room');
      },
    },
  ),
  changed(
    'IFD-24',
    'IOAS_MAP: neither READABLE nor WRITEABLE, length 0, misaligned: EINVAL. 2^64-1 as address or length: EOVERFLOW.',
    {
      ...needs,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const ioas = iommufd.ioas();
        const { address } = w.memory(PAGE);
        w.is(iommufd.map(ioas, at(0), address, PAGE, FIXED), E.INVAL, 'neither');
        w.is(iommufd.map(ioas, ALL, address, PAGE), E.OVERFLOW, 'address 2^64-1');
        w.is(iommufd.map(ioas, at(0), address, ALL), E.OVERFLOW, 'length 2^64-1');
        w.is(iommufd.map(ioas, at(0), address, 0), E.INVAL, 'length 0');
        w.is(iommufd.map(ioas, at(0) + 1n, address + 1n, 7), 0, 'any byte, while nothing is attached');
      },
    },
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        const { address } = w.memory(2 * PAGE);
        w.is(iommufd.map(ioas, at(0) + 1n, address, PAGE), E.INVAL, 'address');
        w.is(iommufd.map(ioas, at(0), address + 1n, PAGE), E.INVAL, 'process address');
        w.is(iommufd.map(ioas, at(0), address, PAGE + 1), E.INVAL, 'length');
        for (const flags of [FIXED | READABLE, FIXED | WRITEABLE]) {
          w.is(iommufd.map(ioas, at(0), address, PAGE, flags), 0, `flags ${flags}`);
          w.is(iommufd.unmap(ioas, at(0), PAGE).result, 0, 'IOAS_UNMAP');
        }
      },
    },
  ),
  changed(
    'IFD-25',
    'FIXED: overlap EEXIST, reserved EINVAL, wrap EOVERFLOW. Else the kernel chooses, never 0, within the allowed ranges; no room: ENOSPC.',
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        const { address } = w.memory(4 * PAGE);
        w.is(iommufd.map(ioas, at(0), address, 2 * PAGE), 0, 'IOAS_MAP');
        w.is(iommufd.map(ioas, at(1), address, PAGE), E.EXIST, 'overlap');
        w.is(iommufd.map(ioas, 0xfee0_0000n, address, PAGE), E.INVAL, 'the window of MSIs');
        w.is(iommufd.map(ioas, ALL - 0xfffn, address, 2 * PAGE), E.OVERFLOW, 'wrap');
      },
    },
    {
      ...needs,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const ioas = iommufd.ioas();
        const { address } = w.memory(4 * PAGE);
        const [one, two] = [iommufd.place(ioas, address, PAGE), iommufd.place(ioas, address, PAGE)];
        w.is(one > 0 && two > 0 && one !== two, true, `addresses ${one} and ${two}`);
        w.is(iommufd.allow(ioas, [0x40_0000n, 0x40_1fffn]), 0, 'ALLOW_IOVAS of two pages');
        const within = [iommufd.place(ioas, address, PAGE), iommufd.place(ioas, address, PAGE)];
        w.is(within, [0x40_0000n, 0x40_1000n], 'addresses within');
        w.is(iommufd.place(ioas, address, PAGE), E.NOSPC, 'a third page');
        w.is(iommufd.map(ioas, at(0), address, PAGE), 0, 'FIXED elsewhere');
      },
    },
  ),
  changed(
    'IFD-26',
    'Nothing is pinned while no device is attached; then it is, and bad memory shows: EFAULT. Registers of a device cannot be mapped.',
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, device } = bound(w, machine.edu);
        const ioas = iommufd.ioas();
        const before = pinned(w);
        w.is(iommufd.map(ioas, at(0), w.memory(4 * PAGE).address, 4 * PAGE), 0, 'IOAS_MAP');
        w.is(pinned(w) - before, 0, 'bytes pinned');
        w.is(iommufd.map(ioas, at(8), UNMAPPED, PAGE), 0, 'IOAS_MAP of memory that is not there');
        w.is(attach(w, device, ioas), E.FAULT, 'ATTACH');
        w.is(pinned(w) - before, 0, 'bytes pinned after it failed');
        w.is(iommufd.unmap(ioas, at(8), PAGE).result, 0, 'IOAS_UNMAP');
        w.ok(attach(w, device, ioas), 'ATTACH');
        w.is(pinned(w) - before, 4 * PAGE, 'bytes pinned after ATTACH');
        w.is(iommufd.map(ioas, at(8), UNMAPPED, PAGE), E.FAULT, 'IOAS_MAP while attached');
        const { address } = w.memory(PAGE);
        w.is(iommufd.map(ioas, at(8), address, PAGE), 0, 'IOAS_MAP of a page');
        w.is(pinned(w) - before, 5 * PAGE, 'bytes pinned then');
      },
    },
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        const other = bound(w, first);
        w.setConfig(other.device, 4, 2, 6);
        const { address } = w.window(other.device, 0, PAGE);
        w.is(iommufd.map(ioas, at(0), address, PAGE), E.FAULT, 'IOAS_MAP of registers');
      },
    },
  ),
  changed(
    'IFD-27',
    'More than RLIMIT_MEMLOCK: ENOMEM; by user, or with RLIMIT_MODE 1 by process as type1 does. That needs CAP_SYS_RESOURCE and an empty iommufd.',
    {
      ...cdevs,
      rights: 'no CAP_IPC_LOCK',
      memlock: 64 * PAGE,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        const [locked, before] = [w.around.locked(), pinned(w)];
        const { address } = w.memory(128 * PAGE);
        w.is(iommufd.map(ioas, at(0), address, 128 * PAGE), E.NOMEM, '128 pages');
        w.is(pinned(w) - before, 0, 'bytes pinned');
        w.is(iommufd.map(ioas, at(0), address, 16 * PAGE), 0, '16 pages');
        w.is(w.around.locked() - locked, 0, 'bytes that the process has locked');
      },
    },
    {
      ...cdevs,
      rights: 'no CAP_IPC_LOCK',
      memlock: 64 * PAGE,
      run: (w) => {
        const iommufd = new Iommufd(w);
        w.is(iommufd.option(0, 1, 0), { result: 0, value: 0n }, 'RLIMIT_MODE at first');
        w.is(iommufd.option(0, 0, 0, 2n).result, E.INVAL, 'mode 2');
        w.is(iommufd.option(0, 0, 0, 1n).result, 0, 'mode 1');
        const { ioas } = attached(w, machine.edu, iommufd);
        w.is(iommufd.option(0, 0, 0, 0n).result, E.BUSY, 'mode 0 when there are objects');
        w.is(iommufd.option(0, 1, 0).value, 1n, 'RLIMIT_MODE');
        const locked = w.around.locked();
        const { address } = w.memory(128 * PAGE);
        w.is(iommufd.map(ioas, at(0), address, 128 * PAGE), E.NOMEM, '128 pages');
        w.is(iommufd.map(ioas, at(0), address, 16 * PAGE), 0, '16 pages');
        w.is(w.around.locked() - locked, 16 * PAGE, 'bytes that the process has locked');
      },
    },
    {
      ...needs,
      rights: 'no CAP_SYS_RESOURCE',
      run: (w) => {
        const iommufd = new Iommufd(w);
        w.is(iommufd.option(0, 0, 0, 1n).result, E.PERM, 'RLIMIT_MODE 1');
        w.is(iommufd.option(0, 1, 0).result, 0, 'asking for it');
      },
    },
  ),
  item(
    'IFD-28',
    'IOAS_UNMAP takes whole mappings: none, or one that is cut: ENOENT. 0 with length 2^64-1 takes all. The length unmapped comes back.',
    (w) => {
      const iommufd = new Iommufd(w);
      const ioas = iommufd.ioas();
      const { address } = w.memory(4 * PAGE);
      for (const page of [0, 4]) w.is(iommufd.map(ioas, at(page), address, 2 * PAGE), 0, 'IOAS_MAP');
      w.is(iommufd.unmap(ioas, at(0), PAGE).result, E.NOENT, 'a part');
      w.is(iommufd.unmap(ioas, at(1), 8 * PAGE).result, E.NOENT, 'beginning inside');
      w.is(iommufd.unmap(ioas, at(8), PAGE).result, E.NOENT, 'nothing there');
      w.is(iommufd.unmap(ioas, at(0), 0).result, E.INVAL, 'length 0');
      w.is(iommufd.unmap(ioas, at(0), 5 * PAGE).result, E.NOENT, 'ending inside');
      w.is(iommufd.unmap(ioas, at(0), 2 * PAGE).result, E.NOENT, 'the whole one before that is gone');
      w.is(iommufd.map(ioas, at(0), address, PAGE), 0, 'IOAS_MAP');
      w.is(iommufd.unmap(ioas, at(0), 6 * PAGE), { result: 0, length: 3n * 4096n }, 'two, and a hole');
      w.is(iommufd.unmap(ioas, 0n, ALL), { result: 0, length: 0n }, 'all of nothing');
      w.is(iommufd.map(ioas, at(0), address, PAGE), 0, 'IOAS_MAP');
      w.is(iommufd.unmap(ioas, 0n, ALL), { result: 0, length: 4096n }, 'all');
    },
    needs,
  ),
  changed(
    'IFD-29',
    'IOAS_COPY shows mapped memory elsewhere without pinning it again. A hole: ENOENT; WRITEABLE of what was not: EPERM.',
    {
      ...cdevs,
      run: async (w) => {
        const { iommufd, device, ioas } = attached(w, machine.edu);
        const memory = w.memory(2 * PAGE);
        w.is(iommufd.map(ioas, at(0), memory.address, 2 * PAGE), 0, 'IOAS_MAP');
        const before = pinned(w);
        w.is(iommufd.copy({ ioas, iova: at(8) }, { ioas, iova: at(1) }, PAGE), 0, 'IOAS_COPY');
        w.is(pinned(w) - before, 0, 'bytes pinned by it');
        w.is(await reaches(w, device, at(8), memory.bytes.subarray(PAGE)), true, 'DMA by the copy');
      },
    },
    {
      ...needs,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const [one, two] = [iommufd.ioas(), iommufd.ioas()];
        const { address } = w.memory(4 * PAGE);
        w.is(iommufd.map(one, at(0), address, PAGE), 0, 'IOAS_MAP');
        w.is(iommufd.map(one, at(1), address, PAGE, FIXED | READABLE), 0, 'IOAS_MAP for reading');
        const from = (page: number) => ({ ioas: one, iova: at(page) });
        w.is(iommufd.copy({ ioas: two, iova: at(0) }, from(1), 2 * PAGE), E.NOENT, 'with a hole');
        w.is(iommufd.copy({ ioas: two, iova: at(0) }, from(1), PAGE), E.PERM, 'WRITEABLE');
        w.is(iommufd.copy({ ioas: two, iova: at(0) }, from(0), 2 * PAGE, FIXED | READABLE), 0, 'two mappings');
        w.is(iommufd.unmap(two, 0n, ALL).length, 8192n, 'unmapped of the copy');
      },
    },
    {
      ...cdevs,
      run: (w) => {
        const { iommufd, ioas } = attached(w, machine.edu);
        w.is(iommufd.allow(ioas, [at(1), at(1)]), E.INVAL, 'ALLOW_IOVAS of an empty range');
        w.is(iommufd.allow(ioas, [at(0), at(2)], [at(1), at(3)]), E.INVAL, 'ranges that overlap');
        w.is(iommufd.allow(ioas, [0xfed0_0000n, 0xfee0_0fffn]), E.ADDRINUSE, 'the window of MSIs');
        w.is(iommufd.allow(ioas, [at(0), at(1)]), 0, 'a good one');
      },
    },
  ),
];

/** IOAS_MAP_FILE. */
export const fileItems: readonly Item[] = [
  item(
    'IFD-36',
    'IOAS_MAP_FILE, command 8F, maps from a descriptor; registers cannot be mapped by their address still.',
    async (w) => {
      const { iommufd, device, ioas } = attached(w, machine.edu);
      const { fd, memory } = w.shared(2 * PAGE);
      const map = (file: number) => iommufd.call(0x8f, structure([40, 7, ioas, file], 4096n, 4096n, at(0)));
      w.is(map(900), E.BADF, 'a descriptor that is not open');
      w.is(map(fd), 0, 'the second page of a memfd');
      w.is(await reaches(w, device, at(0), memory.bytes.subarray(PAGE)), true, 'DMA to the second page');
      const other = bound(w, first);
      w.setConfig(other.device, 4, 2, 6);
      w.is(iommufd.map(ioas, at(8), w.window(other.device, 0, PAGE).address, PAGE), E.FAULT, 'IOAS_MAP of registers');
    },
    { from: '6.13', needs: 'iommufd', simulationOnly: later },
  ),
];
