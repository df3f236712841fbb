/** GET_DEVICE_FD, part of section GRP. */

import { changed, type Item, item } from '../src/item.js';
import { E, machine, type World, word, words } from '../src/world.js';

const GET_DEVICE_FD = 0x3b6a;
const CONFIG = 7 * 2 ** 40;
const [first, second] = machine.pair;

const nul = (name: string): Uint8Array => new TextEncoder().encode(`${name}\0`);

/** Opens files until there is no descriptor left: the last one that there was. */
function fillTable(w: World): number {
  let last = 0;
  for (;;) {
    const fd = w.eventfd();
    if (fd < 0) {
      w.is(fd, E.MFILE, 'eventfd with all descriptors in use');
      return last;
    }
    last = fd;
  }
}

/** Whether edu, free and bus master, still is one after a GET_DEVICE_FD without a descriptor left: opening it ends that. */
function staysMaster(w: World): boolean {
  const config = w.ok(w.open(`/sys/bus/pci/devices/${machine.edu}/config`), 'open of the configuration');
  const command = new Uint8Array(2);
  const { group } = w.ready(machine.edu);
  w.is(w.system.pread(config, command, 4), 2, 'read of COMMAND');
  command[0] = (command[0] as number) | 4;
  w.is(w.system.pwrite(config, command, 4), 2, 'write of COMMAND');
  fillTable(w);
  w.is(w.ioctl(group, GET_DEVICE_FD, nul(machine.edu)), E.MFILE, 'GET_DEVICE_FD');
  w.is(w.system.pread(config, command, 4), 2, 'read of COMMAND');
  return ((command[0] as number) & 4) !== 0;
}

/** The physical function is opened with a token, which stays; its virtual function, made afterwards, opens with that one alone. */
function tokenOfVirtualFunction(w: World, token: string): void {
  const { sriov } = machine;
  const virtual = sriov.replace(/.$/, '1');
  const make = (count: number) => w.system.writeFile(`/sys/bus/pci/devices/${sriov}/sriov_numvfs`, `${count}`);
  w.is(w.bind(sriov, 'vfio-pci'), 0, 'bind of the physical function');
  const { group } = w.ready(sriov);
  w.ok(w.deviceFd(group, `${sriov} ${token}`), 'the physical function, with the token');
  w.closeAll();
  w.setParameter('vfio_pci', 'enable_sriov', 'Y');
  const made = make(1);
  const answers: number[] = [];
  if (made === 0) {
    const ready = w.ready(virtual);
    answers.push(w.deviceFd(ready.group, virtual));
    answers.push(w.deviceFd(ready.group, `${virtual} vf_token=ffffffff-4455-6677-8899-aabbccddeeff`));
    answers.push(Math.min(0, w.deviceFd(ready.group, `${virtual} ${token}`)));
    w.closeAll();
  }
  const ended = make(0);
  w.setParameter('vfio_pci', 'enable_sriov', 'N');
  w.is([made, ended], [0, 0], 'a virtual function, made and taken away');
  w.is(answers, [E.ACCES, E.ACCES, 0], 'the virtual function without the token, with another, with it');
}

const nameOf = (length: number): Uint8Array => new Uint8Array(length + 1).fill(0x61, 0, length);

export const deviceFdItems: readonly Item[] = [
  item(
    'GRP-26',
    'GET_DEVICE_FD takes the exact name, NUL-terminated. Longer than a page: EINVAL; a bad pointer: EFAULT.',
    (w) => {
      const { group } = w.ready(machine.edu);
      for (const name of [
        '',
        '01:00.0',
        '0000:01:00.00',
        '0000:01:00.',
        '0:1:0.0',
        ` ${machine.edu}`,
        `${machine.edu}x`,
      ])
        w.is(w.deviceFd(group, name), E.NODEV, `"${name}"`);
      w.is(w.ioctl(group, GET_DEVICE_FD, nameOf(4095)), E.NODEV, 'a page with its NUL');
      w.is(w.ioctl(group, GET_DEVICE_FD, nameOf(4096)), E.INVAL, 'more than a page');
      w.is(w.ioctl(group, GET_DEVICE_FD, 0), E.FAULT, 'a bad pointer');
      w.ok(w.deviceFd(group, machine.edu), 'the name');
    },
  ),
  changed(
    'GRP-27',
    'GET_DEVICE_FD without container or model, or of a group that is not viable: EINVAL; from 6.0 the name is tested first.',
    {
      run: (w) => {
        const group = w.group(machine.edu);
        w.is(w.deviceFd(group, machine.edu), E.INVAL, 'no container');
        w.is(w.setContainer(group, w.container()), 0, 'SET_CONTAINER');
        w.is(w.deviceFd(group, machine.edu), E.INVAL, 'no model');
      },
    },
    {
      below: '6.0',
      run: (w) => w.is(w.deviceFd(w.group(machine.edu), 'nothing'), E.INVAL, 'no container, unknown name'),
    },
    {
      below: '5.19',
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
        w.is(w.deviceFd(w.ready(first).group, first), E.INVAL, 'not viable');
      },
    },
    {
      from: '6.0',
      run: (w) => w.is(w.deviceFd(w.group(machine.edu), 'nothing'), E.NODEV, 'no container, unknown name'),
    },
  ),
  item('GRP-28', 'A name that is not of this group, or not bound to vfio-pci: ENODEV.', (w) => {
    const { group } = w.ready(first);
    w.is(w.deviceFd(group, machine.edu), E.NODEV, 'a device of another group');
    w.is(w.unbind(second), 0, 'unbind');
    w.is(w.deviceFd(group, second), E.NODEV, 'a device that is not bound');
    w.is(w.bind(second, 'vfio-pci'), 0, 'bind');
    w.ok(w.deviceFd(group, second), 'bound again');
  }),
  item('GRP-29', 'The descriptor is read-write, close-on-exec, and shown as anon_inode:[vfio-device].', (w) => {
    const { device } = w.device(machine.edu);
    w.is(w.system.readLink(`/proc/self/fd/${device}`), 'anon_inode:[vfio-device]', 'link');
    const flags = Number.parseInt(
      /^flags:\s*(\d+)/m.exec(`${w.system.readFile(`/proc/self/fdinfo/${device}`)}`)?.[1] ?? '',
      8,
    );
    w.is([flags & 3, flags & 0o2000000], [2, 0o2000000], 'O_RDWR and O_CLOEXEC');
    const bytes = new Uint8Array(4);
    w.is(w.system.pread(device, bytes, CONFIG), 4, 'pread');
    w.is(word(bytes, 0), 0x11e8_1234, 'vendor and device');
    w.is(w.system.pwrite(device, Uint8Array.of(0x10), CONFIG + 0x0c), 1, 'pwrite');
  }),
  item(
    'GRP-30',
    'Descriptors of one device share its state: the first open sets it up, the last close tears it down.',
    (w) => {
      const { group, device } = w.device(machine.edu);
      const other = w.ok(w.deviceFd(group, machine.edu), 'GET_DEVICE_FD again');
      w.is(other === device, false, 'the same number');
      const command = (fd: number): number => {
        const bytes = new Uint8Array(2);
        w.is(w.system.pread(fd, bytes, CONFIG + 4), 2, 'read of COMMAND');
        return (bytes[0] as number) & 4;
      };
      w.is(w.system.pwrite(device, Uint8Array.of(6, 0), CONFIG + 4), 2, 'bus mastering on');
      w.is(command(other), 4, 'bus mastering, by the other descriptor');
      w.close(device);
      w.is(command(other), 4, 'bus mastering after one close');
      w.close(other);
      w.is(command(w.ok(w.deviceFd(group, machine.edu), 'open')), 0, 'bus mastering after the last close');
    },
  ),
  item(
    'GRP-31',
    'lseek of a device: ESPIPE. Plain reads go by the position of the file, which begins at 0, in BAR 0.',
    (w) => {
      const { device } = w.device(machine.edu);
      const position = () =>
        Number(/^pos:\s*(\d+)/m.exec(`${w.system.readFile(`/proc/self/fdinfo/${device}`)}`)?.[1] ?? -1);
      w.is(w.real.call(device, 'lseek', 4), E.SPIPE, 'lseek');
      w.is(position(), 0, 'position');
      for (const next of [4, 8]) {
        w.is(w.real.call(device, 'read', 4), 4, 'read');
        w.is(position(), next, 'position after the read');
      }
    },
    { kernelOnly: 'the seam reads and writes at an offset only: no position of a file is seen through it' },
  ),
  changed(
    'GRP-32',
    'From 5.7 a token may follow the name; EINVAL for a device that takes none, and for anything else behind the name. A virtual function needs the one that its physical function was opened with: else EACCES.',
    {
      below: '5.7',
      run: (w) => {
        const { group } = w.ready(machine.edu);
        const token = 'vf_token=00112233-4455-6677-8899-aabbccddeeff';
        w.is(w.deviceFd(group, `${machine.edu} ${token}`), E.NODEV, 'with a token');
      },
    },
    {
      from: '5.7',
      run: (w) => {
        const { group } = w.ready(machine.edu);
        const token = 'vf_token=00112233-4455-6677-8899-aabbccddeeff';
        w.is(w.deviceFd(group, `${machine.edu} ${token}`), E.INVAL, 'a token for a device that takes none');
        w.is(w.deviceFd(group, `${machine.edu} vf_token=1234`), E.INVAL, 'no token');
        w.is(w.deviceFd(group, `${machine.edu} other=1`), E.INVAL, 'something else');
        w.is(w.deviceFd(group, `${machine.nvme} ${token}`), E.NODEV, 'another device');
        w.closeAll();
        tokenOfVirtualFunction(w, token);
      },
    },
  ),
  item(
    'GRP-33',
    'A device that comes into the group while it is in use is left alone, and the group works on.',
    (w) => {
      w.is(w.remove(first), 0, 'removal');
      const { group, device } = w.device(second);
      w.rescan();
      w.is(w.groupOf(first), w.groupOf(second), 'group of the new device');
      w.is(w.driverOf(first), undefined, 'its driver');
      w.is(w.status(group), 3, 'flags');
      w.is(w.ioctl(device, 0x3b6b, words(16, 0, 0, 0)), 0, 'DEVICE_GET_INFO');
    },
  ),
  changed(
    'GRP-34',
    'GET_DEVICE_FD with no descriptor left: EMFILE, and the device is not kept open. Before ~5.19 it is opened, and closed again, before the number is taken.',
    {
      run: (w) => {
        const { container, group } = w.ready(machine.edu);
        const last = fillTable(w);
        w.is(w.ioctl(group, GET_DEVICE_FD, nul(machine.edu)), E.MFILE, 'GET_DEVICE_FD');
        w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER: no device is open');
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
        w.is(w.setIommu(container, 3), 0, 'SET_IOMMU');
        w.close(last);
        w.is(w.deviceFd(group, machine.edu), last, 'GET_DEVICE_FD with one descriptor free');
      },
    },
    { below: '5.19', run: (w) => w.is(staysMaster(w), false, 'the device is not touched') },
    { from: '5.19', run: (w) => w.is(staysMaster(w), true, 'the device is not touched') },
  ),
];
