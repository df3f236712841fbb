/**
 * iommufd and device files below the address spaces, as cases: the same run on the simulation and on a real kernel. The errnos that they
 * wait for are those of the numbered behaviours.
 */

import {
  DeviceFile,
  type DmaSpace,
  findDeviceFile,
  Group,
  groupOf,
  Hwpt,
  Ioas,
  Iommufd,
  IommufdSpace,
  iommuHardware,
  isVfioError,
  KernelChannel,
  OpenDevice,
  openDevice,
  openSpace,
  type SystemCalls,
  type Type1Space,
} from 'vfio-core';
import { Edu } from 'vfio-drivers-example';
import { equal, show } from '../support/equal.js';

/** Where the cases run. */
export interface IommufdBench {
  readonly backend: SystemCalls;
  /** In a group of its own. */
  readonly lone: string;
  /** An edu device, which reaches 28 bits, and a second endpoint of its group. */
  readonly edu: string;
  readonly sibling: string;
  /** What this kernel and its IOMMU have. */
  readonly has: { readonly dirtyTracking: boolean; readonly mapFile: boolean; readonly changeProcess: boolean };
}

export interface IommufdCase {
  readonly title: string;
  /** It goes by the container, on kernels without iommufd too. */
  readonly container?: boolean;
  readonly run: (bench: IommufdBench) => unknown;
}

const PAGE = 4096;
const both = { read: true, write: true } as const;

/** Code, errno and request of what is thrown, and that it says what to do. */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (thrown) {
    if (!isVfioError(thrown)) throw thrown;
    if (!/\w/.test(thrown.remedy ?? '')) throw new Error(`${thrown.message} has no remedy`);
    return [thrown.code, thrown.errnoName, thrown.request].filter((word) => word !== undefined).join(' ');
  }
  return 'nothing thrown';
}

async function refused(run: () => unknown, wanted: string, what: string): Promise<void> {
  equal(await refusal(run), wanted, what);
}

/** Anonymous memory of the program. */
function memory(backend: SystemCalls, pages: number) {
  const mapping = backend.memory({ kind: 'anonymous', length: pages * PAGE });
  if (typeof mapping === 'number') throw new Error(`mmap: ${mapping}`);
  return mapping;
}

/** An edu device over a file that is bound and attached. It is closed with the descriptor. */
async function teach(backend: SystemCalls, file: DeviceFile): Promise<Edu> {
  const channel = new KernelChannel(backend, file.release(), file.address);
  const after = () => file.close();
  return Edu.open(new OpenDevice({ channel, address: file.address, dma: undefined as unknown as DmaSpace, after }));
}

/** Edu's buffer of 4 bytes to memory, through its buffer. */
const inward = (edu: Edu, iova: bigint) => edu.transfer(iova, 0x40000n, 4, false);
const outward = (edu: Edu, iova: bigint) => edu.transfer(0x40000n, iova, 4, true);

/** An iommufd with an address space that the device is attached to. */
async function ready(backend: SystemCalls, address: string) {
  const iommufd = Iommufd.open(backend);
  const file = DeviceFile.open(backend, address);
  const id = await file.bind(iommufd);
  const ioas = Ioas.allocate(iommufd);
  file.attach(ioas);
  const end = () => {
    file.close();
    iommufd.close();
  };
  return { iommufd, file, ioas, id, end };
}

export const iommufdBehaviour: readonly IommufdCase[] = [
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
