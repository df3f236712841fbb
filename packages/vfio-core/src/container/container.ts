/** A container: one I/O address space and the groups that use it. Source: linux/vfio.h. */

import { VfioError } from '../errors/error.js';
import { type CallFacts, check } from '../errors/system-error.js';
import { type Fd, OpenFlag, type SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl } from '../uapi/constants.js';
import { exitPhase } from './exit-phases.js';
import type { Group } from './group.js';
import { notPermitted } from './refusals.js';

/** An iommufd takes a container's place too, where the kernel was built for that ([IFD-20]). */
export type ContainerPath = '/dev/vfio/vfio' | '/dev/iommu';

/** `/dev/vfio/vfio` or `/dev/iommu`, opened. Each opening is an empty container of its own ([CTR-1]). */
export class Container {
  readonly path: string;
  readonly system: SystemCalls;
  readonly fd: Fd;
  /** The groups attached through {@link Group.setContainer}. */
  readonly groups: ReadonlySet<Group> = new Set<Group>();
  private readonly exit: number;
  private shut = false;

  private constructor(system: SystemCalls, path: string, fd: Fd) {
    this.path = path;
    this.system = system;
    this.fd = fd;
    this.exit = system.onExit(exitPhase.container, { call: 'close', fd });
  }

  /** Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`. */
  static open(system: SystemCalls, path: ContainerPath = '/dev/vfio/vfio'): Container {
    const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
    if (fd < 0) {
      throw notPermitted(system, path, fd, {
        what: `opening ${path}`,
        codes: { ENOENT: 'ERR_VFIO_NOT_LOADED', ENODEV: 'ERR_VFIO_NOT_LOADED', ENXIO: 'ERR_VFIO_NOT_LOADED' },
      });
    }
    return new Container(system, path, fd);
  }

  /** Takes over a descriptor that another process opened. */
  static adopt(system: SystemCalls, fd: Fd): Container {
    return new Container(system, `descriptor ${fd}`, fd);
  }

  get closed(): boolean {
    return this.shut;
  }

  /** 0 for the interface that this package speaks ([CTR-2]). */
  apiVersion(): number {
    return this.call('VFIO_GET_API_VERSION');
  }

  /** What an extension answers; 0 means that it is not there ([CTR-3] to [CTR-8]). */
  extension(number: number): number {
    return this.call('VFIO_CHECK_EXTENSION', number);
  }

  /**
   * Chooses the IOMMU model, once a group is attached ([CTR-9] to [CTR-13]).
   * Throws `ERR_VFIO_API` for a model that this container cannot have; for lack of rights `ERR_VFIO_UNSAFE_INTERRUPTS` (type1,
   * [T1-2]) or `ERR_VFIO_PERMISSION` (no-IOMMU, [NOI-10]); `ERR_VFIO_ARGUMENT` before a group is in, and a second time.
   */
  setIommu(type: number): void {
    const refused = type === constants.VFIO_NOIOMMU_IOMMU ? 'ERR_VFIO_PERMISSION' : 'ERR_VFIO_UNSAFE_INTERRUPTS';
    this.call('VFIO_SET_IOMMU', type, {
      codes: { EPERM: refused, ENODEV: 'ERR_VFIO_API', EINVAL: 'ERR_VFIO_ARGUMENT' },
      means: {
        EPERM:
          type === constants.VFIO_NOIOMMU_IOMMU
            ? 'no-IOMMU mode needs CAP_SYS_RAWIO'
            : 'the IOMMU does not isolate interrupts',
        ENODEV: 'this container cannot have such an IOMMU model',
        EINVAL: 'no group is in the container yet, or it has a model already',
      },
    });
  }

  /** Idempotent. The kernel keeps a container while groups are attached ([CTR-16]): close those first. */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    this.system.cancelExit(this.exit);
    this.system.close(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private call(request: keyof typeof Ioctl, argument = 0, facts: Pick<CallFacts, 'codes' | 'means'> = {}): number {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the container was closed.', { request });
    return check(this.system.ioctl(this.fd, Ioctl[request], argument), {
      syscall: 'ioctl',
      request,
      path: this.path,
      ...facts,
    });
  }
}
