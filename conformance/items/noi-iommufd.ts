/** No-IOMMU mode by way of iommufd. */

import { ALL, attach, bind, bound, cdev, cdevName, FIXED, Iommufd, pinned, structure } from '../src/iommufd-world.js';
import { changed, type Item, item } from '../src/item.js';
import { E, long, machine, type World } from '../src/world.js';
import { at, PAGE } from './t1-calls.js';

const GET_DEVICE_FD = 0x3b6a;
const GET_PA = 0x95;
const later = 'no kernel of the lab is that new';
const needs = { from: '6.2', mode: 'noiommu', needs: 'iommufd' } as const;
const newest = { from: '7.3', mode: 'noiommu', needs: 'iommufd', simulationOnly: later } as const;

const nodeOf = (w: World): string => `/dev/vfio/devices/${cdevName(w, machine.edu)}`;

/** IOAS_NOIOMMU_GET_PA: the result, and what came back as length and physical address. */
function physical(
  iommufd: Iommufd,
  ioas: number,
  iova: bigint,
  length: bigint,
  flags = 0,
): { readonly result: number; readonly length: bigint; readonly address: bigint } {
  const bytes = structure([40, flags, ioas, 0], iova, length, 0n);
  const result = iommufd.call(GET_PA, bytes);
  return { result, length: long(bytes, 24), address: long(bytes, 32) };
}

export const iommufdItems: readonly Item[] = [
  changed(
    'NOI-26',
    'With an iommufd as container SET_CONTAINER puts it in no-IOMMU mode: extensions 1, 3, 9 are 0, 8 is 1, whatever the parameter says.',
    {
      ...needs,
      run: (w) => {
        const { fd } = new Iommufd(w);
        w.is(w.extension(fd, 8), 1, 'extension 8 at first');
        w.is(w.setContainer(w.group(machine.edu), fd), 0, 'SET_CONTAINER');
        const answers = () => [1, 3, 8, 9].map((n) => w.extension(fd, n));
        w.is(answers(), [0, 0, 1, 0], 'extensions 1, 3, 8, 9');
        w.setParameter('vfio', 'enable_unsafe_noiommu_mode', 'N');
        const off = answers();
        w.setParameter('vfio', 'enable_unsafe_noiommu_mode', 'Y');
        w.is(off, [0, 0, 1, 0], 'extensions while the parameter is N');
        w.is(w.setIommu(fd, 1), E.INVAL, 'SET_IOMMU(1)');
        w.is(w.setIommu(fd, 8), 0, 'SET_IOMMU(8)');
      },
    },
    {
      ...needs,
      run: (w) => {
        const iommufd = new Iommufd(w);
        w.is(iommufd.vfioIoas(1, iommufd.ioas()), 0, 'a compatibility address space');
        w.is(w.setContainer(w.group(machine.edu), iommufd.fd), E.INVAL, 'SET_CONTAINER');
      },
    },
    {
      ...needs,
      mode: 'mixed',
      run: (w) => {
        const { fd } = new Iommufd(w);
        w.is(w.setContainer(w.group(machine.nvme), fd), 0, 'SET_CONTAINER');
        w.is(w.setContainer(w.group(machine.edu), fd), E.INVAL, 'SET_CONTAINER of a group with an IOMMU');
      },
    },
  ),
  item(
    'NOI-27',
    'GET_DEVICE_FD in that mode: EPERM without CAP_SYS_RAWIO, and while there is a compatibility address space.',
    (w) => {
      const iommufd = new Iommufd(w);
      const group = w.group(machine.edu);
      w.is(w.setContainer(group, iommufd.fd), 0, 'SET_CONTAINER');
      const name = new TextEncoder().encode(`${machine.edu}\0`);
      w.is(w.around.heir.ioctl(group, GET_DEVICE_FD, name), E.PERM, 'without CAP_SYS_RAWIO');
      w.is(iommufd.vfioIoas(1, iommufd.ioas()), 0, 'a compatibility address space');
      w.is(w.deviceFd(group, machine.edu), E.PERM, 'with it');
      w.is(iommufd.vfioIoas(2), 0, 'CLEAR');
      w.ok(w.deviceFd(group, machine.edu), 'without it');
    },
    needs,
  ),
  item(
    'NOI-28',
    'A device without an IOMMU has a name in vfio-dev/ and no node below /dev/vfio/devices. From 7.3 it has.',
    (w) => w.is(w.system.status(nodeOf(w)), E.NOENT, nodeOf(w)),
    { ...needs, from: '6.6', below: '7.3' },
  ),
];

export const newestItems: readonly Item[] = [
  changed(
    'NOI-31',
    'From 7.3: /dev/vfio/devices/noiommu-vfioX. BIND, ATTACH and IOAS_MAP pin memory; their addresses are keys, and not for the device.',
    {
      ...newest,
      run: (w) => {
        w.is(/^noiommu-vfio\d+$/.test(cdevName(w, machine.edu)), true, cdevName(w, machine.edu));
        const { iommufd, device, id } = bound(w, machine.edu);
        const ioas = iommufd.ioas();
        w.ok(attach(w, device, ioas), 'ATTACH');
        const before = pinned(w);
        w.is(iommufd.map(ioas, at(0), w.memory(4 * PAGE).address, 4 * PAGE), 0, 'IOAS_MAP');
        w.is(pinned(w) - before, 4 * PAGE, 'bytes pinned');
        w.is(iommufd.capabilities(id), E.OPNOTSUPP, 'GET_HW_INFO');
      },
    },
    {
      ...newest,
      rights: 'no CAP_SYS_RAWIO',
      run: (w) => w.is(w.open(nodeOf(w)), E.PERM, 'open without CAP_SYS_RAWIO'),
    },
  ),
  changed(
    'NOI-32',
    'From 7.3: IOMMU_IOAS_NOIOMMU_GET_PA, 0x3B95, gives the physical address of a mapping, and how far it goes on from there.',
    {
      ...newest,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const ioas = iommufd.ioas();
        const memory = w.memory(2 * PAGE);
        w.is(iommufd.map(ioas, at(0), memory.address, 2 * PAGE, FIXED | 6), 0, 'IOAS_MAP');
        w.is(physical(iommufd, ioas, at(0), 4096n).result, E.OPNOTSUPP, 'before a device is attached');
        const device = cdev(w, machine.edu);
        w.ok(bind(w, device, iommufd.fd), 'BIND');
        w.ok(attach(w, device, ioas), 'ATTACH');
        w.is(physical(iommufd, ioas, at(0), 4096n, 1).result, E.OPNOTSUPP, 'flags 1');
        w.is(physical(iommufd, ioas, at(0), 0n).result, E.INVAL, 'length 0');
        w.is(physical(iommufd, ioas, ALL - 0xfffn, 0x2000n).result, E.OVERFLOW, 'wrap');
        w.is(physical(iommufd, ioas, at(4), 4096n).result, E.NOENT, 'nothing is mapped');
        w.is(physical(iommufd, 999, at(0), 4096n).result, E.NOENT, 'an unknown address space');
        const found = physical(iommufd, ioas, at(0) + 16n, 16n);
        w.is([found.result, found.length], [0, 16n], 'result, length');
        w.is([found.address % 4096n, found.address > 0n], [16n, true], `address ${found.address}`);
      },
    },
    {
      ...newest,
      rights: 'no CAP_SYS_RAWIO',
      run: (w) => {
        const iommufd = new Iommufd(w);
        w.is(physical(iommufd, iommufd.ioas(), at(0), 4096n).result, E.PERM, 'without CAP_SYS_RAWIO');
      },
    },
  ),
];
