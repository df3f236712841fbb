/** An address space of an iommufd, and the devices that are attached to it by their own files. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { groupNumberOf, type IommuGroup } from '../container/find-group.js';
import { notViable } from '../container/refusals.js';
import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import { DeviceFile } from '../iommufd/device-file.js';
import { Ioas } from '../iommufd/ioas.js';
import { Iommufd } from '../iommufd/iommufd.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';
import type { Backing } from './backing.js';
import type { DirtySource } from './dirty-tracker.js';
import type { AddressRange, DmaBuffer, MapOptions, Way } from './dma.js';
import { HwptTracking } from './hwpt-tracking.js';
import { IovaSpace } from './iova-space.js';
import type { MapRequest } from './mapper.js';
import type { MemberRequest, OpenMember } from './member.js';

const brand: unique symbol = Symbol.for('vfio-core.IommufdSpace') as never;

export interface IommufdSpaceOptions {
  readonly way: Way;
  readonly closesItself: boolean;
  /** An iommufd that another process opened. */
  readonly iommufd?: Fd | undefined;
}

/**
 * An address space of an iommufd. `openDevice(address)` makes one for its device where the kernel has a file for it, and closes it after
 * its last device; one made by {@link IommufdSpace.open} takes several devices (`openDevice(address, { space })`) and closes when its
 * maker says so.
 *
 * Memory stays mapped while no device is in it, and is pinned, and charged, while there is one ([IFD-26]). The limit on locked memory is
 * the user's, of which only this space's share can be read: `headroom()` says `counts: 'own'`.
 */
export class IommufdSpace extends IovaSpace {
  readonly iommufd: Iommufd;
  readonly ioas: Ioas;
  /** The spaces of the iommufd that are open. */
  private readonly family: Set<IommufdSpace>;
  /** Of devices that are open in it, or being opened. */
  private readonly files = new Set<DeviceFile>();
  /** Those of them whose devices reach what is mapped. */
  private readonly reaching = new Set<DeviceFile>();
  private tracking: HwptTracking | undefined;

  private constructor(
    iommufd: Iommufd,
    ioas: Ioas,
    { way, closesItself }: IommufdSpaceOptions,
    family = new Set<IommufdSpace>(),
  ) {
    const counts = iommufd.accounting === 'process' ? 'process' : 'own';
    super({ mapper: ioas, way, closesItself, counts });
    this.iommufd = iommufd;
    this.ioas = ioas;
    this.family = family.add(this);
    Object.defineProperty(this, brand, { value: true });
  }

  /**
   * A space for several devices. It maps nothing before its first device was opened.
   * Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`.
   */
  static open(options: BackendOption = {}): IommufdSpace {
    const way = { name: 'iommufd', reason: 'it was asked for' } as const;
    return IommufdSpace.make(options.backend ?? defaultBackend(), { way, closesItself: false });
  }

  /** @internal */
  static make(system: SystemCalls, options: IommufdSpaceOptions): IommufdSpace {
    const { iommufd: fd } = options;
    const iommufd = fd === undefined ? Iommufd.open(system) : Iommufd.adopt(system, fd);
    try {
      return new IommufdSpace(iommufd, Ioas.allocate(iommufd), options);
    } catch (thrown) {
      iommufd.close();
      throw thrown;
    }
  }

  /**
   * Opens a device in the space: binds it and attaches it.
   * Throws `ERR_VFIO_NOT_SUPPORTED` (no file for it), `ERR_VFIO_BUSY`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_GROUP_NOT_VIABLE`,
   * `ERR_VFIO_UNSAFE_INTERRUPTS`, `ERR_VFIO_MAPPING` (memory of the space lies where the device cannot reach), ...; then nothing of
   * it is left open.
   */
  async openMember({ address, group, passedOn, vfToken }: MemberRequest): Promise<OpenMember> {
    this.checkOpen();
    const { system } = this;
    const device = passedOn?.take('device');
    const file = device === undefined ? DeviceFile.open(system, address) : DeviceFile.adopt(system, address, device);
    // It counts from here on, so that the space does not close under it.
    this.files.add(file);
    try {
      // Whoever opened it may have bound it as well.
      const before = device !== undefined && file.bound;
      if (!before) await this.bind(file, group, vfToken);
      else if (!this.isOurs(file)) throw boundElsewhere(file);
      if (this.tracking === undefined) file.attach(this.ioas);
      else this.tracking.add(file);
      this.reaching.add(file);
      this.attached();
      return {
        fd: file.release(),
        closing: () => {
          this.closing();
          file.close();
        },
        leave: () => this.leave(file),
      };
    } catch (thrown) {
      file.close();
      this.leave(file);
      throw thrown;
    }
  }

  /**
   * Makes sure that these device addresses stay usable, whatever devices come later: one that cannot reach all of them is refused.
   * Replaces the list of before. Throws `ERR_VFIO_BUSY` where a device that is there cannot.
   */
  allow(ranges: readonly AddressRange[]): void {
    this.checkOpen();
    this.ioas.allow(ranges);
  }

  /**
   * Another space in the same iommufd, for other devices. Memory of one can be copied into the other, and members of one IOMMU group
   * can be in either, if all are in the same. It closes when the program says so.
   */
  sibling(): IommufdSpace {
    this.checkOpen();
    const way = { name: 'iommufd', reason: 'it shares the iommufd of another space' } as const;
    return new IommufdSpace(this.iommufd, Ioas.allocate(this.iommufd), { way, closesItself: false }, this.family);
  }

  /**
   * Lets the devices of this space reach a buffer of a {@link sibling}, at an address of this space; its pages are not pinned, and not
   * charged, again ([IFD-29]). Closes before that buffer does.
   * Throws `ERR_VFIO_ARGUMENT` for a buffer that no space of the iommufd has, `ERR_VFIO_MAPPING` for writing to one that is for reading.
   */
  copy(buffer: DmaBuffer, options: MapOptions = {}): DmaBuffer {
    this.checkOpen();
    for (const space of this.family) {
      const mapping = space.mappingOf(buffer);
      if (mapping === undefined) continue;
      const size = mapping.end - mapping.start;
      const backing: Backing = {
        bytes: buffer.bytes,
        address: 0n,
        size,
        file: undefined,
        kind: 'copy',
        mayBeLent: false,
        beforeItGoes: (step) => space.beforeItGoes(buffer, step),
        release: () => {},
      };
      const put = ({ iova, read, write }: MapRequest) =>
        void this.ioas.copy({ from: space.ioas, source: BigInt(mapping.start), size, iova, read, write });
      return this.place(backing, options, put, buffer.length);
    }
    throw new VfioError('ERR_VFIO_ARGUMENT', 'no space of this iommufd has that buffer.', {
      remedy: 'Pass an open buffer of a space that sibling() made, or of the one that made it.',
    });
  }

  get descriptor(): Fd {
    return this.iommufd.fd;
  }

  protected get deviceCount(): number {
    return this.files.size;
  }

  protected startTracking(): DirtySource {
    const tracking = new HwptTracking(this.ioas, [...this.reaching], this.pageSize, () => {
      this.tracking = undefined;
    });
    this.tracking = tracking;
    return tracking;
  }

  protected release(): void {
    try {
      this.ioas.destroy();
    } catch {
      // Somebody else's device is attached to it, by way of a descriptor that was passed on: it ends with the iommufd.
    }
    this.family.delete(this);
    if (this.family.size === 0) this.iommufd.close();
  }

  private leave(file: DeviceFile): void {
    if (!this.files.delete(file)) return;
    file.close();
    // Without it the others may reach more. After the last one the answer would be "everything", which the next cannot hold.
    if (this.reaching.delete(file) && this.reaching.size > 0 && !this.closed) this.attached();
    this.left();
  }

  /**
   * Whether a device that somebody else bound is in our iommufd. Objects are numbered in each iommufd alike: one of another would be
   * attached to whatever has the number there. Of an empty address space of ours the kernel says whether it has a device ([IFD-23]).
   */
  private isOurs(file: DeviceFile): boolean {
    // A member of a group cannot be attached apart from the others, and they are all bound to one iommufd ([IFD-8]).
    if (this.hasSibling(file)) return true;
    const empty = Ioas.allocate(this.iommufd);
    try {
      file.attach(empty);
      const ours = empty.ranges().alignment > 1n;
      file.detach();
      return ours;
    } catch (thrown) {
      // The other iommufd may have no address space of that number.
      if (isVfioError(thrown) && thrown.errno === Errno.ENOENT) return false;
      throw thrown;
    } finally {
      empty.destroy();
    }
  }

  private hasSibling({ address }: DeviceFile): boolean {
    if (this.reaching.size === 0) return false;
    const group = groupNumberOf(this.system, address);
    if (group === undefined) return false;
    return [...this.reaching].some((other) => groupNumberOf(this.system, other.address) === group);
  }

  private async bind(file: DeviceFile, group: IommuGroup | undefined, vfToken: string | undefined): Promise<void> {
    try {
      await file.bind(this.iommufd, { vfToken });
    } catch (thrown) {
      throw explainBind(thrown, group);
    }
  }
}

/** Whether something is an {@link IommufdSpace}, of whichever copy of this package. */
export const isIommufdSpace = (space: unknown): space is IommufdSpace =>
  typeof space === 'object' && space !== null && (space as Record<symbol, unknown>)[brand] === true;

const boundElsewhere = ({ address, path }: DeviceFile): VfioError =>
  new VfioError('ERR_VFIO_ARGUMENT', `${address} is bound to another iommufd than that of this space.`, {
    remedy: 'Pass on the iommufd that it is bound to as well:  descriptors: { iommufd, device }.',
    path,
  });

/** BIND says EPERM and EBUSY for several things; sysfs tells them apart ([IFD-5], [IFD-8]). */
function explainBind(thrown: unknown, group: IommuGroup | undefined): unknown {
  if (!isVfioError(thrown) || group === undefined) return thrown;
  const { errno, request = 'VFIO_DEVICE_BIND_IOMMUFD', path } = thrown;
  if (errno !== Errno.EBUSY && errno !== Errno.EPERM) return thrown;
  if (group.members.some(({ blocksGroup }) => blocksGroup)) return notViable(group, { request, errno });
  const facts = { errno, syscall: 'ioctl', request, details: thrown.details, ...(path === undefined ? {} : { path }) };
  if (errno === Errno.EBUSY) {
    return new VfioError('ERR_VFIO_BUSY', `${thrown.summary.replace(/\.$/, '')} (${group.path}).`, {
      ...facts,
      remedy: `End the program that has ${group.path} open, or pass its descriptors on.`,
    });
  }
  const others = group.members.filter(({ isBridge }) => !isBridge).length > 1;
  if (others) {
    return new VfioError(
      'ERR_VFIO_BUSY',
      `IOMMU group ${group.id} is in another address space of another iommufd, or the IOMMU does not isolate interrupts.`,
      {
        ...facts,
        remedy: 'Open all devices of the group with one space; or enable interrupt remapping in the firmware.',
      },
    );
  }
  return new VfioError('ERR_VFIO_UNSAFE_INTERRUPTS', 'the IOMMU does not isolate interrupts.', {
    ...facts,
    remedy:
      'Enable interrupt remapping in the firmware, or accept the risk:  echo Y > /sys/module/iommufd/parameters/allow_unsafe_interrupts',
  });
}
