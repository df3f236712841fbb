/**
 * The steps to an open device with memory, for each way in, and what the kernel may answer to each. For docs/troubleshooting.md, and for
 * the test that plays every one of these answers; nothing imports it at run time.
 */

import type { ErrorCode } from './codes.js';
import type { Errno } from './errno.js';

/** What the kernel says (an errno, or a reply in words), the code that comes of it, and what it means at this step. */
export type StepAnswer = readonly [said: keyof typeof Errno | 'replies', code: ErrorCode, means: string];

export interface OpeningStep {
  /** `open` of a path, or the ioctl's name. `GROUP` and `vfioX` stand for the device's own. */
  readonly call: string;
  readonly answers: readonly StepAnswer[];
}

const openGroup: OpeningStep = {
  call: 'open /dev/vfio/GROUP',
  answers: [
    ['EACCES', 'ERR_VFIO_PERMISSION', 'the file belongs to another user, who is named'],
    ['EPERM', 'ERR_VFIO_PERMISSION', 'a group of no-IOMMU mode, without CAP_SYS_RAWIO'],
    ['ENOENT', 'ERR_VFIO_NO_DEVICE', 'no device of the group is bound to vfio-pci any more'],
    ['ENODEV', 'ERR_VFIO_NO_DEVICE', 'the group is gone, the file not yet'],
    ['EBUSY', 'ERR_VFIO_BUSY', 'another opening has it, or a device of it is open by its own file'],
  ],
};

const openDevice: OpeningStep = {
  call: 'VFIO_GROUP_GET_DEVICE_FD',
  answers: [
    ['ENODEV', 'ERR_VFIO_NOT_BOUND', 'the device was unbound meanwhile'],
    ['EAGAIN', 'ERR_VFIO_BUSY', 'its lock is held: it is being reset'],
    ['EACCES', 'ERR_VFIO_PERMISSION', 'a virtual function without the VF token of its physical one'],
    ['EPERM', 'ERR_VFIO_PERMISSION', 'no-IOMMU mode without CAP_SYS_RAWIO'],
    ['EINVAL', 'ERR_VFIO_ARGUMENT', 'a VF token that the device does not take; by hand: a container without a model'],
    ['EMFILE', 'ERR_VFIO_SYSTEM', 'the process has too many files open'],
  ],
};

const openIommufd: OpeningStep = {
  call: 'open /dev/iommu',
  answers: [
    ['ENOENT', 'ERR_VFIO_NOT_LOADED', 'the kernel has no iommufd, or its module is not loaded'],
    ['EACCES', 'ERR_VFIO_PERMISSION', 'the file belongs to another user, who is named'],
  ],
};

const mapByContainer: OpeningStep = {
  call: 'VFIO_IOMMU_MAP_DMA',
  answers: [
    ['ENOMEM', 'ERR_VFIO_NO_MEMORY', 'no memory; `ERR_VFIO_MEMLOCK` where it was the limit on locked memory'],
    ['EFAULT', 'ERR_VFIO_MAPPING', 'the memory is not there, or cannot be pinned or written'],
    ['EEXIST', 'ERR_VFIO_MAPPING', 'something is mapped there'],
    ['EINVAL', 'ERR_VFIO_MAPPING', 'outside what the IOMMU translates, or not whole pages of it'],
    ['ENOSPC', 'ERR_VFIO_MAPPING', 'more mappings than `dma_entry_limit`'],
  ],
};

/** By way, in order. */
export const openingSteps: Readonly<Record<'container' | 'iommufd' | 'iommufd-container', readonly OpeningStep[]>> = {
  container: [
    {
      call: 'open /dev/vfio/vfio',
      answers: [
        ['ENOENT', 'ERR_VFIO_NOT_LOADED', 'VFIO is not loaded, or not passed into this container'],
        ['ENODEV', 'ERR_VFIO_NOT_LOADED', 'its module cannot be loaded'],
        ['EACCES', 'ERR_VFIO_PERMISSION', 'the file belongs to another user, who is named'],
      ],
    },
    { call: 'VFIO_GET_API_VERSION', answers: [['replies', 'ERR_VFIO_API', 'another version than 0']] },
    {
      call: 'VFIO_CHECK_EXTENSION',
      answers: [['replies', 'ERR_VFIO_API', '0 for type1 version 2: its module is not loaded']],
    },
    openGroup,
    {
      call: 'VFIO_GROUP_GET_STATUS',
      answers: [
        [
          'replies',
          'ERR_VFIO_GROUP_NOT_VIABLE',
          'not viable: a host driver has a member (before 5.19, and later before a container)',
        ],
      ],
    },
    {
      call: 'VFIO_GROUP_SET_CONTAINER',
      answers: [
        ['EPERM', 'ERR_VFIO_GROUP_NOT_VIABLE', 'the same, said at this step since 5.19'],
        ['EBUSY', 'ERR_VFIO_BUSY', 'another address space has the DMA of the group'],
      ],
    },
    {
      call: 'VFIO_SET_IOMMU',
      answers: [
        ['EPERM', 'ERR_VFIO_UNSAFE_INTERRUPTS', 'no interrupt remapping'],
        ['ENODEV', 'ERR_VFIO_API', 'this container cannot have type1'],
        ['ENOMEM', 'ERR_VFIO_NO_MEMORY', 'no memory for the IOMMU’s tables'],
      ],
    },
    openDevice,
    mapByContainer,
  ],
  iommufd: [
    openIommufd,
    {
      call: 'open /dev/vfio/devices/vfioX',
      answers: [
        ['EACCES', 'ERR_VFIO_PERMISSION', 'the file belongs to another user, who is named'],
        ['ENODEV', 'ERR_VFIO_NO_DEVICE', 'the device is gone, or on its way out'],
      ],
    },
    {
      call: 'VFIO_DEVICE_BIND_IOMMUFD',
      answers: [
        ['EBUSY', 'ERR_VFIO_BUSY', 'its group is open'],
        [
          'EPERM',
          'ERR_VFIO_UNSAFE_INTERRUPTS',
          'no interrupt remapping; `ERR_VFIO_GROUP_NOT_VIABLE` where a host driver has a member',
        ],
        ['EINVAL', 'ERR_VFIO_BUSY', 'it is bound already, by another opening'],
        ['ENODEV', 'ERR_VFIO_DEVICE_GONE', 'it was unbound meanwhile'],
      ],
    },
    { call: 'IOMMU_IOAS_ALLOC', answers: [['ENOMEM', 'ERR_VFIO_NO_MEMORY', 'no memory']] },
    {
      call: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
      answers: [
        ['EBUSY', 'ERR_VFIO_BUSY', 'the device is being reset'],
        ['EINVAL', 'ERR_VFIO_ARGUMENT', 'the IOMMU behind it cannot use this page table'],
        ['EFAULT', 'ERR_VFIO_MAPPING', 'memory that is mapped already cannot be pinned'],
      ],
    },
    {
      call: 'IOMMU_IOAS_MAP',
      answers: [
        ['ENOMEM', 'ERR_VFIO_NO_MEMORY', 'no memory; `ERR_VFIO_MEMLOCK` where it was the limit on locked memory'],
        [
          'EFAULT',
          'ERR_VFIO_MAPPING',
          'the memory is not there, cannot be pinned or written, or is another device’s registers',
        ],
        ['EEXIST', 'ERR_VFIO_MAPPING', 'something is mapped there'],
        ['EINVAL', 'ERR_VFIO_MAPPING', 'in a range that a device keeps, or not whole pages'],
      ],
    },
  ],
  'iommufd-container': [
    openIommufd,
    openGroup,
    {
      call: 'VFIO_GROUP_SET_CONTAINER',
      answers: [['EBUSY', 'ERR_VFIO_BUSY', 'another address space has the DMA of the group']],
    },
    { call: 'VFIO_SET_IOMMU', answers: [['ENODEV', 'ERR_VFIO_API', 'this iommufd cannot serve type1']] },
    openDevice,
    mapByContainer,
  ],
};
