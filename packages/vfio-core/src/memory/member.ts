/** A device in an address space. */

import type { IommuGroup } from '../container/find-group.js';
import type { Fd } from '../seam/system-calls.js';
import type { PassedOn } from './passed-on.js';

/** What an address space needs to open a device in it. */
export interface MemberRequest {
  readonly address: string;
  /** From sysfs; undefined where descriptors make it needless. */
  readonly group: IommuGroup | undefined;
  /** What of it leads to the device is taken. */
  readonly passedOn?: PassedOn;
  /** Shared secret of a physical function's owner and the users of its virtual functions: a UUID ([GRP-29]). */
  readonly vfToken?: string | undefined;
}

export interface OpenMember {
  /** The device descriptor, for the caller to close. */
  readonly fd: Fd;
  /** Just before it is closed: its number may be another file's from then on. */
  closing(): void;
  /** Once it is closed. */
  leave(): void;
}
