import { Iommufd } from '../src/iommufd-world.js';
import { changed, item, type Section } from '../src/item.js';
import { E, machine, words } from '../src/world.js';

const GET_API_VERSION = 0x3b64;
/** Extensions that type1 has whether or not a model is set. */
const always = [1, 3];

export const ctr: Section = {
  name: 'CTR',
  title: 'Container',
  size: 21,
  items: [
    item('CTR-1', '/dev/vfio/vfio is a character device of mode 0666; each open gives a container of its own.', (w) => {
      const status = w.system.status('/dev/vfio/vfio');
      if (typeof status === 'number') throw new Error(`lstat: ${status}`);
      w.is([status.type, status.mode & 0o777], ['character device', 0o666], 'type and mode');
      const { container } = w.ready(machine.edu);
      w.is(w.setIommu(w.container(), 1), E.INVAL, 'the other container has no group');
      w.is(w.extension(container, 1), 1, 'the first still has its model');
    }),
    item('CTR-2', 'GET_API_VERSION gives 0 in every state, whatever its argument.', (w) => {
      const empty = w.container();
      w.is(w.ioctl(empty, GET_API_VERSION), 0, 'empty');
      w.is(w.ioctl(empty, GET_API_VERSION, 4711), 0, 'with an argument');
      w.is(w.setContainer(w.group(machine.edu), empty), 0, 'SET_CONTAINER');
      w.is(w.ioctl(empty, GET_API_VERSION), 0, 'with a group');
      w.is(w.setIommu(empty, 3), 0, 'SET_IOMMU');
      w.is(w.ioctl(empty, GET_API_VERSION), 0, 'with a model');
    }),
    changed(
      'CTR-3',
      'Extensions: TYPE1 is 1, TYPE1v2 3, DMA_CC 4, NESTING 6, NOIOMMU 8; from 5.12 UNMAP_ALL 9, UPDATE_VADDR 10.',
      {
        below: '5.12',
        run: (w) => {
          const c = w.container();
          w.is(
            [1, 2, 3, 5, 7, 9, 10].map((n) => w.extension(c, n)),
            [1, 0, 1, 0, 0, 0, 0],
            '1, 2, 3, 5, 7, 9, 10',
          );
        },
      },
      {
        from: '5.12',
        run: (w) => {
          const c = w.container();
          w.is(
            [1, 2, 3, 5, 7, 9].map((n) => w.extension(c, n)),
            [1, 0, 1, 0, 0, 1],
            '1, 2, 3, 5, 7, 9',
          );
        },
      },
    ),
    item('CTR-4', 'CHECK_EXTENSION of an unknown number gives 0 and never fails.', (w) => {
      const { container } = w.ready(machine.edu);
      for (const c of [w.container(), container])
        for (const n of [0, 11, 99, 0x7fffffff]) w.is(w.extension(c, n), 0, `extension ${n}`);
    }),
    item(
      'CTR-5',
      'Without a model CHECK_EXTENSION asks every model that is loaded, and gives the first answer above 0.',
      (w) => {
        const c = w.container();
        for (const n of always) w.is(w.extension(c, n), 1, `extension ${n}`);
        if (w.parameter('vfio', 'enable_unsafe_noiommu_mode') === 'Y') w.is(w.extension(c, 8), 1, 'NOIOMMU');
      },
      { mode: 'noiommu' },
    ),
    changed(
      'CTR-6',
      'With a model CHECK_EXTENSION asks that one only: a type1 container gives 0 for 8, a no-IOMMU container 0 for 1, 3, 4, 6.',
      { run: (w) => w.is(w.extension(w.ready(machine.edu).container, 8), 0, 'NOIOMMU on type1') },
      {
        mode: 'noiommu',
        run: (w) => {
          const { container } = w.ready(machine.edu, 8);
          w.is(
            [1, 3, 4, 6].map((n) => w.extension(container, n)),
            [0, 0, 0, 0],
            '1, 3, 4, 6',
          );
        },
      },
    ),
    changed(
      'CTR-7',
      'With groups and no model the no-IOMMU model is asked only where the groups are no-IOMMU groups, and then it alone.',
      {
        run: (w) => {
          const c = w.container();
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          w.is(
            [1, 3, 8].map((n) => w.extension(c, n)),
            [1, 1, 0],
            '1, 3, 8',
          );
        },
      },
      {
        mode: 'noiommu',
        run: (w) => {
          const c = w.container();
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          w.is(
            [1, 3, 8].map((n) => w.extension(c, n)),
            [0, 0, 1],
            '1, 3, 8',
          );
        },
      },
    ),
    changed(
      'CTR-8',
      'type1 gives 1 for 1, 3 and (until 7.2) 6; for DMA_CC 0 until the model is set, then 1 where all domains are coherent.',
      {
        below: '7.2',
        run: (w) => {
          const c = w.container();
          w.is(
            [1, 3, 4, 6].map((n) => w.extension(c, n)),
            [1, 1, 0, 1],
            'before the model',
          );
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          w.is(w.setIommu(c, 3), 0, 'SET_IOMMU');
          w.is(
            [1, 3, 6].map((n) => w.extension(c, n)),
            [1, 1, 1],
            'with the model',
          );
          w.is([0, 1].includes(w.extension(c, 4)), true, 'DMA_CC is 0 or 1');
        },
      },
      {
        from: '7.2',
        run: (w) => {
          const c = w.container();
          w.is(
            [1, 3, 4].map((n) => w.extension(c, n)),
            [1, 1, 0],
            'before the model',
          );
        },
      },
    ),
    item('CTR-9', 'SET_IOMMU without a group: EINVAL.', (w) => {
      const c = w.container();
      for (const type of [1, 3, 8, 99]) w.is(w.setIommu(c, type), E.INVAL, `SET_IOMMU(${type})`);
    }),
    item('CTR-10', 'SET_IOMMU where a model is set: EINVAL, also for the same one.', (w) => {
      const { container } = w.ready(machine.edu, 3);
      for (const type of [3, 1, 99]) w.is(w.setIommu(container, type), E.INVAL, `SET_IOMMU(${type})`);
    }),
    changed(
      'CTR-11',
      'SET_IOMMU of a value that no allowed model has: ENODEV.',
      {
        run: (w) => {
          const c = w.container();
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          for (const type of [0, 4, 99, 8]) w.is(w.setIommu(c, type), E.NODEV, `SET_IOMMU(${type})`);
        },
      },
      {
        mode: 'noiommu',
        run: (w) => {
          const c = w.container();
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          for (const type of [0, 1, 3, 99]) w.is(w.setIommu(c, type), E.NODEV, `SET_IOMMU(${type})`);
        },
      },
    ),
    item(
      'CTR-12',
      'SET_IOMMU gives the error of the model that has the value but refuses: from 5.12 type1 counts UNMAP_ALL (9) as its own and refuses it as a model with EINVAL.',
      (w) => {
        const c = w.container();
        w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
        w.is(w.setIommu(c, 9), E.INVAL, 'SET_IOMMU(9)');
      },
      { from: '5.12' },
    ),
    item('CTR-13', 'A SET_IOMMU that failed leaves the container as it was: a good value then works.', (w) => {
      const c = w.container();
      w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
      w.is(w.setIommu(c, 99), E.NODEV, 'SET_IOMMU(99)');
      w.is(w.setIommu(c, 1), 0, 'SET_IOMMU(1)');
    }),
    item('CTR-14', 'SET_IOMMU attaches every group of the container.', (w) => {
      const c = w.container();
      const groups = [machine.edu, machine.nvme].map((address) => w.group(address));
      for (const group of groups) w.is(w.setContainer(group, c), 0, 'SET_CONTAINER');
      w.is(w.setIommu(c, 3), 0, 'SET_IOMMU');
      for (const [i, address] of [machine.edu, machine.nvme].entries())
        w.ok(w.deviceFd(groups[i] as number, address), `GET_DEVICE_FD of ${address}`);
    }),
    item(
      'CTR-15',
      'The last group takes the model and all mappings along; after another group SET_IOMMU works again.',
      (w) => {
        const { container, group } = w.ready(machine.edu);
        const memory = w.memory(4096);
        w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA');
        w.is(w.unsetContainer(group), 0, 'UNSET_CONTAINER');
        w.is(w.map(container, 0x10000n, memory.address, 4096), E.INVAL, 'MAP_DMA without a model');
        w.is(w.setContainer(group, container), 0, 'SET_CONTAINER again');
        w.is(w.setIommu(container, 1), 0, 'SET_IOMMU again');
        w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA at the same address');
      },
    ),
    item('CTR-16', 'A container whose file is closed lives on while a group is in it, its mappings too.', (w) => {
      const { container, group, device } = w.device(machine.edu);
      const memory = w.memory(4096);
      const before = w.around.locked();
      w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA');
      w.is(w.close(container), 0, 'close of the container');
      w.is(w.around.locked() - before, 4096, 'bytes locked');
      w.is(w.status(group) & 2, 2, 'CONTAINER_SET');
      w.close(device);
      w.close(group);
      w.is(w.around.locked() - before, 0, 'bytes locked when the group has left');
    }),
    changed('CTR-17', 'read and write of a container: EINVAL.', {
      run: (w) => {
        const { container } = w.ready(machine.edu);
        w.is(w.system.pread(container, new Uint8Array(4), 0), E.INVAL, 'read');
        w.is(w.system.pwrite(container, new Uint8Array(4), 0), E.INVAL, 'write');
      },
    }),
    item(
      'CTR-18',
      '32-bit callers use the same command words.',
      (w) => {
        const c = w.container();
        w.is(w.real.call(c, 'ioctl32', GET_API_VERSION, 0), 0, 'GET_API_VERSION');
        for (const n of always) w.is(w.real.call(c, 'ioctl32', 0x3b65, n), 1, `extension ${n}`);
        w.is(w.real.call(c, 'ioctl32', 0x3b66, 1), E.INVAL, 'SET_IOMMU without a group');
        w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
        w.is(w.real.call(c, 'ioctl32', 0x3b66, 1), 0, 'SET_IOMMU');
      },
      { kernelOnly: 'the simulated process is the program itself, which has 64 bits' },
    ),
    item(
      'CTR-19',
      'Where the kernel is built so, /dev/vfio/vfio is served by iommufd; extension 6 gives 0 there.',
      (w) => {
        const { container } = w.device(machine.edu);
        w.is(
          [1, 3, 6].map((n) => w.extension(container, n)),
          [1, 1, 0],
          'extensions 1, 3, 6',
        );
        w.is(w.ioctl(container, 0x3b81, words(12, 0, 0)), 0, 'IOAS_ALLOC');
        w.is(w.map(container, 0x1000n, w.memory(4096).address, 4096), 0, 'MAP_DMA');
      },
      {
        from: '6.2',
        needs: 'iommufd as container',
        simulationOnly: 'the kernels of the lab are built with the container of VFIO',
      },
    ),
    item(
      'CTR-20',
      'Without the module vfio_iommu_type1 types 1 and 3 give 0, and SET_IOMMU of them ENODEV.',
      (w) => {
        const c = w.container();
        for (const n of always) w.is(w.extension(c, n), 0, `extension ${n}`);
        w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
        for (const n of always) w.is([w.extension(c, n), w.setIommu(c, n)], [0, E.NODEV], `type ${n}`);
      },
      { withoutType1: true },
    ),
    changed(
      'CTR-21',
      'From 7.2 type1 gives 0 for extension 6, and SET_IOMMU(6) is ENODEV. DESTROY of object 0 tells an iommufd from a container.',
      {
        from: '7.2',
        run: (w) => {
          const c = w.container();
          w.is(w.extension(c, 6), 0, 'extension 6');
          w.is(w.setContainer(w.group(machine.edu), c), 0, 'SET_CONTAINER');
          w.is(w.setIommu(c, 6), E.NODEV, 'SET_IOMMU(6)');
        },
      },
      {
        from: '6.2',
        needs: 'iommufd',
        run: (w) => {
          w.is(w.ioctl(w.container(), 0x3b80, words(8, 0)), E.INVAL, 'an empty container');
          w.is(new Iommufd(w).destroy(0), E.NOENT, 'an iommufd');
        },
      },
    ),
  ],
};
