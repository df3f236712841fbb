/** Descriptors that another process passed on, and who closes them. */

import { VfioError } from '../errors/error.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';

/**
 * Open descriptors that another process passed on (a parent that has the rights, a sandbox's outside). The call that they are passed to
 * takes them over, whatever comes of it: closing the device or the space closes them, and a failure of the call does.
 */
export interface Descriptors {
  /** `/dev/vfio/vfio`, or `/dev/iommu` in its place; its IOMMU may be chosen already. */
  readonly container?: Fd | undefined;
  /** `/dev/iommu`. */
  readonly iommufd?: Fd | undefined;
  /**
   * `/dev/vfio/7`; it may be in the container already, and in no other: the kernel does not tell which one it is in. For a further device
   * of the group, in the same space, the number is passed again.
   */
  readonly group?: Fd | undefined;
  /** With a container: what VFIO_GROUP_GET_DEVICE_FD gave. Else `/dev/vfio/devices/vfio0`. */
  readonly device?: Fd | undefined;
}

export type DescriptorKind = keyof Descriptors;

const kinds: readonly DescriptorKind[] = ['container', 'iommufd', 'group', 'device'];

/** They are closed here, but for those that somebody took: who takes one closes it. */
export class PassedOn {
  private readonly system: SystemCalls;
  private readonly left: Map<DescriptorKind, Fd>;

  constructor(system: SystemCalls, descriptors: Descriptors | undefined) {
    this.system = system;
    if (descriptors !== undefined && (typeof descriptors !== 'object' || descriptors === null)) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `${String(descriptors)} are no descriptors.`, {
        remedy: 'Pass an object:  descriptors: { container: 3, group: 4 }.',
      });
    }
    this.left = new Map(
      kinds.flatMap((kind) => (descriptors?.[kind] === undefined ? [] : [[kind, descriptors[kind] as Fd] as const])),
    );
  }

  /** Throws `ERR_VFIO_ARGUMENT` for what is no descriptor, and for one that is passed twice. */
  check(): void {
    const fds = [...this.left.values()];
    for (const [kind, fd] of this.left) {
      if (Number.isInteger(fd) && fd >= 0 && fds.filter((other) => other === fd).length === 1) continue;
      throw new VfioError('ERR_VFIO_ARGUMENT', `${String(fd)} is no open descriptor of its own for the ${kind}.`, {
        remedy: 'Pass the number of an open file, each once.',
        details: { kind, fd },
      });
    }
  }

  has(kind: DescriptorKind): boolean {
    return this.left.has(kind);
  }

  /** Its number, to look at. */
  get(kind: DescriptorKind): Fd | undefined {
    return this.left.get(kind);
  }

  /** From now on the caller closes it. */
  take(kind: DescriptorKind): Fd | undefined {
    const fd = this.left.get(kind);
    this.left.delete(kind);
    return fd;
  }

  /** Closes what nobody took. Idempotent. */
  close(): void {
    const fds = new Set(this.left.values());
    this.left.clear();
    for (const fd of fds) if (Number.isInteger(fd) && fd >= 0) this.system.close(fd);
  }
}
