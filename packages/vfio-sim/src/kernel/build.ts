/** What was built into the kernel, as far as VFIO shows it. */

import type { Kernel } from './version.js';

/** Options of the kernel's configuration, by their names without `CONFIG_`. Source: drivers/vfio/Kconfig, drivers/iommu/iommufd/Kconfig. */
export interface Build {
  /** Group files `/dev/vfio/N`. Always there before 6.6. */
  readonly VFIO_GROUP: boolean;
  /** `/dev/vfio/vfio` with the type1 IOMMU. Always there before 6.2. */
  readonly VFIO_CONTAINER: boolean;
  /** No-IOMMU mode, which its parameter then switches on. */
  readonly VFIO_NOIOMMU: boolean;
  /** `/dev/vfio/devices`, a file for each device; 6.6 and later. */
  readonly VFIO_DEVICE_CDEV: boolean;
  /** `/dev/iommu`; 6.2 and later. */
  readonly IOMMUFD: boolean;
  /** An iommufd serves `/dev/vfio/vfio`. */
  readonly IOMMUFD_VFIO_CONTAINER: boolean;
  /** INTx of PCI devices. */
  readonly VFIO_PCI_INTX: boolean;
  /** BARs can be mapped. Gone in 7.2: always there. */
  readonly VFIO_PCI_MMAP: boolean;
  /** The VGA region of display controllers. */
  readonly VFIO_PCI_VGA: boolean;
}

/**
 * Fills in what was not asked for.
 * @param iommufd a kernel with iommufd, or one where it serves the container too
 * @returns the build, or in words why no kernel is built so
 */
export function buildOf(kernel: Kernel, given: Partial<Build>, iommufd: boolean | 'container'): Build | string {
  const group = given.VFIO_GROUP ?? true;
  const served = given.IOMMUFD_VFIO_CONTAINER ?? iommufd === 'container';
  const file = given.IOMMUFD ?? (Boolean(iommufd) || served || given.VFIO_DEVICE_CDEV === true || !group);
  const build: Build = {
    VFIO_GROUP: group,
    VFIO_CONTAINER: group && !served,
    VFIO_NOIOMMU: group,
    VFIO_DEVICE_CDEV: file && kernel.since('6.6'),
    IOMMUFD: file,
    IOMMUFD_VFIO_CONTAINER: served,
    VFIO_PCI_INTX: true,
    VFIO_PCI_MMAP: true,
    VFIO_PCI_VGA: true,
    ...given,
  };
  return contradiction(kernel, build, iommufd) ?? build;
}

function contradiction(kernel: Kernel, build: Build, iommufd: boolean | 'container'): string | undefined {
  const { VFIO_GROUP, VFIO_CONTAINER, VFIO_DEVICE_CDEV, IOMMUFD, IOMMUFD_VFIO_CONTAINER } = build;
  const { release } = kernel;
  if (IOMMUFD && !kernel.since('6.2')) return `kernel ${release} has no iommufd`;
  if (iommufd && !IOMMUFD) return 'iommufd is asked for, and IOMMUFD is off';
  if (VFIO_DEVICE_CDEV && !kernel.since('6.6')) return `kernel ${release} has no device files (VFIO_DEVICE_CDEV)`;
  if (VFIO_DEVICE_CDEV && !IOMMUFD) return 'VFIO_DEVICE_CDEV needs IOMMUFD';
  if (!VFIO_GROUP && !VFIO_DEVICE_CDEV) return 'without VFIO_GROUP there must be VFIO_DEVICE_CDEV (6.6 and later)';
  if (!VFIO_GROUP && (VFIO_CONTAINER || IOMMUFD_VFIO_CONTAINER)) return 'a container needs VFIO_GROUP';
  if (!VFIO_GROUP && build.VFIO_NOIOMMU) return 'VFIO_NOIOMMU needs VFIO_GROUP here';
  if (IOMMUFD_VFIO_CONTAINER && !IOMMUFD) return 'IOMMUFD_VFIO_CONTAINER needs IOMMUFD';
  if (IOMMUFD_VFIO_CONTAINER && VFIO_CONTAINER) return 'VFIO_CONTAINER and IOMMUFD_VFIO_CONTAINER exclude each other';
  if (VFIO_GROUP && !VFIO_CONTAINER && !IOMMUFD) return 'without VFIO_CONTAINER there must be IOMMUFD';
  if (!build.VFIO_PCI_MMAP && kernel.since('7.2')) return `kernel ${release} has no option VFIO_PCI_MMAP`;
  return undefined;
}
