/** A device in an address space. */

import type { IommuGroup } from '../container/find-group.js';
import type { Fd } from '../seam/system-calls.js';

/**
 * Open descriptors that another process passed on (a parent that has the rights, a sandbox's outside). They are taken over: closing
 * the device closes them, and a failure does too, unless it is `ERR_VFIO_ARGUMENT` for options that do not go together.
 */
export interface Descriptors {
  /** `/dev/vfio/vfio`, or `/dev/iommu` in its place; its IOMMU may be chosen already. */
  readonly container?: Fd | undefined;
  /** `/dev/iommu`. */
  readonly iommufd?: Fd | undefined;
  /** `/dev/vfio/7`; it may be in the container already. */
  readonly group?: Fd | undefined;
  /** With `container`: what VFIO_GROUP_GET_DEVICE_FD gave. Else `/dev/vfio/devices/vfio0`. */
  readonly device?: Fd | undefined;
}

/** What an address space needs to open a device in it. */
export interface MemberRequest {
  readonly address: string;
  /** From sysfs; undefined where descriptors make it needless. If opening fails, `group` and `device` of these are closed. */
  readonly group: IommuGroup | undefined;
  readonly descriptors?: Descriptors;
  /** Shared secret of a physical function's owner and the users of its virtual functions: a UUID ([GRP-29]). */
  readonly vfToken?: string | undefined;
}

export interface OpenMember {
  /** The device descriptor, for the caller to close. */
  readonly fd: Fd;
  /** Once it is closed. */
  leave(): void;
}
