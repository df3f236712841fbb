/** Objects of an iommufd, and what is mapped in its address spaces. */

import { DeviceFile, Ioas, Iommufd, IommufdSpace, openDevice, openSpace } from 'vfio-core';
import { Edu } from 'vfio-drivers-example';
import { equal, show } from '../support/equal.js';
import { both, type IommufdCase, inward, memory, outward, PAGE, ready, refused, teach } from './bench.js';

export const mapping: readonly IommufdCase[] = [
  {
    title: '[IFD-19] [IFD-20] [IFD-22] objects end once, not while they are in use, and with their iommufd',
    run: async ({ backend, lone }) => {
      const { iommufd, file, ioas, end } = await ready(backend, lone);
      await refused(() => ioas.destroy(), 'ERR_VFIO_BUSY EBUSY IOMMU_DESTROY', 'with a device');
      const second = Ioas.allocate(iommufd);
      equal(second.id === ioas.id, false, 'numbers');
      second.destroy();
      second.destroy();
      equal(second.destroyed, true, 'destroyed');
      await refused(() => iommufd.destroy(second.id), 'ERR_VFIO_ARGUMENT ENOENT IOMMU_DESTROY', 'the number again');
      await refused(() => second.ranges(), 'ERR_VFIO_ARGUMENT ENOENT IOMMU_IOAS_IOVA_RANGES', 'its ranges');
      await refused(() => file.attach(second), 'ERR_VFIO_ARGUMENT ENOENT VFIO_DEVICE_ATTACH_IOMMUFD_PT', 'attach');
      file.detach();
      ioas.destroy();
      const third = Ioas.allocate(iommufd);
      end();
      end();
      equal(third.destroyed, true, 'with its iommufd');
      third.destroy();
      await refused(() => Ioas.allocate(iommufd), 'ERR_VFIO_CLOSED IOMMU_IOAS_ALLOC', 'after close');
    },
  },
  {
    title:
      '[IFD-23] an address space is everything until a device is attached, and without what that cannot reach then',
    run: async ({ backend, lone }) => {
      using iommufd = Iommufd.open(backend);
      const ioas = Ioas.allocate(iommufd);
      equal(ioas.ranges(), { ranges: [{ start: 0n, end: 2n ** 64n - 1n }], alignment: 1n }, 'before');
      using file = DeviceFile.open(backend, lone);
      await file.bind(iommufd);
      file.attach(ioas);
      const { ranges, pageSizes, available } = ioas.info();
      equal([pageSizes & 0x1fffn, available], [0x1000n, undefined], 'page sizes and mappings');
      const holds = (address: bigint) => ranges?.some(({ start, end }) => start <= address && address <= end);
      const found = [0x1000n, 0xfee0_0000n, 0xfeef_ffffn, 0xfef0_0000n, 2n ** 64n - 1n].map(holds);
      equal(found, [true, false, false, true, false], `what lies in ${show(ranges)}`);
    },
  },
  {
    title: '[IFD-24] [IFD-25] [IFD-28] each refusal of mapping and unmapping has its reason, and harms nothing',
    run: async ({ backend, lone }) => {
      const { ioas, end } = await ready(backend, lone);
      const own = memory(backend, 4);
      const map = (iova: bigint, size = 2 * PAGE, more: object = {}) =>
        ioas.map({ iova, address: own.address, size, ...both, ...more });
      const mapping = (errno: string) => `ERR_VFIO_MAPPING ${errno} IOMMU_IOAS_MAP`;
      map(0x10000n);
      await refused(() => map(0x11000n), mapping('EEXIST'), 'overlap');
      await refused(() => map(0xfee0_0000n), mapping('EINVAL'), 'the window of interrupts');
      await refused(() => map(0x20100n), mapping('EINVAL'), 'misaligned');
      await refused(() => map(0x20000n, 0), mapping('EINVAL'), 'no bytes');
      await refused(() => map(0x20000n, PAGE, { read: false, write: false }), mapping('EINVAL'), 'no direction');
      await refused(() => map(2n ** 64n - 1n), mapping('EOVERFLOW'), 'the last byte');
      await refused(() => map(0x20000n, PAGE, { address: 0x1000n }), mapping('EFAULT'), 'no memory');
      await refused(() => map(-1n), 'ERR_VFIO_ARGUMENT', 'a negative address');
      const unmapping = 'ERR_VFIO_MAPPING ENOENT IOMMU_IOAS_UNMAP';
      await refused(() => ioas.unmap({ iova: 0x40000n, size: PAGE }), unmapping, 'nothing there');
      await refused(() => ioas.unmap({ iova: 0x11000n, size: PAGE }), unmapping, 'a part');
      equal(ioas.unmap({ iova: 0x10000n, size: 2 * PAGE }), 0x2000n, 'unmapped');
      const anywhere = ioas.mapAnywhere({ address: own.address, size: PAGE, ...both });
      equal([anywhere > 0n, anywhere % 4096n], [true, 0n], 'an address of the kernel’s choice');
      map(anywhere + 0x10000n);
      equal([ioas.unmapAll(), ioas.unmapAll()], [0x3000n, 0n], 'unmapped all, twice');
      end();
      own.unmap();
    },
  },
  {
    title:
      '[IFD-11] [IFD-29] a copy is the same memory in another space, outlives the original, and a device goes over to it',
    run: async ({ backend, edu }) => {
      const { iommufd, file, ioas, end } = await ready(backend, edu);
      const second = Ioas.allocate(iommufd);
      const own = memory(backend, 4);
      ioas.map({ iova: 0x10000n, address: own.address, size: 4 * PAGE, ...both });
      const clone = { from: ioas, source: 0x11000n, size: 2 * PAGE, ...both };
      equal(second.copy({ ...clone, iova: 0x80000n }), 0x80000n, 'where it was wanted');
      await refused(
        () => second.copy({ ...clone, iova: 0x80000n }),
        'ERR_VFIO_MAPPING EEXIST IOMMU_IOAS_COPY',
        'again',
      );
      await refused(
        () => second.copy({ ...clone, source: 0x13000n }),
        'ERR_VFIO_ARGUMENT ENOENT IOMMU_IOAS_COPY',
        'a hole in the source',
      );
      const teacher = await teach(backend, file);
      own.bytes.set([1, 2, 3, 4], PAGE);
      await inward(teacher, 0x11000n);
      file.attach(second);
      ioas.unmapAll();
      await outward(teacher, 0x81000n);
      equal([...own.bytes.subarray(2 * PAGE, 2 * PAGE + 4)], [1, 2, 3, 4], 'what edu wrote through the copy');
      teacher.close();
      equal(second.unmap({ iova: 0x80000n, size: 2 * PAGE }), 0x2000n, 'bytes of the copy');
      end();
      own.unmap();
    },
  },
  {
    title: '[IFD-29] a buffer is copied into a sibling space: other devices reach it, and it is charged once',
    run: async ({ backend, edu, lone }) => {
      using first = IommufdSpace.open({ backend });
      using second = first.sibling();
      using one = await openDevice(lone, { space: first });
      const teacher = await Edu.open(await openDevice(edu, { space: second }));
      const buffer = first.allocate(3 * PAGE - 8);
      const used = () => [first, second].map((space) => space.headroom().memlock.used);
      const clone = second.copy(buffer, { below: 1n << 28n });
      equal([used(), clone.length], [[3 * PAGE, 0], 3 * PAGE - 8], 'what is charged, and bytes');
      buffer.bytes.set([1, 2, 3, 4]);
      await inward(teacher, clone.address);
      await outward(teacher, clone.address + BigInt(PAGE));
      equal([...buffer.bytes.subarray(PAGE, PAGE + 4)], [1, 2, 3, 4], 'what edu wrote through the copy');
      equal(
        [second.lookup(clone.address + 5n)?.offset, first.lookup(clone.address)?.buffer === clone],
        [5, false],
        'look-up',
      );
      await refused(() => second.copy(clone, { at: clone.address }), 'ERR_VFIO_NO_IOVA', 'where it is');
      const readable = first.allocate(PAGE, { direction: 'device-reads' });
      await refused(() => second.copy(readable), 'ERR_VFIO_MAPPING EPERM IOMMU_IOAS_COPY', 'for writing');
      second.copy(readable, { direction: 'device-reads' });
      using stranger = IommufdSpace.open({ backend });
      await refused(() => stranger.copy(buffer), 'ERR_VFIO_ARGUMENT', 'of another iommufd');
      buffer.close();
      equal([clone.closed, readable.closed, one.closed], [true, false, false], 'the copy goes before the buffer');
      await refused(() => second.copy(buffer), 'ERR_VFIO_ARGUMENT', 'once it is closed');
      const alone = second.copy(first.allocate(PAGE));
      alone.close();
      first.unmapAll();
      teacher.close();
    },
  },
  {
    title: '[IFD-29] ranges that are promised keep away a device that cannot reach them',
    run: async ({ backend, lone }) => {
      using iommufd = Iommufd.open(backend);
      const ioas = Ioas.allocate(iommufd);
      const wrong = 'ERR_VFIO_ARGUMENT EINVAL IOMMU_IOAS_ALLOW_IOVAS';
      await refused(() => ioas.allow([{ start: 0x2000n, end: 0x1000n }]), wrong, 'an end before its start');
      ioas.allow([{ start: 0xfe00_0000n, end: 0xffff_ffffn }]);
      using file = DeviceFile.open(backend, lone);
      await file.bind(iommufd);
      await refused(
        () => file.attach(ioas),
        'ERR_VFIO_MAPPING EADDRINUSE VFIO_DEVICE_ATTACH_IOMMUFD_PT',
        'a promise of the window of interrupts',
      );
      ioas.allow([{ start: 0x1000n, end: 0xffff_ffn }]);
      file.attach(ioas);
      await refused(
        () => ioas.allow([{ start: 0xfe00_0000n, end: 0xffff_ffffn }]),
        'ERR_VFIO_BUSY EADDRINUSE IOMMU_IOAS_ALLOW_IOVAS',
        'a promise that the device cannot keep',
      );
    },
  },
  {
    title: '[IFD-26] memory that is mapped before its first device is reached by it, or keeps it away with the reason',
    run: async ({ backend, edu }) => {
      using iommufd = Iommufd.open(backend);
      const ioas = Ioas.allocate(iommufd);
      const own = memory(backend, 2);
      ioas.map({ iova: 0x10000n, address: own.address, size: PAGE, ...both });
      ioas.map({ iova: 0xfee0_0000n, address: own.address, size: PAGE, ...both });
      using file = DeviceFile.open(backend, edu);
      await file.bind(iommufd);
      await refused(
        () => file.attach(ioas),
        'ERR_VFIO_MAPPING EADDRINUSE VFIO_DEVICE_ATTACH_IOMMUFD_PT',
        'memory in the window of interrupts',
      );
      ioas.unmap({ iova: 0xfee0_0000n, size: PAGE });
      file.attach(ioas);
      const teacher = await teach(backend, file);
      own.bytes.set([9, 8, 7, 6]);
      await inward(teacher, 0x10000n);
      own.bytes.fill(0);
      await outward(teacher, 0x10000n);
      equal([...own.bytes.subarray(0, 4)], [9, 8, 7, 6], 'what went in and out');
      teacher.close();
      ioas.destroy();
      own.unmap();
    },
  },
  {
    title: '[IFD-27] pages are charged to the user, or to the process where that was asked for before all else',
    run: async ({ backend }) => {
      using iommufd = Iommufd.open(backend);
      equal(iommufd.accounting, 'user', 'by default');
      iommufd.setAccounting('process');
      equal(iommufd.accounting, 'process', 'as asked for');
      const ioas = Ioas.allocate(iommufd);
      await refused(() => iommufd.setAccounting('user'), 'ERR_VFIO_BUSY EBUSY IOMMU_OPTION', 'with an object');
      equal(ioas.largePages, true, 'large pages by default');
      ioas.setLargePages(false);
      equal(ioas.largePages, false, 'large pages');
      using fresh = openSpace({ backend, way: 'iommufd' });
      equal(fresh.headroom().memlock.counts, 'own', 'what the space can read of the limit');
    },
  },
  {
    title: '[IFD-30] an iommufd tells which space stands in for a container',
    run: ({ backend }) => {
      using iommufd = Iommufd.open(backend);
      equal(iommufd.compatibleIoas, undefined, 'at first');
      const ioas = Ioas.allocate(iommufd);
      iommufd.setCompatibleIoas(ioas.id);
      equal(iommufd.compatibleIoas, ioas.id, 'as set');
      iommufd.setCompatibleIoas(undefined);
      equal(iommufd.compatibleIoas, undefined, 'cleared');
    },
  },
  {
    title:
      '[IFD-36] [IFD-39] a file is mapped without an address, and goes over to another process, where the kernel has that',
    run: async ({ backend, lone, has }) => {
      const { iommufd, ioas, end } = await ready(backend, lone);
      const fd = backend.memfd('test');
      backend.truncate(fd, 4 * PAGE);
      const file = { fd, offset: PAGE, size: 2 * PAGE, ...both };
      const own = memory(backend, 1);
      if (has.mapFile) equal(ioas.mapFile({ ...file, iova: 0x10000n }), 0x10000n, 'where it was wanted');
      else await refused(() => ioas.mapFile(file), 'ERR_VFIO_NOT_SUPPORTED ENOTTY IOMMU_IOAS_MAP_FILE', 'a file');
      if (has.changeProcess) iommufd.changeProcess();
      ioas.map({ iova: 0x20000n, address: own.address, size: PAGE, ...both });
      await refused(
        () => iommufd.changeProcess(),
        has.changeProcess
          ? 'ERR_VFIO_ARGUMENT EINVAL IOMMU_IOAS_CHANGE_PROCESS'
          : 'ERR_VFIO_NOT_SUPPORTED ENOTTY IOMMU_IOAS_CHANGE_PROCESS',
        'with memory that was mapped by its address',
      );
      end();
      own.unmap();
      backend.close(fd);
    },
  },
];
