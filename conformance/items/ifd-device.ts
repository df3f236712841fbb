/** Device files: `/dev/vfio/devices/vfioX`. */

import { attach, attached, bind, bound, cdev, cdevName, detach, Iommufd, structure } from '../src/iommufd-world.js';
import { changed, type Item, item } from '../src/item.js';
import { E, machine, type World, words } from '../src/world.js';
import { reaches } from './ifd-calls.js';
import { at, PAGE } from './t1-calls.js';

const [first, second] = machine.pair;
const CONFIG = 7 * 2 ** 40;
const later = 'no kernel of the lab is that new';
const cdevs = { from: '6.6', needs: 'iommufd' } as const;

/** A mapping of a page at {@link at}(1): its bytes. */
function page(w: World, iommufd: Iommufd, ioas: number): Uint8Array {
  const memory = w.memory(PAGE);
  w.is(iommufd.map(ioas, at(1), memory.address, PAGE), 0, 'IOAS_MAP');
  return memory.bytes;
}

export const deviceItems: readonly Item[] = [
  item(
    'IFD-1',
    'vfio-dev/ of a device in sysfs names its file below /dev/vfio/devices.',
    (w) => {
      const names = [machine.edu, first, second].map((address) => cdevName(w, address));
      w.is([new Set(names).size, names.every((name) => /^vfio\d+$/.test(name))], [3, true], names.join(' '));
      const status = w.system.status(`/dev/vfio/devices/${names[0]}`);
      w.is(typeof status === 'number' ? status : status.type, 'character device', 'the file');
      w.ok(cdev(w, machine.edu), 'open');
    },
    cdevs,
  ),
  item(
    'IFD-2',
    'A device file may be opened many times; until BIND all but that is EINVAL: every ioctl, read, write and mmap.',
    (w) => {
      const device = cdev(w, machine.edu);
      w.ok(cdev(w, machine.edu), 'a second open');
      w.is(w.deviceFlags(device), E.INVAL, 'GET_INFO');
      for (const request of [0x3b6f, 0x3b77, 0x3b78, 0x3b99])
        w.is(w.ioctl(device, request, words(12, 0, 0)), E.INVAL, `ioctl ${request.toString(16)}`);
      w.is(w.system.pread(device, new Uint8Array(4), CONFIG), E.INVAL, 'read');
      w.is(w.system.pwrite(device, new Uint8Array(4), CONFIG), E.INVAL, 'write');
      w.is(w.system.mapDevice(device, 0, PAGE, 3), E.INVAL, 'mmap');
    },
    cdevs,
  ),
  item(
    'IFD-3',
    'BIND_IOMMUFD takes 16 bytes: argsz, flags, iommufd, devid. Shorter, unknown flags, a negative descriptor: EINVAL.',
    (w) => {
      const { fd } = new Iommufd(w);
      const device = cdev(w, machine.edu);
      w.is(bind(w, device, fd, 15), E.INVAL, 'argsz 15');
      for (const flags of [2, 0x8000_0000]) w.is(bind(w, device, fd, 16, flags), E.INVAL, `flags ${flags}`);
      w.is(bind(w, device, -1), E.INVAL, 'descriptor -1');
      w.ok(bind(w, device, fd), 'BIND');
    },
    cdevs,
  ),
  item(
    'IFD-4',
    'BIND on a descriptor that came from a group: EINVAL.',
    (w) => w.is(bind(w, w.device(machine.edu).device, new Iommufd(w).fd), E.INVAL, 'BIND'),
    cdevs,
  ),
  item(
    'IFD-5',
    "BIND while the device's group is open: EBUSY; and the group cannot be opened while the device is bound.",
    (w) => {
      const { fd } = new Iommufd(w);
      const group = w.group(first);
      const device = cdev(w, first);
      w.is(bind(w, device, fd), E.BUSY, 'BIND while the group is open');
      w.close(group);
      w.ok(bind(w, device, fd), 'BIND afterwards');
      w.is(w.open(w.groupPath(first)), E.BUSY, 'open of the group');
      w.close(device);
      w.ok(w.open(w.groupPath(first)), 'open of the group after the device was closed');
    },
    cdevs,
  ),
  item(
    'IFD-6',
    'A second BIND, by the same descriptor or another: EINVAL.',
    (w) => {
      const { iommufd, device } = bound(w, machine.edu);
      w.is(bind(w, device, iommufd.fd), E.INVAL, 'the same descriptor');
      w.is(bind(w, cdev(w, machine.edu), iommufd.fd), E.INVAL, 'another descriptor');
    },
    cdevs,
  ),
  item(
    'IFD-7',
    'BIND with a descriptor that is not open: EBADF; with one that is no iommufd: EBADFD.',
    (w) => {
      const device = cdev(w, machine.edu);
      w.is(bind(w, device, 900), E.BADF, 'not open');
      w.is(bind(w, device, w.eventfd()), E.BADFD, 'an eventfd');
      w.is(bind(w, device, w.container()), E.BADFD, 'a container');
    },
    cdevs,
  ),
  changed(
    'IFD-8',
    'BIND while something else has the DMA of the group: EPERM. Without isolated interrupts too, unless iommufd allows unsafe ones.',
    {
      ...cdevs,
      run: (w) => {
        const { fd } = new Iommufd(w);
        bound(w, first);
        w.is(bind(w, cdev(w, second), fd), E.PERM, 'the other member is bound to another iommufd');
      },
    },
    {
      ...cdevs,
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        w.is(w.bind(second, 'nvme'), 0, "to the host's driver");
        w.is(bind(w, cdev(w, first), new Iommufd(w).fd), E.PERM, "the host's driver has the other member");
      },
    },
    {
      ...cdevs,
      mode: 'no remapping',
      run: (w) => {
        const device = cdev(w, machine.edu);
        const { fd } = new Iommufd(w);
        w.is(bind(w, device, fd), E.PERM, 'allow_unsafe_interrupts N');
        w.setParameter('iommufd', 'allow_unsafe_interrupts', 'Y');
        const id = bind(w, device, fd);
        w.setParameter('iommufd', 'allow_unsafe_interrupts', 'N');
        w.ok(id, 'allow_unsafe_interrupts Y');
      },
    },
  ),
  item(
    'IFD-9',
    'BIND gives a number above 0 for commands of the iommufd. A failed one may be repeated; closing the device is the way back.',
    (w) => {
      const iommufd = new Iommufd(w);
      const device = cdev(w, machine.edu);
      w.is(bind(w, device, 900), E.BADF, 'BIND that fails');
      const id = bind(w, device, iommufd.fd);
      w.is(id > 0, true, `number ${id}`);
      w.is(typeof iommufd.capabilities(id), 'bigint', 'GET_HW_INFO');
      w.is(iommufd.destroy(id), E.BUSY, 'DESTROY while it is bound');
      w.close(device);
      w.is(iommufd.destroy(id), E.NOENT, 'DESTROY after it was closed');
      w.ok(bind(w, cdev(w, machine.edu), iommufd.fd), 'BIND anew');
    },
    cdevs,
  ),
  item(
    'IFD-10',
    'ATTACH takes an IOAS or a HWPT and gives the HWPT in use. Unknown: ENOENT; any other object: EINVAL.',
    (w) => {
      const { iommufd, device, id } = bound(w, machine.edu);
      const ioas = iommufd.ioas();
      w.is(attach(w, device, ioas, 11), E.INVAL, 'argsz 11');
      w.is(attach(w, device, ioas, 12, 0x8000_0000), E.INVAL, 'unknown flags');
      w.is(attach(w, device, 999), E.NOENT, 'unknown number');
      w.is(attach(w, device, id), E.INVAL, 'a device');
      const hwpt = attach(w, device, ioas);
      w.is(hwpt > 0 && hwpt !== ioas, true, `ATTACH of IOAS ${ioas} gave ${hwpt}`);
      w.is(attach(w, device, hwpt), hwpt, 'ATTACH of the HWPT');
      w.is(attach(w, device, ioas), hwpt, 'ATTACH of the IOAS again');
      w.is(detach(w, device), 0, 'DETACH');
      w.is(attach(w, device, hwpt), E.NOENT, 'what ATTACH made goes with its last device');
    },
    cdevs,
  ),
  item(
    'IFD-11',
    'ATTACH while attached: the new address space takes the place of the old one.',
    async (w) => {
      const { iommufd, device, ioas } = attached(w, machine.edu);
      const other = iommufd.ioas();
      const [before, after] = [page(w, iommufd, ioas), page(w, iommufd, other)];
      w.is(await reaches(w, device, at(1), before), true, 'DMA to the first');
      w.ok(attach(w, device, other), 'ATTACH of the other');
      w.is(await reaches(w, device, at(1), after), true, 'DMA to the second');
      w.is(await reaches(w, device, at(1), before), false, 'DMA to the first, afterwards');
      w.is(iommufd.destroy(ioas), 0, 'DESTROY of the first');
    },
    cdevs,
  ),
  item(
    'IFD-12',
    'DETACH takes 8 bytes and is 0 even when not attached. After it the DMA of the device is blocked.',
    async (w) => {
      const { iommufd, device } = bound(w, machine.edu);
      w.is(detach(w, device), 0, 'not attached');
      w.is(detach(w, device, 7), E.INVAL, 'argsz 7');
      w.is(detach(w, device, 8, 0x8000_0000), E.INVAL, 'unknown flags');
      const ioas = iommufd.ioas();
      w.ok(attach(w, device, ioas), 'ATTACH');
      const bytes = page(w, iommufd, ioas);
      w.is(await reaches(w, device, at(1), bytes), true, 'DMA while attached');
      w.is(detach(w, device), 0, 'DETACH');
      w.is(await reaches(w, device, at(1), bytes), false, 'DMA after DETACH');
    },
    cdevs,
  ),
  item(
    'IFD-13',
    'ATTACH and DETACH on a descriptor that came from a group: ENOTTY.',
    (w) => {
      const { device } = w.device(machine.edu);
      w.is(attach(w, device, 1), E.NOTTY, 'ATTACH');
      w.is(detach(w, device), E.NOTTY, 'DETACH');
    },
    cdevs,
  ),
  item(
    'IFD-14',
    'A device that is bound and not attached works, but for its DMA.',
    async (w) => {
      const { iommufd, device } = bound(w, machine.edu);
      w.is(w.config(device, 0, 4), 0x11e8_1234, 'vendor and device');
      w.ok(w.deviceFlags(device), 'GET_INFO');
      w.is(w.setIrqs(device, 0x24, 0, 0, 1, [w.eventfd()]), 0, 'SET_IRQS');
      w.setConfig(device, 4, 2, 6);
      w.is(w.window(device, 0, PAGE).window.read32(0) & 0xff, 0xed, 'register 0 of edu');
      w.is(await reaches(w, device, at(1), page(w, iommufd, iommufd.ioas())), false, 'DMA');
    },
    cdevs,
  ),
  changed(
    'IFD-15',
    'From 6.15 ATTACH and DETACH know flag 1, PASID; from 6.17 BIND flag 1, TOKEN, with the address of a token of 16 bytes.',
    {
      ...cdevs,
      below: '6.15',
      run: (w) => {
        const { device, ioas } = attached(w, machine.edu);
        w.is(attach(w, device, ioas, 16, 1), E.INVAL, 'ATTACH with PASID');
        w.is(detach(w, device, 12, 1), E.INVAL, 'DETACH with PASID');
        const other = cdev(w, first);
        w.is(bind(w, other, new Iommufd(w).fd, 24, 1), E.INVAL, 'BIND with TOKEN');
      },
    },
    {
      from: '6.17',
      needs: 'iommufd',
      simulationOnly: later,
      run: (w) => {
        const { device, ioas } = attached(w, machine.edu);
        w.is(attach(w, device, ioas, 12, 1), E.INVAL, 'ATTACH with PASID, too short for it');
        w.is(w.ioctl(device, 0x3b78, words(12, 1, 5)), E.OPNOTSUPP, 'DETACH of a PASID that this driver has not');
        const token = w.memory(PAGE).address;
        const bytes = structure([24, 1, new Iommufd(w).fd, 0], token);
        w.is(w.ioctl(cdev(w, first), 0x3b76, bytes), E.INVAL, 'BIND with the token of no virtual function');
      },
    },
  ),
  item(
    'IFD-16',
    'ATTACH while the device is being reset: EBUSY, from 7.0.',
    async (w) => {
      const { iommufd, device } = bound(w, machine.edu);
      const ioas = iommufd.ioas();
      w.is(await w.around.duringReset(machine.edu, () => attach(w, device, ioas)), E.BUSY, 'ATTACH');
      w.ok(attach(w, device, ioas), 'ATTACH afterwards');
    },
    { from: '7.0', needs: 'iommufd', simulationOnly: later },
  ),
];

/** Items of device files that came last. */
export const laterDeviceItems: readonly Item[] = [
  changed(
    'IFD-39',
    'After 6.12 there are commands 8F to 94, and the structures of BIND, ATTACH, DETACH grew to 24, 16, 12: what is behind them is zeros.',
    {
      ...cdevs,
      below: '6.13',
      run: (w) => {
        const iommufd = new Iommufd(w);
        for (const number of [0x8f, 0x90, 0x92, 0x94])
          w.is(iommufd.call(number, words(8, 0)), E.NOTTY, `command ${number.toString(16)}`);
        const device = cdev(w, machine.edu);
        const bytes = words(20, 0, iommufd.fd, 0, 1);
        w.is(w.ioctl(device, 0x3b76, bytes), 0, 'BIND, whatever is behind');
      },
    },
    {
      from: '6.17',
      needs: 'iommufd',
      simulationOnly: later,
      run: (w) => {
        const iommufd = new Iommufd(w);
        const device = cdev(w, machine.edu);
        w.is(w.ioctl(device, 0x3b76, words(28, 0, iommufd.fd, 0, 0, 0, 1)), E.E2BIG, 'BIND with more behind');
        w.is(w.ioctl(device, 0x3b76, words(28, 0, iommufd.fd, 0, 0, 0, 0)), 0, 'BIND with zeros behind');
        const ioas = iommufd.ioas();
        w.is(iommufd.call(0x92, words(8, 0)), 0, 'CHANGE_PROCESS without mappings');
        w.is(iommufd.map(ioas, at(0), w.memory(PAGE).address, PAGE), 0, 'IOAS_MAP');
        w.is(iommufd.call(0x92, words(8, 0)), E.INVAL, 'CHANGE_PROCESS with memory that no file stands behind');
        for (const number of [0x90, 0x91, 0x93, 0x94])
          w.is(iommufd.call(number, words(4, 0)), E.INVAL, `command ${number.toString(16)} with 4 bytes`);
        w.is(iommufd.call(0x99, words(8, 0)), E.NOTTY, 'a number beyond the last');
      },
    },
  ),
  item(
    'IFD-40',
    'PASID: a page table that was not made for it: EINVAL; a driver without it: EOPNOTSUPP.',
    (w) => {
      const { iommufd, device, id, ioas, hwpt } = attached(w, machine.edu);
      w.is(w.ioctl(device, 0x3b77, words(16, 1, hwpt, 5)), E.INVAL, 'ATTACH with PASID 5');
      w.is(iommufd.hwpt(id, ioas, 8), E.OPNOTSUPP, 'HWPT_ALLOC with ALLOC_PASID');
    },
    { from: '6.15', needs: 'iommufd', simulationOnly: later },
  ),
  item(
    'IFD-41',
    "fdinfo of a device's descriptor has a line vfio-device-syspath.",
    (w) => {
      const { device } = bound(w, machine.edu);
      const syspath = (fd: number) => {
        const text = w.system.readFile(`/proc/self/fdinfo/${fd}`);
        return typeof text === 'string' ? /^vfio-device-syspath:\s*(\/sys\/devices\/.*)$/m.exec(text)?.[1] : undefined;
      };
      w.is(syspath(device)?.endsWith(`/${machine.edu}`), true, 'of a device file');
      w.is(syspath(w.device(first).device)?.endsWith(`/${first}`), true, 'of a descriptor that came from a group');
    },
    { from: '7.2', needs: 'iommufd', simulationOnly: later },
  ),
];
