import { eduCopies } from '../src/edu.js';
import { bound } from '../src/iommufd-world.js';
import { changed, type Item, item, type Section } from '../src/item.js';
import { E, machine, word, words } from '../src/world.js';
import { deviceFdItems } from './grp-device-fd.js';

const GET_STATUS = 0x3b67;
const SET_CONTAINER = 0x3b68;
const [first, second] = machine.pair;

const nodeItems: readonly Item[] = [
  {
    id: 'GRP-1',
    words:
      'The node is there from the first bind of a device of the group to the last unbind: root, 0600; it may be given away.',
    variants: [
      {
        run: (w) => {
          const path = w.groupPath(first);
          const status = w.system.status(path);
          if (typeof status === 'number') throw new Error(`lstat: ${status}`);
          w.is([status.type, status.mode & 0o777, status.uid], ['character device', 0o600, 0], 'type, mode, owner');
          w.is(w.unbind(first), 0, 'unbind of one');
          w.is(typeof w.system.status(path), 'object', 'the node while another is bound');
          w.is(w.unbind(second), 0, 'unbind of the other');
          w.is(w.system.status(path), E.NOENT, 'the node without a bound device');
          w.is(w.bind(second, 'vfio-pci'), 0, 'bind');
          w.is(typeof w.system.status(path), 'object', 'the node after a bind');
        },
      },
      {
        kernelOnly: 'the seam has no chown',
        run: (w) => {
          const path = w.groupPath(machine.edu);
          w.real.command('chown', '1234:4321', path);
          const status = w.system.status(path);
          w.real.command('chown', '0:0', path);
          w.is(typeof status === 'object' && [status.uid, status.gid], [1234, 4321], 'owner');
        },
      },
    ],
  },
  {
    id: 'GRP-2',
    words: 'A second open of an open group: EBUSY, by anybody. An inherited descriptor is no open.',
    variants: [
      {
        run: (w) => {
          const group = w.group(machine.edu);
          const path = w.groupPath(machine.edu);
          w.is(w.open(path), E.BUSY, 'open by the same process');
          w.is(w.around.openElsewhere(path), E.BUSY, 'open by another process');
          w.is(w.around.heir.ioctl(group, GET_STATUS, words(8, 0)), 0, 'GET_STATUS by an heir');
          w.close(group);
          w.ok(w.open(path), 'open after the close');
        },
      },
    ],
  },
  item('GRP-3', 'Open while a device of an earlier open is still open: EBUSY.', (w) => {
    const { group, device } = w.device(machine.edu);
    const path = w.groupPath(machine.edu);
    w.close(group);
    w.is(w.open(path), E.BUSY, 'open with an open device');
    w.close(device);
    w.ok(w.open(path), 'open after the last close');
  }),
  {
    id: 'GRP-4',
    words: 'Open of a node whose group is gone fails.',
    differs: 'ENXIO instead of ENODEV: the character device goes with the group',
    variants: [
      {
        from: '5.16',
        kernelOnly: 'in the simulation a node goes with its group: it has no mknod to keep one',
        run: (w) => {
          const path = w.groupPath(machine.edu);
          const [major, minor] = w.real.command('stat', '-c', '%t %T', path).trim().split(' ');
          const stale = '/tmp/stale-group';
          w.real.command(
            'mknod',
            stale,
            'c',
            `${Number.parseInt(`${major}`, 16)}`,
            `${Number.parseInt(`${minor}`, 16)}`,
          );
          try {
            w.close(w.ok(w.open(stale), 'open of the copy'));
            w.is(w.unbind(machine.edu), 0, 'unbind');
            w.is(w.open(stale), -6, 'open of the stale node');
          } finally {
            w.system.unlink(stale);
          }
        },
      },
    ],
  },
  item(
    'GRP-5',
    'From 6.6: open while a device of the group is bound through its own node: EBUSY.',
    (w) => {
      const { device } = bound(w, machine.pair[1]);
      w.is(w.open(w.groupPath(machine.pair[0])), E.BUSY, 'open while the other member is bound');
      w.close(device);
      w.ok(w.open(w.groupPath(machine.pair[0])), 'open afterwards');
    },
    { from: '6.6', needs: 'iommufd' },
  ),
  item('GRP-6', 'GET_STATUS: argsz 8 at least, not changed; bit 0 VIABLE, bit 1 CONTAINER_SET.', (w) => {
    const group = w.group(machine.edu);
    for (const size of [0, 7]) w.is(w.ioctl(group, GET_STATUS, words(size, 0)), E.INVAL, `argsz ${size}`);
    w.is(w.ioctl(group, GET_STATUS, 0), E.FAULT, 'no structure');
    for (const size of [8, 100]) {
      const bytes = words(size, 0xffff_ffff);
      w.is(w.ioctl(group, GET_STATUS, bytes), 0, `argsz ${size}`);
      w.is([word(bytes, 0), word(bytes, 4)], [size, 1], 'argsz and flags');
    }
    w.is(w.setContainer(group, w.container()), 0, 'SET_CONTAINER');
    w.is(w.status(group), 3, 'flags in a container');
  }),
  {
    id: 'GRP-7',
    words:
      'VIABLE while every device of the group is driverless, on a vfio driver or pci-stub, a bridge, or (before 5.19) just being unbound.',
    variants: [
      {
        run: (w) => {
          const group = w.group(first);
          w.is(w.status(group), 1, 'all on vfio-pci');
          w.is(w.unbind(second), 0, 'unbind');
          w.is(w.status(group), 1, 'one driverless');
          w.is(w.bind(second, 'pci-stub'), 0, 'bind to pci-stub');
          w.is(w.status(group), 1, 'one on pci-stub');
          w.is(w.unbind(second), 0, 'unbind');
          w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
          w.is(w.status(group), 0, 'one on nvme');
        },
      },
      {
        pairBridge: 'pcieport',
        simulationOnly: 'no machine of the lab has a bridge in the group of a device',
        run: (w) => w.is(w.status(w.group(first)), 1, 'with a bridge'),
      },
      {
        below: '5.19',
        pairBridge: 'shpchp',
        run: (w) => w.is(w.status(w.group(first)), 1, 'with a bridge of any driver'),
      },
      {
        below: '5.19',
        run: (w) => {
          const { group } = w.device(machine.edu);
          w.is(w.unbind(machine.edu), 0, 'unbind');
          w.is(w.status(group), 3, 'while the user still has the device');
        },
      },
    ],
  },
  changed('GRP-8', 'From 5.19: VIABLE says that no host driver claims the DMA; in a container always.', {
    from: '5.19',
    run: (w) => {
      w.is(w.unbind(second), 0, 'unbind');
      const group = w.group(first);
      w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
      w.is(w.status(group), 0, 'claimed by nvme');
      w.is(w.unbind(second), 0, 'unbind');
      w.is(w.bind(second, 'pci-stub'), 0, 'bind to pci-stub');
      w.is(w.setContainer(group, w.container()), 0, 'SET_CONTAINER');
      w.is(w.status(group), 3, 'in a container');
      w.is(w.unbind(second), 0, 'unbind');
      w.is(w.bind(second, 'nvme'), E.BUSY, 'bind to nvme');
      w.is(w.status(group), 3, 'in a container, after a host driver was refused');
    },
  }),
  item('GRP-9', 'CONTAINER_SET follows SET_CONTAINER and UNSET_CONTAINER, whatever SET_IOMMU does.', (w) => {
    const group = w.group(machine.edu);
    const container = w.container();
    w.is(w.status(group), 1, 'outside');
    w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
    w.is(w.status(group), 3, 'inside, no model');
    w.is(w.setIommu(container, 1), 0, 'SET_IOMMU');
    w.is(w.status(group), 3, 'inside, with a model');
    w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
    w.is(w.status(group), 1, 'outside again');
  }),
  changed(
    'GRP-10',
    'From 5.19 a host driver that would bind to a device of a group in use is refused with EBUSY; before, the kernel stopped.',
    {
      from: '5.19',
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        const { group, device } = w.device(first);
        w.is(w.bind(second, 'nvme'), E.BUSY, 'bind to nvme');
        w.is(w.driverOf(second), undefined, 'its driver');
        w.is(w.status(group), 3, 'flags');
        w.is(w.ioctl(device, 0x3b6b, words(16, 0, 0, 0)), 0, 'DEVICE_GET_INFO');
      },
    },
  ),
  changed('GRP-11', 'From 5.19: GET_STATUS of an open group whose last device was taken out of the machine: ENODEV.', {
    from: '5.19',
    run: (w) => {
      const group = w.group(machine.edu);
      w.is(w.remove(machine.edu), 0, 'removal');
      w.is(w.status(group), E.NODEV, 'GET_STATUS');
    },
  }),
];

const containerItems: readonly Item[] = [
  item('GRP-12', 'SET_CONTAINER takes a pointer to the descriptor of the container.', (w) => {
    const group = w.group(machine.edu);
    const container = w.container();
    w.is(w.ioctl(group, SET_CONTAINER, container), E.FAULT, 'the number itself');
    w.is(w.ioctl(group, SET_CONTAINER, words(container)), 0, 'a pointer to it');
  }),
  changed(
    'GRP-13',
    'SET_CONTAINER of a number below 0: EINVAL; from 6.0 EBADF.',
    { below: '6.0', run: (w) => w.is(w.setContainer(w.group(machine.edu), -1), E.INVAL, 'SET_CONTAINER(-1)') },
    { from: '6.0', run: (w) => w.is(w.setContainer(w.group(machine.edu), -1), E.BADF, 'SET_CONTAINER(-1)') },
  ),
  item('GRP-14', 'SET_CONTAINER of a descriptor that is not open: EBADF.', (w) => {
    const container = w.container();
    w.close(container);
    w.is(w.setContainer(w.group(machine.edu), 999), E.BADF, 'SET_CONTAINER');
  }),
  changed(
    'GRP-15',
    'SET_CONTAINER of a file that is no container: EINVAL; from 6.2 EBADFD.',
    { below: '6.2', run: (w) => w.is(w.setContainer(w.group(machine.edu), w.eventfd()), E.INVAL, 'an eventfd') },
    { from: '6.2', run: (w) => w.is(w.setContainer(w.group(machine.edu), w.eventfd()), E.BADFD, 'an eventfd') },
  ),
  {
    id: 'GRP-16',
    words:
      'SET_CONTAINER of a group that is in one: EINVAL, tested before the descriptor; from 6.0 one that is not open is EBADF first.',
    differs: 'a descriptor that is not open is EBADF before the group is looked at',
    variants: [
      {
        run: (w) => {
          const { container, group } = w.ready(machine.edu);
          for (const fd of [container, w.container(), w.eventfd()])
            w.is(w.setContainer(group, fd), E.INVAL, 'SET_CONTAINER');
        },
      },
      { below: '6.0', run: (w) => w.is(w.setContainer(w.ready(machine.edu).group, 999), E.INVAL, 'not open') },
      { from: '6.0', run: (w) => w.is(w.setContainer(w.ready(machine.edu).group, 999), E.BADF, 'not open') },
    ],
  },
  changed(
    'GRP-17',
    'SET_CONTAINER does not ask whether the group is viable; from 5.19 it claims the DMA: EPERM if a host driver has it.',
    {
      below: '5.19',
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
        const group = w.group(first);
        w.is(w.setContainer(group, w.container()), 0, 'SET_CONTAINER');
        w.is(w.status(group), 2, 'flags');
      },
    },
    {
      from: '5.19',
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
        const group = w.group(first);
        w.is(w.setContainer(group, w.container()), E.PERM, 'SET_CONTAINER');
        w.is(w.status(group), 0, 'flags');
      },
    },
  ),
  changed(
    'GRP-18',
    'A group that joins a container with a model is attached at once, with the mappings that are there; refused, it stays outside.',
    {
      run: async (w) => {
        const { container } = w.ready(machine.nvme);
        const memory = w.memory(8192);
        memory.bytes.set([1, 2, 3, 4, 5, 6, 7, 8]);
        w.is(w.map(container, 0x100000n, memory.address, 8192), 0, 'MAP_DMA');
        const group = w.group(first);
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER');
        const device = w.ok(w.deviceFd(group, first), 'GET_DEVICE_FD at once');
        await eduCopies(w, device, 0x100000n, 0x101000n, 8);
        w.is([...memory.bytes.subarray(4096, 4104)], [1, 2, 3, 4, 5, 6, 7, 8], 'what the device copied');
      },
    },
    {
      from: '5.19',
      run: (w) => {
        w.is(w.unbind(second), 0, 'unbind');
        w.is(w.bind(second, 'nvme'), 0, 'bind to nvme');
        const { container } = w.ready(machine.edu);
        const group = w.group(first);
        w.is(w.setContainer(group, container), E.PERM, 'SET_CONTAINER');
        w.is(w.status(group), 0, 'flags of the refused group');
      },
    },
    {
      mode: 'no remapping',
      run: (w) => {
        w.setParameter('vfio_iommu_type1', 'allow_unsafe_interrupts', 'Y');
        const { container, group } = w.ready(machine.edu);
        w.setParameter('vfio_iommu_type1', 'allow_unsafe_interrupts', 'N');
        const other = w.group(machine.nvme);
        w.is(w.setContainer(other, container), E.PERM, 'SET_CONTAINER');
        w.is([w.status(group), w.status(other)], [3, 1], 'flags of both groups');
      },
    },
  ),
  item(
    'GRP-19',
    'Groups with and without an IOMMU in one container: EPERM, whichever comes first.',
    (w) => {
      for (const [one, other] of [
        [machine.edu, machine.nvme],
        [machine.nvme, machine.edu],
      ] as const) {
        const container = w.container();
        const groups = [w.group(one), w.group(other)] as const;
        w.is(w.setContainer(groups[0], container), 0, `SET_CONTAINER of ${one}`);
        w.is(w.setContainer(groups[1], container), E.PERM, `SET_CONTAINER of ${other}`);
        for (const group of groups) w.close(group);
      }
    },
    { from: '6.0', mode: 'mixed' },
  ),
  item('GRP-20', 'UNSET_CONTAINER of a group that is in none: EINVAL.', (w) => {
    const group = w.group(machine.edu);
    w.is(w.unsetContainer(group), E.INVAL, 'never in one');
    w.is(w.setContainer(group, w.container()), 0, 'SET_CONTAINER');
    w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
    w.is(w.unsetContainer(group), E.INVAL, 'once more');
  }),
  item('GRP-21', 'UNSET_CONTAINER while a device is open: EBUSY.', (w) => {
    const { group, device } = w.device(machine.edu);
    w.is(w.unsetContainer(group), E.BUSY, 'with a device');
    w.close(device);
    w.is(w.unsetContainer(group), 0, 'without');
  }),
  item('GRP-22', 'UNSET_CONTAINER otherwise: 0. The last group takes the model along, no other.', (w) => {
    const { container, group } = w.ready(machine.edu);
    const other = w.group(machine.nvme);
    w.is(w.setContainer(other, container), 0, 'SET_CONTAINER of a second group');
    w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER of the first');
    w.is(w.setIommu(container, 1), E.INVAL, 'SET_IOMMU: there is a model');
    w.is(w.unsetContainer(other), 0, 'UNSET_CONTAINER of the last');
    w.is(w.setContainer(group, container), 0, 'SET_CONTAINER again');
    w.is(w.setIommu(container, 1), 0, 'SET_IOMMU: the model was gone');
  }),
  item('GRP-23', 'Closing the group without an open device is like UNSET_CONTAINER.', (w) => {
    const { container, group } = w.ready(machine.edu);
    const memory = w.memory(4096);
    const before = w.around.locked();
    w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA');
    w.close(group);
    w.is(w.around.locked() - before, 0, 'bytes locked');
    w.is(w.setIommu(container, 1), E.INVAL, 'SET_IOMMU without a group');
    w.is(w.status(w.group(machine.edu)), 1, 'flags of the group, opened again');
  }),
  item(
    'GRP-24',
    'Closing the group with an open device: device, container and mappings stay until its last close.',
    (w) => {
      const { container, group, device } = w.device(machine.edu);
      const memory = w.memory(4096);
      const before = w.around.locked();
      w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA');
      w.close(group);
      const id = new Uint8Array(4);
      w.is(w.system.pread(device, id, 7 * 2 ** 40), 4, 'read of the configuration');
      w.is(word(id, 0), 0x11e8_1234, 'vendor and device');
      w.is(w.map(container, 0x20000n, memory.address, 4096), 0, 'MAP_DMA without the group');
      w.is(w.around.locked() - before, 8192, 'bytes locked');
      w.close(device);
      w.is(w.around.locked() - before, 0, 'bytes locked after the last close');
      w.is(w.map(container, 0x10000n, memory.address, 4096), E.INVAL, 'MAP_DMA without a model');
    },
  ),
  item('GRP-25', 'read, write and mmap of a group: EINVAL, EINVAL, ENODEV.', (w) => {
    const { group } = w.ready(machine.edu);
    w.is(w.system.pread(group, new Uint8Array(4), 0), E.INVAL, 'read');
    w.is(w.system.pwrite(group, new Uint8Array(4), 0), E.INVAL, 'write');
    w.is(w.system.mapDevice(group, 0, 4096, 3), E.NODEV, 'mmap');
  }),
];

export const grp: Section = {
  name: 'GRP',
  title: 'Group',
  size: 34,
  items: [...nodeItems, ...containerItems, ...deviceFdItems],
};
