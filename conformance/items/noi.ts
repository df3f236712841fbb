import { changed, type Item, item, type Section } from '../src/item.js';
import { whileOff } from '../src/noiommu.js';
import { E, machine, type World, words } from '../src/world.js';
import { iommufdItems, newestItems } from './noi-iommufd.js';
import { noiommuUseItems } from './noi-use.js';

const SET_CONTAINER = 0x3b68;
const SET_IOMMU = 0x3b66;
const GET_STATUS = 0x3b67;
const GET_DEVICE_FD = 0x3b6a;
const PARAMETER = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';

const textOf = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);

function isOffByDefault(w: World): void {
  w.is(w.parameter('vfio', 'enable_unsafe_noiommu_mode'), 'N', 'value by default');
}

const taint = (w: World): number => Number(w.system.readFile('/proc/sys/kernel/tainted')) & 64;

/** How often the log has a line on this function with these words. */
const logged = (w: World, address: string, what: RegExp): number =>
  w.around.log().filter((line) => line.includes(address) && what.test(line)).length;

/** A PCI bridge that a driver has. */
function bridge(w: World): string {
  const all = w.system.list('/sys/bus/pci/devices');
  const found = (typeof all === 'number' ? [] : all)
    .sort()
    .filter((address) => `${w.system.readFile(`/sys/bus/pci/devices/${address}/class`)}`.startsWith('0x0604'));
  const last = found.at(-1);
  if (last === undefined) throw new Error('the machine has no bridge');
  return last;
}

const bindItems: readonly Item[] = [
  {
    id: 'NOI-1',
    words:
      'Module parameter vfio.enable_unsafe_noiommu_mode: 0644, N by default, may change at any time; absent where the kernel is built without.',
    variants: [
      {
        mode: 'noiommu',
        run: (w) => {
          const status = w.system.status(PARAMETER);
          w.is(typeof status === 'object' && status.mode & 0o777, 0o644, 'mode');
          w.is(w.parameter('vfio', 'enable_unsafe_noiommu_mode'), 'Y', 'value');
          whileOff(w, () => w.is(w.parameter('vfio', 'enable_unsafe_noiommu_mode'), 'N', 'value, written'));
          w.is(w.parameter('vfio', 'enable_unsafe_noiommu_mode'), 'Y', 'value, written back');
        },
      },
      { from: '6.12', run: isOffByDefault },
      { below: '6.12', simulationOnly: "the lab's 6.1 has no-IOMMU mode only where it is told Y", run: isOffByDefault },
      {
        below: '6.12',
        kernelOnly:
          'every simulated kernel has no-IOMMU mode built in; of those in the lab 6.1, with its own modules, has not',
        run: (w) => w.is(w.system.status(PARAMETER), E.NOENT, 'the parameter'),
      },
    ],
  },
  changed(
    'NOI-2',
    'Binding makes a group for a device without one while the parameter is Y; before 6.0 only on a bus without an IOMMU.',
    {
      mode: 'noiommu',
      run: (w) => {
        w.is(w.unbind(machine.edu), 0, 'unbind');
        w.is(w.groupOf(machine.edu), -1, 'group of a device without a driver');
        w.is(w.bind(machine.edu, 'vfio-pci'), 0, 'bind');
        w.is(w.groupPath(machine.edu).startsWith('/dev/vfio/noiommu-'), true, 'group');
      },
    },
    {
      below: '6.0',
      mode: 'mixed',
      run: (w) => {
        w.is(w.bind(machine.nvme, 'vfio-pci'), E.INVAL, 'bind');
        w.is(w.groupOf(machine.nvme), -1, 'group');
      },
    },
    {
      from: '6.0',
      mode: 'mixed',
      run: (w) => {
        w.is(w.unbind(machine.nvme), 0, 'unbind');
        w.is(w.bind(machine.nvme, 'vfio-pci'), 0, 'bind');
        w.is(w.groupPath(machine.nvme).startsWith('/dev/vfio/noiommu-'), true, 'group');
      },
    },
  ),
  item(
    'NOI-3',
    'With the parameter N a device without a group does not bind: EINVAL.',
    (w) => {
      w.is(w.unbind(machine.edu), 0, 'unbind');
      whileOff(w, () => w.is(w.bind(machine.edu, 'vfio-pci'), E.INVAL, 'bind'));
      w.is([w.driverOf(machine.edu), w.groupOf(machine.edu)], [undefined, -1], 'driver and group');
      w.is(w.bind(machine.edu, 'vfio-pci'), 0, 'bind with the parameter Y');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-4',
    'A device that has a real group never comes into one without an IOMMU, whatever the parameter says.',
    (w) => {
      w.is(w.parameter('vfio', 'enable_unsafe_noiommu_mode'), 'Y', 'parameter');
      w.is(w.unbind(machine.edu), 0, 'unbind');
      const group = w.groupOf(machine.edu);
      w.is(w.bind(machine.edu, 'vfio-pci'), 0, 'bind');
      w.is(w.groupPath(machine.edu), `/dev/vfio/${group}`, 'node');
      w.is(logged(w, machine.edu, /taint/), 0, 'lines of the log about a taint');
    },
    { mode: 'mixed' },
  ),
  item(
    'NOI-5',
    'The node is /dev/vfio/noiommu-N, N the number of the group; the class device is named so too.',
    (w) => {
      const number = w.groupOf(machine.edu);
      const status = w.system.status(`/dev/vfio/noiommu-${number}`);
      w.is(typeof status === 'object' && [status.type, status.mode & 0o777], ['character device', 0o600], 'node');
      w.is(w.system.status(`/dev/vfio/${number}`), E.NOENT, 'a node without the prefix');
      const names = w.system.list('/sys/class/vfio');
      w.is(typeof names === 'object' && names.includes(`noiommu-${number}`), true, 'class device');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-6',
    'The name of the group is vfio-noiommu, and iommu_group of the device leads to it.',
    (w) => {
      const link = w.system.readLink(`/sys/bus/pci/devices/${machine.edu}/iommu_group`);
      w.is(/\/kernel\/iommu_groups\/\d+$/.test(`${link}`), true, `link ${link}`);
      w.is(w.system.readFile(`/sys/kernel/iommu_groups/${w.groupOf(machine.edu)}/name`), 'vfio-noiommu\n', 'name');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-7',
    'Each device has a group of its own, also functions of one slot.',
    (w) => {
      for (const address of machine.pair)
        w.is(w.system.list(`/sys/kernel/iommu_groups/${w.groupOf(address)}/devices`), [address], `group of ${address}`);
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-8',
    'Unbinding removes the group; the next bind makes one again, of any number.',
    (w) => {
      const before = w.groupOf(machine.edu);
      w.is(w.unbind(machine.edu), 0, 'unbind');
      w.is(w.groupOf(machine.edu), -1, 'group');
      w.is(w.system.status(`/sys/kernel/iommu_groups/${before}`), E.NOENT, 'folder of the group');
      w.is(w.system.status(`/dev/vfio/noiommu-${before}`), E.NOENT, 'node');
      w.is(w.bind(machine.edu, 'vfio-pci'), 0, 'bind');
      w.group(machine.edu);
    },
    { mode: 'noiommu' },
  ),
  changed(
    'NOI-9',
    'Binding, not opening, sets the taint flag U and warns of it in the log; binding with a real group does neither.',
    {
      mode: 'noiommu',
      run: (w) => {
        const lines = () => logged(w, machine.edu, /Adding kernel taint for vfio-noiommu group on device/);
        w.is(w.unbind(machine.edu), 0, 'unbind');
        const before = lines();
        w.is(w.bind(machine.edu, 'vfio-pci'), 0, 'bind');
        w.is(lines() - before, 1, 'lines after the bind');
        w.is(taint(w), 64, 'taint flag U');
        w.device(machine.edu, 8);
        w.is(lines() - before, 1, 'lines after the open');
      },
    },
    {
      run: (w) => {
        w.device(machine.edu);
        w.is(taint(w), 0, 'taint flag U');
      },
    },
  ),
];

const rightsItems: readonly Item[] = [
  item(
    'NOI-10',
    'Without CAP_SYS_RAWIO: EPERM from the open of the group, SET_CONTAINER, SET_IOMMU(8) and GET_DEVICE_FD.',
    (w) => {
      const { heir } = w.around;
      w.is(heir.open(w.groupPath(machine.edu)), E.PERM, 'open');
      const group = w.group(machine.edu);
      const container = w.container();
      w.is(heir.ioctl(group, SET_CONTAINER, { fd: container }), E.PERM, 'SET_CONTAINER');
      w.is(w.setContainer(group, container), 0, 'SET_CONTAINER by a process that may');
      w.is(heir.ioctl(container, SET_IOMMU, 8), E.PERM, 'SET_IOMMU');
      w.is(w.setIommu(container, 8), 0, 'SET_IOMMU by a process that may');
      w.is(heir.ioctl(group, GET_DEVICE_FD, textOf(machine.edu)), E.PERM, 'GET_DEVICE_FD');
      w.ok(w.deviceFd(group, machine.edu), 'GET_DEVICE_FD by a process that may');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-11',
    'Nothing is tested after GET_DEVICE_FD: who has the descriptor uses the device.',
    (w) => {
      const { device } = w.device(machine.edu, 8);
      w.is(w.around.heir.ioctl(device, 0x3b6b, words(16, 0, 0, 0)), 0, 'DEVICE_GET_INFO');
      w.is(w.around.heir.ioctl(device, 0x3b6c, words(32, 0, 7, 0, 0, 0, 0, 0)), 0, 'GET_REGION_INFO');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-12',
    'GET_STATUS asks for no right; the group is viable by the rules of all groups.',
    (w) => {
      const group = w.group(machine.edu);
      w.is(w.around.heir.ioctl(group, GET_STATUS, words(8, 0)), 0, 'GET_STATUS without CAP_SYS_RAWIO');
      w.is(w.status(group), 1, 'flags');
    },
    { mode: 'noiommu' },
  ),
  item(
    'NOI-13',
    'Open of a group that is open: EPERM for who lacks the right, EBUSY for who has it.',
    (w) => {
      w.group(machine.edu);
      w.is(w.around.heir.open(w.groupPath(machine.edu)), E.PERM, 'without CAP_SYS_RAWIO');
      w.is(w.open(w.groupPath(machine.edu)), E.BUSY, 'with it');
    },
    { mode: 'noiommu' },
  ),
];

/** Items of this section whose order of tests is their matter. */
const orderItems: readonly Item[] = [
  changed(
    'NOI-29',
    'Order of tests. SET_CONTAINER: set already, EPERM, EBADF; from 6.0 EBADF, set already, no container, EPERM. GET_DEVICE_FD: EINVAL, EPERM, ENODEV; from 6.0 ENODEV, EINVAL, EPERM.',
    {
      mode: 'noiommu',
      run: (w) => {
        const { heir } = w.around;
        const { container, group } = w.ready(machine.edu, 8);
        w.is(heir.ioctl(group, SET_CONTAINER, { fd: container }), E.INVAL, 'SET_CONTAINER, set already');
        w.is(heir.ioctl(group, GET_DEVICE_FD, textOf(machine.edu)), E.PERM, 'GET_DEVICE_FD');
        w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
        w.is(heir.ioctl(group, GET_DEVICE_FD, textOf(machine.edu)), E.INVAL, 'GET_DEVICE_FD, no container');
      },
    },
    {
      mode: 'noiommu',
      below: '6.0',
      run: (w) => {
        const { heir } = w.around;
        const group = w.group(machine.edu);
        w.is(heir.ioctl(group, SET_CONTAINER, words(-1)), E.INVAL, 'SET_CONTAINER(-1)');
        w.is(heir.ioctl(group, SET_CONTAINER, words(999)), E.PERM, 'SET_CONTAINER(not open)');
        w.is(heir.ioctl(group, GET_DEVICE_FD, textOf('nothing')), E.INVAL, 'GET_DEVICE_FD, no container');
        const container = w.container();
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
        w.is(heir.ioctl(group, SET_CONTAINER, words(999)), E.INVAL, 'SET_CONTAINER(not open), set already');
        w.is(w.setIommu(container, 8), 0, 'SET_IOMMU');
        w.is(heir.ioctl(group, GET_DEVICE_FD, textOf('nothing')), E.PERM, 'GET_DEVICE_FD of an unknown name');
      },
    },
    {
      mode: 'noiommu',
      from: '6.0',
      run: (w) => {
        const { heir } = w.around;
        const group = w.group(machine.edu);
        w.is(heir.ioctl(group, SET_CONTAINER, words(-1)), E.BADF, 'SET_CONTAINER(-1)');
        w.is(heir.ioctl(group, SET_CONTAINER, words(999)), E.BADF, 'SET_CONTAINER(not open)');
        const wrong = heir.ioctl(group, SET_CONTAINER, { fd: w.eventfd() });
        w.is(wrong, w.since('6.2') ? E.BADFD : E.INVAL, 'SET_CONTAINER(no container)');
        const container = w.container();
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
        w.is(heir.ioctl(group, SET_CONTAINER, words(999)), E.BADF, 'SET_CONTAINER(not open), set already');
        w.is(w.setIommu(container, 8), 0, 'SET_IOMMU');
        w.is(heir.ioctl(group, GET_DEVICE_FD, textOf('nothing')), E.NODEV, 'GET_DEVICE_FD of an unknown name');
      },
    },
  ),
  item(
    'NOI-30',
    'A bridge is refused (EINVAL) before a group is made, and without a taint.',
    (w) => {
      const address = bridge(w);
      const driver = w.driverOf(address);
      if (driver === undefined) throw new Error(`the bridge ${address} has no driver`);
      w.is(w.unbind(address), 0, 'unbind');
      try {
        const before = logged(w, address, /taint/);
        w.is(w.bind(address, 'vfio-pci'), E.INVAL, 'bind');
        w.is(w.groupOf(address), -1, 'group');
        w.is(logged(w, address, /taint/) - before, 0, 'lines of the log about a taint');
      } finally {
        w.is(w.bind(address, driver), 0, `bind to ${driver}`);
      }
    },
    { mode: 'noiommu' },
  ),
];

export const noi: Section = {
  name: 'NOI',
  title: 'No-IOMMU mode',
  size: 32,
  items: [...bindItems, ...rightsItems, ...noiommuUseItems, ...iommufdItems, ...orderItems, ...newestItems],
};
