/** Device files: opened, bound, and chosen by default. */

import {
  DeviceFile,
  findDeviceFile,
  Group,
  groupOf,
  Iommufd,
  isVfioError,
  openDevice,
  type SystemCalls,
} from 'vfio-core';
import { equal } from '../support/equal.js';
import { type IommufdCase, refused } from './bench.js';

export const deviceFiles: readonly IommufdCase[] = [
  {
    title:
      '[IFD-1] [IFD-2] [IFD-6] [IFD-9] a device file answers once it is bound, is bound once, and let go by closing',
    run: async ({ backend, lone }) => {
      equal(/^\/dev\/vfio\/devices\/vfio\d+$/.test(findDeviceFile(backend, lone) ?? ''), true, 'its path');
      using iommufd = Iommufd.open(backend);
      using file = DeviceFile.open(backend, lone);
      using second = DeviceFile.open(backend, lone);
      equal([file.bound, second.bound], [false, false], 'before');
      await refused(
        () => file.detach(),
        'ERR_VFIO_ARGUMENT EINVAL VFIO_DEVICE_DETACH_IOMMUFD_PT',
        'detach before bind',
      );
      equal((await file.bind(iommufd)) > 0, true, 'its number');
      equal([file.bound, second.bound], [true, false], 'after');
      await refused(() => file.bind(iommufd), 'ERR_VFIO_BUSY EINVAL VFIO_DEVICE_BIND_IOMMUFD', 'bind twice');
      await refused(() => second.bind(iommufd), 'ERR_VFIO_BUSY EINVAL VFIO_DEVICE_BIND_IOMMUFD', 'bind elsewhere');
      file.detach();
      file.close();
      file.close();
      await refused(() => file.detach(), 'ERR_VFIO_CLOSED VFIO_DEVICE_DETACH_IOMMUFD_PT', 'after close');
      equal((await second.bind(iommufd)) > 0, true, 'its number by the second descriptor');
    },
  },
  {
    title: '[IFD-7] a descriptor that is no iommufd, or is not open, is named as such',
    run: async ({ backend, lone }) => {
      using file = DeviceFile.open(backend, lone);
      const eventfd = backend.eventfd(0);
      const other = Iommufd.adopt(backend, eventfd);
      await refused(() => file.bind(other), 'ERR_VFIO_ARGUMENT EBADFD VFIO_DEVICE_BIND_IOMMUFD', 'an eventfd');
      other.close();
      equal(backend.close(eventfd), -9, 'it was taken over');
    },
  },
  {
    title: '[IFD-5] an open group keeps its devices from being bound, and the error names it',
    run: async ({ backend, lone }) => {
      const group = Group.open(backend, groupOf(backend, lone).path);
      const path = groupOf(backend, lone).path;
      const thrown = await openDevice(lone, { backend, way: 'iommufd' }).catch((error: unknown) => error);
      equal(isVfioError(thrown) && [thrown.code, thrown.errnoName], ['ERR_VFIO_BUSY', 'EBUSY'], 'the error');
      equal((thrown as Error).message.includes(`has ${path} open`), true, `${(thrown as Error).message}: the group`);
      group.close();
      (await openDevice(lone, { backend, way: 'iommufd' })).close();
    },
  },
  {
    title: '[IFD-8] members of one group go to one iommufd',
    run: async ({ backend, edu, sibling }) => {
      using device = await openDevice(edu, { backend, way: 'iommufd' });
      await refused(
        () => openDevice(sibling, { backend, way: 'iommufd' }),
        'ERR_VFIO_BUSY EPERM VFIO_DEVICE_BIND_IOMMUFD',
        'the sibling with an iommufd of its own',
      );
      using other = await openDevice(sibling, { space: device.dma });
      equal(other.dma === device.dma, true, 'the space');
    },
  },
  {
    title: 'by default a device comes by its own file, and by its container where that file may not be used',
    run: async ({ backend, lone }) => {
      const first = await openDevice(lone, { backend });
      equal(first.dma.way.name, 'iommufd', `the way, because ${first.dma.way.reason}`);
      first.close();
      const denied = Object.create(backend, {
        open: { value: (path: string, flags: number) => (path === '/dev/iommu' ? -13 : backend.open(path, flags)) },
      }) as SystemCalls;
      const second = await openDevice(lone, { backend: denied });
      const { name, reason } = second.dma.way;
      equal([name, reason], ['container', '/dev/iommu cannot be opened (EACCES)'], 'the other way');
      second.close();
    },
  },
];
