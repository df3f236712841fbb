/** Written pages, and memory that moves: by iommufd, and by container. */

import { Hwpt, type IommufdSpace, iommuHardware, openDevice, type Type1Space } from 'vfio-core';
import { Edu } from 'vfio-drivers-example';
import { equal } from '../support/equal.js';
import { both, type IommufdCase, inward, memory, outward, PAGE, ready, refused } from './bench.js';

export const tracking: readonly IommufdCase[] = [
  {
    title: '[IFD-37] [IFD-38] page tables tell what devices wrote, where the IOMMU can; else that is said',
    run: async ({ backend, edu, has }) => {
      const { iommufd, ioas, id, end } = await ready(backend, edu);
      equal(iommuHardware(iommufd, id).tracksDirty, has.dirtyTracking, 'what the hardware says of itself');
      const plain = Hwpt.allocate({ device: id, ioas });
      const range = { iova: 0n, size: 0x1000n, pageSize: PAGE };
      const request = 'IOMMU_HWPT_GET_DIRTY_BITMAP';
      await refused(() => plain.readDirty(range), `ERR_VFIO_NOT_SUPPORTED EOPNOTSUPP ${request}`, 'a plain table');
      await refused(() => plain.readDirty({ ...range, size: 1n }), 'ERR_VFIO_ARGUMENT', 'a part of a page');
      plain.destroy();
      if (!has.dirtyTracking)
        await refused(
          () => Hwpt.allocate({ device: id, ioas, dirtyTracking: true }),
          'ERR_VFIO_NOT_SUPPORTED EOPNOTSUPP IOMMU_HWPT_ALLOC',
          'a table that tracks',
        );
      end();
    },
  },
  {
    title: 'a space tells which pages a device wrote, by iommufd exactly, and goes on as before where it cannot',
    run: async ({ backend, edu, has }) => {
      using device = await openDevice(edu, { backend, way: 'iommufd' });
      const space = device.dma as IommufdSpace;
      const teacher = await Edu.open(device);
      const buffer = space.allocate(100 * PAGE, { below: 1n << 28n });
      if (!has.dirtyTracking) {
        await refused(() => space.trackDirty(), 'ERR_VFIO_NOT_SUPPORTED EOPNOTSUPP IOMMU_HWPT_ALLOC', 'tracking');
      } else {
        const tracker = space.trackDirty();
        equal([tracker.exact, tracker.pageSize, tracker.read(buffer).count], [true, PAGE, 0], 'at first');
        await refused(() => space.trackDirty(), 'ERR_VFIO_BUSY', 'twice');
        for (const page of [3, 70]) await outward(teacher, buffer.address + BigInt(page * PAGE));
        equal([...tracker.read(buffer, { clear: false })], [3 * PAGE, 70 * PAGE], 'pages that edu wrote');
        const part = { address: buffer.address + BigInt(70 * PAGE) + 5n, size: 10 };
        equal([...tracker.read(part)], [0], 'the page of a part');
        equal([...tracker.read(buffer)], [3 * PAGE], 'what is left');
        equal(tracker.read(buffer).count, 0, 'after that');
        await refused(() => tracker.read({ address: 0x1000n, size: 1 }), 'ERR_VFIO_ARGUMENT', 'no buffer');
        tracker.stop();
        tracker.stop();
        await refused(() => tracker.read(buffer), 'ERR_VFIO_CLOSED', 'stopped');
        space.trackDirty();
      }
      buffer.bytes.set([5, 6, 7, 8]);
      await inward(teacher, buffer.address);
      await outward(teacher, buffer.address + 8n);
      equal([...buffer.bytes.subarray(8, 12)], [5, 6, 7, 8], 'what edu copied afterwards');
      teacher.close();
    },
  },
  {
    title: '[T1-50] a space tells by container that all that is mapped may have been written',
    container: true,
    run: async ({ backend, lone, edu }) => {
      using device = await openDevice(lone, { backend, way: 'container' });
      using elsewhere = await openDevice(edu, { backend, way: 'container' });
      const space = device.dma as Type1Space;
      const [buffer, other] = [space.allocate(70 * PAGE), space.allocate(1)];
      const dirty = { iova: buffer.address, size: BigInt(70 * PAGE), pageSize: PAGE };
      await refused(() => space.type1.readDirty(dirty), 'ERR_VFIO_MAPPING EINVAL VFIO_IOMMU_DIRTY_PAGES', 'before');
      const tracker = space.trackDirty();
      equal([tracker.exact, tracker.read(buffer).count, tracker.read(other).count], [false, 70, 1], 'pages');
      const alien = elsewhere.dma.allocate(1, { at: buffer.address });
      await refused(() => tracker.read(alien), 'ERR_VFIO_ARGUMENT', 'a buffer of another space at the same address');
      const part = tracker.read({ address: buffer.address + BigInt(65 * PAGE), size: 3 * PAGE });
      equal([part.iova, [...part]], [buffer.address + BigInt(65 * PAGE), [0, PAGE, 2 * PAGE]], 'a part');
      equal([...tracker.read(buffer).ranges()], [{ start: dirty.iova, end: dirty.iova + dirty.size - 1n }], 'ranges');
      tracker.stop();
      await refused(() => tracker.read(buffer), 'ERR_VFIO_CLOSED', 'stopped');
    },
  },
  {
    title: '[T1-46] what is unmapped tells at last what was written',
    container: true,
    run: async ({ backend, lone }) => {
      using device = await openDevice(lone, { backend, way: 'container' });
      const { type1 } = device.dma as Type1Space;
      const own = memory(backend, 2);
      type1.startDirtyTracking();
      type1.map({ iova: 0x10000n, address: own.address, size: 2 * PAGE, ...both });
      const { unmapped, dirty } = type1.unmapReadingDirty({ iova: 0x10000n, size: 0x2000n, pageSize: PAGE });
      equal([unmapped, [...dirty]], [0x2000n, [0, PAGE]], 'bytes and pages');
      type1.stopDirtyTracking();
      own.unmap();
    },
  },
  {
    title: '[T1-45] [T1-7] memory moves to another address of the program, under a device that does not notice',
    container: true,
    run: async ({ backend, edu, sibling }) => {
      const device = await openDevice(edu, { backend, way: 'container' });
      const space = device.dma as Type1Space;
      const { type1 } = space;
      const fd = backend.memfd('moves');
      backend.truncate(fd, PAGE);
      const at = () => backend.memory({ kind: 'file', fd, offset: 0, length: PAGE }) as ReturnType<typeof memory>;
      const before = at();
      type1.map({ iova: 0x10000n, address: before.address, size: PAGE, ...both });
      const moved = { iova: 0x10000n, size: PAGE };
      const map = 'VFIO_IOMMU_MAP_DMA';
      const after = at();
      const replace = (more: object = {}) => type1.replaceAddress({ ...moved, address: after.address, ...more });
      await refused(() => replace(), `ERR_VFIO_MAPPING EINVAL ${map}`, 'not marked');
      equal(type1.invalidateAddresses(moved), 0x1000n, 'marked');
      const twice = 'ERR_VFIO_MAPPING EINVAL VFIO_IOMMU_UNMAP_DMA';
      await refused(() => type1.invalidateAddresses(moved), twice, 'marked twice');
      await refused(() => replace({ iova: 0x20000n }), `ERR_VFIO_MAPPING ENOENT ${map}`, 'nothing there');
      before.unmap();
      replace();
      const teacher = await Edu.open(device);
      after.bytes.set([4, 3, 2, 1]);
      await inward(teacher, 0x10000n);
      await outward(teacher, 0x10010n);
      equal([...after.bytes.subarray(16, 20)], [4, 3, 2, 1], 'what edu copied');
      equal(type1.invalidateAddresses(), 0x1000n, 'all marked');
      replace();
      using other = await openDevice(sibling, { space });
      equal(other.closed, false, 'another device joins');
      teacher.close();
      type1.unmapAll();
      after.unmap();
      backend.close(fd);
    },
  },
  {
    title: '[IFD-31] an iommufd in the place of a container has neither tracking nor moving',
    run: async ({ backend, lone }) => {
      using device = await openDevice(lone, { backend, way: 'iommufd-container' });
      const space = device.dma as Type1Space;
      equal(space.headroom().memlock.counts, 'own', 'what can be read of the limit');
      await refused(() => space.trackDirty(), 'ERR_VFIO_NOT_SUPPORTED ENOTTY VFIO_IOMMU_DIRTY_PAGES', 'tracking');
      await refused(() => space.type1.invalidateAddresses(), 'ERR_VFIO_NOT_SUPPORTED VFIO_CHECK_EXTENSION', 'moving');
    },
  },
];
