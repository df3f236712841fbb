/** An address space that is a container with a type1 IOMMU, and the groups in it. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { Container, type ContainerPath } from '../container/container.js';
import type { IommuGroup } from '../container/find-group.js';
import { Group } from '../container/group.js';
import { notViable } from '../container/refusals.js';
import { Type1 } from '../container/type1.js';
import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';
import { constants } from '../uapi/constants.js';
import type { DirtySource } from './dirty-tracker.js';
import type { Way } from './dma.js';
import { IovaSpace } from './iova-space.js';
import { mappingsLost } from './mapping-errors.js';
import type { MemberRequest, OpenMember } from './member.js';
import type { PassedOn } from './passed-on.js';

const brand: unique symbol = Symbol.for('vfio-core.Type1Space') as never;

interface Member {
  /** Undefined where another process holds it. */
  readonly group: Group | undefined;
  devices: number;
}

export interface Type1SpaceOptions {
  readonly way: Way;
  readonly closesItself: boolean;
  /** A container that another process opened. */
  readonly container?: Fd | undefined;
}

/**
 * An address space of the kernel's type1 IOMMU. `openDevice(address)` makes one for its device and closes it after its last device;
 * one made by {@link Type1Space.open} takes several devices (`openDevice(address, { space })`) and closes when its maker says so.
 */
export class Type1Space extends IovaSpace {
  readonly container: Container;
  /** The calls behind it, for what has no face here. */
  readonly type1: Type1;
  private readonly members = new Map<string, Member>();
  private iommuSet = false;
  /** Another process opened the container and chose its IOMMU. */
  private adopted = false;

  private constructor(container: Container, { way, closesItself }: Type1SpaceOptions) {
    const type1 = new Type1(container);
    // An iommufd charges the user, unless it is the one that stands at /dev/vfio/vfio itself ([IFD-27]).
    const counts = way.name === 'iommufd-container' ? 'own' : 'process';
    super({ mapper: type1, way, closesItself, counts });
    this.type1 = type1;
    this.container = container;
    Object.defineProperty(this, brand, { value: true });
  }

  /**
   * A space for several devices. It maps nothing before its first device was opened.
   * Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_API`.
   */
  static open(options: BackendOption = {}): Type1Space {
    const way = { name: 'container', reason: 'it was asked for' } as const;
    return Type1Space.make(options.backend ?? defaultBackend(), { way, closesItself: false });
  }

  /** @internal */
  static make(system: SystemCalls, options: Type1SpaceOptions): Type1Space {
    const path: ContainerPath = options.way.name === 'iommufd-container' ? '/dev/iommu' : '/dev/vfio/vfio';
    const adopted = options.container;
    const container = adopted === undefined ? Container.open(system, path) : Container.adopt(system, adopted);
    try {
      checkContainer(container);
      const space = new Type1Space(container, options);
      if (adopted !== undefined) space.adoptIommu();
      return space;
    } catch (thrown) {
      container.close();
      throw thrown;
    }
  }

  /**
   * Opens a device in the space.
   * Throws `ERR_VFIO_GROUP_NOT_VIABLE`, `ERR_VFIO_BUSY`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_UNSAFE_INTERRUPTS`, `ERR_VFIO_NOT_BOUND`, ...;
   * then nothing of it is left open.
   */
  async openMember({ address, group: wanted, passedOn, vfToken }: MemberRequest): Promise<OpenMember> {
    this.checkOpen();
    this.dropLost();
    const groupFd = passedOn?.get('group');
    if (passedOn?.has('device') && groupFd === undefined) return this.adoptDevice(passedOn);
    const path = groupFd === undefined ? wanted?.path : `descriptor ${groupFd}`;
    if (path === undefined) throw new VfioError('ERR_VFIO_NO_IOMMU', `${address} is in no IOMMU group.`);
    const group = this.join(path, wanted, passedOn);
    try {
      const fd =
        passedOn?.take('device') ??
        (await group.openDevice(address, vfToken).catch((thrown) => {
          throw explainRefusal(thrown, group, wanted);
        }));
      return this.member(fd, path);
    } catch (thrown) {
      this.leave(path);
      throw thrown;
    }
  }

  get descriptor(): Fd {
    return this.container.fd;
  }

  protected get deviceCount(): number {
    let count = 0;
    for (const { devices } of this.members.values()) count += devices;
    return count;
  }

  protected startTracking(): DirtySource {
    const { type1, pageSize } = this;
    type1.startDirtyTracking();
    return {
      pageSize,
      exact: false,
      read: (range) => type1.readDirty(range),
      stop: () => type1.stopDirtyTracking(),
    };
  }

  /**
   * Closing the groups waits for whoever takes them out of the container, or does it: an unmapping after that meets an IOMMU that stays, or
   * none.
   */
  protected override parted(): boolean {
    if (!this.iommuSet) return true;
    this.closeGroups();
    return !this.hasIommu();
  }

  protected release(): void {
    this.closeGroups();
    this.container.close();
  }

  private closeGroups(): void {
    for (const { group } of this.members.values()) group?.close();
    this.members.clear();
  }

  /** Puts a group into the space, or counts one more device of a group that is in it. */
  private join(path: string, wanted: IommuGroup | undefined, passedOn: PassedOn | undefined): Group {
    const known = this.members.get(path);
    // Of a passed group the number is given again for each of its devices: it is ours already then.
    const fd = passedOn?.take('group');
    if (known?.group !== undefined) {
      known.devices++;
      return known.group;
    }
    const group = fd === undefined ? Group.open(this.system, path) : Group.adopt(this.system, fd);
    try {
      this.attach(group, wanted);
    } catch (thrown) {
      group.close();
      // The last group takes the IOMMU along.
      this.iommuSet = this.iommuSet && this.hasIommu();
      throw thrown;
    }
    this.members.set(path, { group, devices: 1 });
    this.dropIdle(path);
    return group;
  }

  /**
   * A group whose last device was unbound or unplugged is in no container any more, whoever keeps its file open (seen on 6.1), and with
   * the last group a container loses the IOMMU and every mapping ([CTR-15]). Then the space begins anew.
   * Throws `ERR_VFIO_MAPPING` while buffers are open: no device can reach them.
   */
  private dropLost(): void {
    if (this.deviceCount > 0) return;
    for (const [path, { group }] of this.members) {
      if (group === undefined || isInContainer(group)) continue;
      this.members.delete(path);
      group.close();
    }
    if (!this.iommuSet || this.hasIommu()) return;
    if (!this.isEmpty) throw mappingsLost();
    this.stopTracking();
    this.iommuSet = false;
    this.members.clear();
  }

  /** A group that was kept because it was the only one is not any more. */
  private dropIdle(but: string): void {
    for (const [path, { group, devices }] of this.members) {
      if (devices > 0 || path === but) continue;
      this.members.delete(path);
      group?.close();
    }
  }

  /**
   * One device of a group is closed. The last one of its group lets the group go, unless it is the only group: without a group the
   * kernel drops every mapping ([CTR-15]). The last one of all closes the space if a device opened it.
   */
  private leave(path: string): void {
    const member = this.members.get(path);
    if (member === undefined || member.devices === 0) return;
    member.devices--;
    if (member.devices === 0 && this.members.size > 1) {
      this.members.delete(path);
      member.group?.close();
    }
    this.left();
  }

  private attach(group: Group, wanted: IommuGroup | undefined): void {
    const { viable, containerSet, flags } = group.status();
    if (!viable) throw unusable(wanted, group.path, { request: 'VFIO_GROUP_GET_STATUS', answer: `flags ${flags}` });
    // Whoever opened our container may have put it in already. Else the kernel is asked, and says if it is in another one than ours.
    if (!containerSet || !this.adopted) this.setContainer(group, wanted);
    if (!this.iommuSet) this.container.setIommu(constants.VFIO_TYPE1v2_IOMMU);
    this.iommuSet = true;
    this.attached();
  }

  private setContainer(group: Group, wanted: IommuGroup | undefined): void {
    try {
      group.setContainer(this.container);
    } catch (thrown) {
      // Kernels since 5.19 may say here that a host driver owns the group ([GRP-17]).
      if (isVfioError(thrown) && thrown.errno === Errno.EPERM) {
        throw unusable(wanted, group.path, { request: 'VFIO_GROUP_SET_CONTAINER', errno: Errno.EPERM });
      }
      throw thrown;
    }
  }

  /** Whether whoever opened the container has chosen its IOMMU is told by its answering. */
  private adoptIommu(): void {
    try {
      this.attached();
      this.iommuSet = true;
      this.adopted = true;
    } catch (thrown) {
      if (!isVfioError(thrown) || thrown.errno === undefined) throw thrown;
    }
  }

  /** A device that another process opened from its group, in this container. */
  private adoptDevice(passedOn: PassedOn): OpenMember {
    if (!this.iommuSet) {
      throw new VfioError('ERR_VFIO_ARGUMENT', 'the device came without a container that has its group and an IOMMU.', {
        remedy: 'Pass the descriptor of the container that its group is in:  descriptors: { container, device }.',
      });
    }
    const fd = passedOn.take('device') as Fd;
    const path = `descriptor ${fd}`;
    this.members.set(path, { group: undefined, devices: 1 });
    this.dropIdle(path);
    return this.member(fd, path);
  }

  private member(fd: Fd, path: string): OpenMember {
    return { fd, closing: () => this.closing(), leave: () => this.leave(path) };
  }
}

/** Whether something is a {@link Type1Space}, of whichever copy of this package. */
export const isType1Space = (space: unknown): space is Type1Space =>
  typeof space === 'object' && space !== null && (space as Record<symbol, unknown>)[brand] === true;

/** False too for the file of a group that is gone. */
function isInContainer(group: Group): boolean {
  try {
    return group.status().containerSet;
  } catch {
    return false;
  }
}

function checkContainer(container: Container): void {
  const { path } = container;
  const version = container.apiVersion();
  if (version !== constants.VFIO_API_VERSION) {
    throw new VfioError('ERR_VFIO_API', `the kernel speaks version ${version} of VFIO; this package speaks 0.`, {
      syscall: 'ioctl',
      request: 'VFIO_GET_API_VERSION',
      path,
      details: { version },
    });
  }
  if (container.extension(constants.VFIO_TYPE1v2_IOMMU) === 0) {
    throw new VfioError('ERR_VFIO_API', 'the kernel offers no type1 IOMMU (version 2).', {
      remedy: 'Load its module:  modprobe vfio_iommu_type1',
      syscall: 'ioctl',
      request: 'VFIO_CHECK_EXTENSION',
      path,
      answer: '0',
    });
  }
}

/** GET_DEVICE_FD says EINVAL for a group that a host driver took meanwhile ([GRP-27]). */
function explainRefusal(thrown: unknown, group: Group, wanted: IommuGroup | undefined): unknown {
  if (!isVfioError(thrown) || thrown.errno !== Errno.EINVAL) return thrown;
  const { viable, flags } = group.status();
  return viable ? thrown : unusable(wanted, group.path, { request: 'VFIO_GROUP_GET_STATUS', answer: `flags ${flags}` });
}

function unusable(
  group: IommuGroup | undefined,
  path: string,
  facts: { request: string; answer?: string; errno?: number },
): VfioError {
  if (group !== undefined) return notViable(group, facts);
  const what = `the group of ${path} cannot be used: a host driver has a device of it.`;
  return new VfioError('ERR_VFIO_GROUP_NOT_VIABLE', what, { syscall: 'ioctl', path, ...facts });
}
