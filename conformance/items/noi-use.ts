/** Containers and devices without an IOMMU in use, part of section NOI. */

import { eduCopies } from '../src/edu.js';
import { changed, type Item, item } from '../src/item.js';
import { whileOff } from '../src/noiommu.js';
import { E, long, machine, type World, word, words } from '../src/world.js';

const GET_HOT_RESET_INFO = 0x3b70;
const HOT_RESET = 0x3b71;
const CONFIG = 7 * 2 ** 40;
const HUGE_PAGE = 2 << 20;
const [first, second] = machine.pair;
const noiommu = { mode: 'noiommu' } as const;

/** PCI_HOT_RESET of a device with these groups. */
const hotReset = (w: World, device: number, ...groups: readonly number[]): number =>
  w.system.ioctl(device, HOT_RESET, words(12 + 4 * groups.length, 0, groups.length, ...groups.map(() => 0)), {
    fds: groups.map((fd, index) => ({ at: 12 + 4 * index, fd })),
  });

/** Physical address of a page that is in memory. Source: Documentation/admin-guide/mm/pagemap.rst. */
function physicalOf(w: World, address: bigint): bigint {
  const bytes = new Uint8Array(8);
  const pagemap = w.ok(w.open('/proc/self/pagemap', 0), 'open of pagemap');
  w.is(w.system.pread(pagemap, bytes, Number(address / 4096n) * 8), 8, 'read of pagemap');
  return (long(bytes, 0) & ((1n << 55n) - 1n)) * 4096n;
}

/** [NOI-16], whatever the parameter is. */
function asksForNoIommu(w: World): void {
  const c = w.container();
  w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
  w.is(w.extension(c, 8), 0, 'extension 8');
  w.is(w.setIommu(c, 3), 0, 'SET_IOMMU');
  w.is(w.extension(c, 8), 0, 'extension 8 with a model');
}

export const noiommuUseItems: readonly Item[] = [
  item(
    'NOI-14',
    'CHECK_EXTENSION(8) of an empty container: 1 while the parameter is Y, else 0.',
    (w) => {
      const c = w.container();
      w.is(w.extension(c, 8), 1, 'Y');
      whileOff(w, () => w.is(w.extension(c, 8), 0, 'N'));
      w.is(w.extension(c, 1), 1, 'TYPE1 in the same container');
    },
    noiommu,
  ),
  item(
    'NOI-15',
    'CHECK_EXTENSION of a container with such a group: 8 gives 1 while the parameter is Y, all else 0.',
    (w) => {
      const c = w.container();
      w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
      for (const n of [1, 2, 3, 4, 5, 6, 7, 9, 10, 99]) w.is(w.extension(c, n), 0, `extension ${n}`);
      w.is(w.extension(c, 8), 1, 'extension 8');
      whileOff(w, () => w.is(w.extension(c, 8), 0, 'extension 8, N'));
    },
    noiommu,
  ),
  changed(
    'NOI-16',
    'CHECK_EXTENSION(8) of a container with a real group: 0.',
    { run: asksForNoIommu },
    { mode: 'mixed', run: asksForNoIommu },
  ),
  item(
    'NOI-17',
    'SET_IOMMU(8) of a container with such a group: 0; any other value: ENODEV.',
    (w) => {
      const c = w.container();
      w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
      for (const type of [0, 1, 2, 3, 4, 6, 7, 9, 99]) w.is(w.setIommu(c, type), E.NODEV, `SET_IOMMU(${type})`);
      w.is(w.setIommu(c, 8), 0, 'SET_IOMMU(8)');
    },
    noiommu,
  ),
  item(
    'NOI-18',
    'With the parameter N again: extension 8 gives 0 and SET_IOMMU(8) ENODEV; groups and devices that are there work on.',
    (w) => {
      const { device, container } = w.device(machine.edu, 8);
      whileOff(w, () => {
        const group = w.group(machine.nvme);
        const other = w.container();
        w.is(w.setContainer(group, other), 0, 'SET_CONTAINER');
        w.is(w.extension(other, 8), 0, 'extension 8');
        w.is(w.setIommu(other, 8), E.NODEV, 'SET_IOMMU(8)');
        const id = new Uint8Array(4);
        w.is(w.system.pread(device, id, CONFIG), 4, 'read of the configuration');
        w.is(word(id, 0), 0x11e8_1234, 'vendor and device');
        w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER of a container with the model');
        w.ok(w.deviceFd(group, machine.nvme), 'GET_DEVICE_FD');
      });
    },
    noiommu,
  ),
  item(
    'NOI-19',
    'IOMMU_GET_INFO, MAP_DMA and UNMAP_DMA: ENOTTY, whatever their arguments; before SET_IOMMU EINVAL.',
    (w) => {
      const c = w.container();
      const commands = [0x3b70, 0x3b71, 0x3b72];
      w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
      for (const command of commands) w.is(w.ioctl(c, command, 0), E.INVAL, 'without a model');
      w.is(w.setIommu(c, 8), 0, 'SET_IOMMU(8)');
      for (const command of commands) w.is(w.ioctl(c, command, 0), E.NOTTY, 'with the model');
      const memory = w.memory(4096);
      w.is(w.map(c, 0x10000n, memory.address, 4096), E.NOTTY, 'MAP_DMA that is right elsewhere');
    },
    noiommu,
  ),
  item(
    'NOI-20',
    'Several such groups may share a container.',
    (w) => {
      const { container } = w.ready(machine.edu, 8);
      for (const address of [first, second, machine.nvme]) {
        const group = w.group(address);
        w.is(w.setContainer(group, container), 0, `SET_CONTAINER of ${address}`);
        w.ok(w.deviceFd(group, address), `GET_DEVICE_FD of ${address}`);
      }
    },
    noiommu,
  ),
  item(
    'NOI-21',
    'Opening a device leaves a line in the log, with the name and the number of the process.',
    (w) => {
      const lines = () =>
        w.around.log().filter((line) => /0000:01:00\.0: vfio-noiommu device opened by user \(.+:\d+\)/.test(line))
          .length;
      const { group } = w.ready(machine.edu, 8);
      const before = lines();
      for (const count of [1, 2]) {
        w.ok(w.deviceFd(group, machine.edu), 'GET_DEVICE_FD');
        w.is(lines() - before, count, 'lines');
      }
    },
    noiommu,
  ),
  item(
    'NOI-22',
    'Regions, configuration, interrupts, reset and eventfds are as with an IOMMU.',
    (w) => {
      const { device, container } = w.device(machine.edu, 8);
      const info = words(16, 0, 0, 0);
      w.is(w.ioctl(device, 0x3b6b, info), 0, 'DEVICE_GET_INFO');
      w.is([word(info, 4) & 2, word(info, 8), word(info, 12)], [2, 9, 5], 'PCI, regions, interrupts');
      const region = words(32, 0, 0, 0, 0, 0, 0, 0);
      w.is(w.ioctl(device, 0x3b6c, region), 0, 'GET_REGION_INFO of BAR 0');
      w.is([word(region, 4) & 7, long(region, 16)], [7, 1n << 20n], 'flags and size');
      w.is(w.window(device, 0, 4096).window.read32(0), 0x0100_00ed, 'a register');
      const event = w.eventfd();
      const places = { fds: [{ at: 20, fd: event }] };
      w.is(w.system.ioctl(device, 0x3b6e, words(24, 0x24, 1, 0, 1, 0), places), 0, 'SET_IRQS: an eventfd for MSI');
      w.is(w.ioctl(device, 0x3b6e, words(20, 0x21, 1, 0, 1)), 0, 'SET_IRQS: trigger');
      w.is(w.system.eventfdRead(event), 1, 'count of the eventfd');
      const group = w.group(machine.nvme);
      w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
      w.is(w.ioctl(w.ok(w.deviceFd(group, machine.nvme), 'GET_DEVICE_FD'), 0x3b6f), 0, 'DEVICE_RESET');
    },
    noiommu,
  ),
  item(
    'NOI-23',
    'The device is given physical addresses, and VFIO pins nothing.',
    async (w) => {
      const path = '/dev/hugepages/conformance';
      const locked = w.around.locked();
      const file = w.ok(w.open(path, 0o102), 'file on hugetlbfs');
      const mapping = w.system.memory({ kind: 'file', fd: file, offset: 0, length: HUGE_PAGE });
      if (typeof mapping === 'number') throw new Error(`a huge page: ${mapping}`);
      try {
        mapping.bytes.set([11, 22, 33, 44, 55, 66, 77, 88]);
        const physical = physicalOf(w, mapping.address);
        const { device } = w.device(machine.edu, 8);
        await eduCopies(w, device, physical, physical + 4096n, 8);
        w.is([...mapping.bytes.subarray(4096, 4104)], [11, 22, 33, 44, 55, 66, 77, 88], 'what the device copied');
        w.is(w.around.locked() - locked, 0, 'bytes locked');
        w.close(device);
      } finally {
        mapping.unmap();
        w.system.unlink(path);
      }
    },
    noiommu,
  ),
  changed(
    'NOI-24',
    'PCI_HOT_RESET with such groups: EPERM; from 6.0 they count like any other.',
    {
      ...noiommu,
      below: '6.0',
      run: (w) => {
        const { container, group, device } = w.device(first, 8);
        const other = w.group(second);
        w.is(w.setContainer(other, container), 0, 'SET_CONTAINER');
        w.is(hotReset(w, device, group, other), E.PERM, 'PCI_HOT_RESET');
      },
    },
    {
      ...noiommu,
      from: '6.0',
      run: (w) => {
        const { group, device } = w.device(first, 8);
        w.is(hotReset(w, device, group), E.INVAL, 'PCI_HOT_RESET without the group of the other function');
        w.is(hotReset(w, device, group, w.group(second)), 0, 'PCI_HOT_RESET');
      },
    },
  ),
  item(
    'NOI-25',
    'GET_PCI_HOT_RESET_INFO where another function of the slot has no group: EPERM.',
    (w) => {
      const { device } = w.device(first, 8);
      const info = words(28, 0, 0, 0, 0, 0, 0);
      w.is(w.ioctl(device, GET_HOT_RESET_INFO, info), 0, 'both bound');
      const groups = [word(info, 12), word(info, 20)].sort((a, b) => a - b);
      w.is(
        groups,
        [w.groupOf(first), w.groupOf(second)].sort((a, b) => a - b),
        'groups',
      );
      w.is(w.unbind(second), 0, 'unbind');
      w.is(w.ioctl(device, GET_HOT_RESET_INFO, info), E.PERM, 'the other one without a group');
    },
    noiommu,
  ),
];
