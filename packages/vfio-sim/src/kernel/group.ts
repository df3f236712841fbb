/** IOMMU groups and `/dev/vfio/N`, section 2 of the behaviours. */

import type { UserArgument } from './argument.js';
import { type Container, ContainerFile } from './container.js';
import type { Device } from './device.js';
import { EBADF, EBADFD, EBUSY, EFAULT, EINVAL, EMFILE, ENODEV, ENOTTY, EPERM } from './errno.js';
import { OpenFile } from './fds.js';
import { BoundDevice, type GroupOwner } from './iommufd/bound-device.js';
import { IommufdContext } from './iommufd/context.js';
import { makeCompatible, makeNoiommu } from './iommufd/vfio-compat.js';
import { type Machine, TASK } from './machine.js';
import { NoIommu } from './noiommu.js';
import type { DmaDomain, PciFunction } from './pci/function.js';
import type { Slot } from './pci/slot.js';
import { checkToken, tokenBehind } from './pci/vf-token.js';

const VIABLE = 1;
const CONTAINER_SET = 2;

export class Group {
  /** Every function of the IOMMU group, whatever its driver. */
  readonly members: Slot[] = [];
  container: Container | undefined;
  /** An iommufd in the place of a container ([IFD-30]). */
  iommufd: IommufdContext | undefined;
  /** The iommufd that has the DMA of this group. */
  owner: GroupOwner | undefined;
  /** Members that are open by their device files; the group cannot be opened then ([IFD-5]). */
  devicesBound = 0;
  /** The group file or a device of it is open ([GRP-2], [GRP-3]). */
  opened: GroupFile | undefined;
  /** Open devices. */
  readonly devices = new Map<PciFunction, Device>();

  constructor(
    readonly number: number,
    readonly noiommu: boolean,
    private readonly machine: Machine,
  ) {}

  /** Name of the node below /dev/vfio, and of the class device. */
  get node(): string {
    return this.noiommu ? `noiommu-${this.number}` : `${this.number}`;
  }

  /** A node exists while a member is bound to a vfio driver ([GRP-1]). */
  get exists(): boolean {
    return this.machine.build.VFIO_GROUP && this.members.some((member) => member.driver === 'vfio-pci');
  }

  /** A host driver claims the group's DMA ([GRP-8]); until 5.19 by the rules of [GRP-7]. */
  get claimed(): boolean {
    const modern = this.machine.kernel.since('5.19');
    return this.members.some((member) => member.claimsDma && (modern || !member.isBridge));
  }

  get viable(): boolean {
    const { container, iommufd, owner } = this;
    if (iommufd !== undefined || (container !== undefined && this.machine.kernel.since('5.19'))) return true;
    return !this.claimed && owner === undefined;
  }

  open(): OpenFile | number {
    if (!this.exists) return -ENODEV;
    if (this.noiommu && !this.machine.rights.sysRawio) return -EPERM;
    if (this.opened !== undefined || this.devicesBound > 0) return -EBUSY;
    this.opened = new GroupFile(this, this.machine);
    return this.opened;
  }

  setDomain(domain: DmaDomain | undefined): void {
    for (const { function: member } of this.members) member.domain = domain;
  }

  attach(container: Container): number {
    const status = container.attach(this);
    if (status === 0) this.container = container;
    return status;
  }

  /** An iommufd as container: it claims nothing yet ([IFD-35]). */
  attachIommufd(context: IommufdContext): number {
    const status = this.noiommu ? makeNoiommu(context) : makeCompatible(context);
    if (status < 0) return status;
    context.hold();
    this.iommufd = context;
    if (this.noiommu) this.setDomain(new NoIommu(this.machine));
    return 0;
  }

  /**
   * Its last device left vfio-pci: whoever has the group open keeps a file of nothing, and its container is without it (seen on 6.1).
   * Earlier kernels kept the group as long as its file.
   */
  driverLeft(): void {
    if (!this.exists && this.machine.kernel.since('6.1')) this.opened?.revoke();
  }

  detach(): void {
    this.container?.detach(this);
    this.container = undefined;
    if (this.noiommu && this.iommufd !== undefined) this.setDomain(undefined);
    this.iommufd?.release();
    this.iommufd = undefined;
  }
}

export class GroupFile extends OpenFile {
  private revoked = false;
  /** The iommufd that the group was in when it went: that stays with the file. */
  private kept: IommufdContext | undefined;

  constructor(
    readonly group: Group,
    private readonly machine: Machine,
  ) {
    super();
  }

  get path(): string {
    return `/dev/vfio/${this.group.node}`;
  }

  override ioctl(request: number, argument: UserArgument): number {
    if (this.revoked) return this.answerOfNothing(request, argument);
    switch (request) {
      case 0x3b67:
        return this.status(argument);
      case 0x3b68:
        return this.setContainer(argument);
      case 0x3b69:
        return this.unsetContainer();
      case 0x3b6a:
        return this.deviceFd(argument);
      default:
        return -ENOTTY;
    }
  }

  /** The group is gone; the file stays. */
  revoke(): void {
    this.revoked = true;
    this.kept = this.group.iommufd;
    this.kept?.hold();
    this.group.detach();
    this.group.opened = undefined;
  }

  protected override released(): void {
    if (!this.revoked) this.revoke();
    this.letGo();
  }

  private letGo(): number {
    if (this.kept === undefined) return -EINVAL;
    this.kept.release();
    this.kept = undefined;
    return 0;
  }

  private answerOfNothing(request: number, argument: UserArgument): number {
    switch (request) {
      case 0x3b67: {
        const view = argument.view(8);
        if (view === undefined) return -EFAULT;
        return view.getUint32(0, true) < 8 ? -EINVAL : -ENODEV;
      }
      case 0x3b68: {
        const view = argument.view(4);
        if (view === undefined) return -EFAULT;
        return this.machine.fds.get(view.getInt32(0, true)) === undefined ? -EBADF : -ENODEV;
      }
      case 0x3b69:
        return this.letGo();
      case 0x3b6a:
        return argument.bytes === undefined ? -EFAULT : -ENODEV;
      default:
        return -ENOTTY;
    }
  }

  private status(argument: UserArgument): number {
    const view = argument.view(8);
    if (view === undefined) return -EFAULT;
    if (view.getUint32(0, true) < 8) return -EINVAL;
    const { group } = this;
    if (this.machine.kernel.since('5.19') && group.members.length === 0) return -ENODEV;
    view.setUint32(4, (group.viable ? VIABLE : 0) | (group.container || group.iommufd ? CONTAINER_SET : 0), true);
    return 0;
  }

  private setContainer(argument: UserArgument): number {
    const view = argument.view(4);
    if (view === undefined) return -EFAULT;
    const fd = view.getInt32(0, true);
    const { group, machine } = this;
    const file = machine.fds.get(fd);
    const modern = machine.kernel.since('6.0');
    if (!modern && fd < 0) return -EINVAL;
    if (modern && file === undefined) return -EBADF;
    if (group.container !== undefined || group.iommufd !== undefined) return -EINVAL;
    const refused = group.noiommu && !machine.rights.sysRawio;
    if (!modern && refused) return -EPERM;
    if (file === undefined) return -EBADF;
    if (file instanceof IommufdContext) return group.attachIommufd(file);
    if (!(file instanceof ContainerFile)) return machine.kernel.since('6.2') ? -EBADFD : -EINVAL;
    if (refused) return -EPERM;
    if (machine.kernel.since('5.19') && !group.noiommu && group.claimed) return -EPERM;
    return group.attach(file.container);
  }

  private unsetContainer(): number {
    const { group } = this;
    if (group.container === undefined && group.iommufd === undefined) return -EINVAL;
    if (group.container !== undefined && group.devices.size > 0) return -EBUSY;
    group.detach();
    return 0;
  }

  private deviceFd(argument: UserArgument): number {
    const { group, machine } = this;
    const { bytes } = argument;
    if (bytes === undefined) return -EFAULT;
    const end = bytes.indexOf(0);
    if ((end < 0 ? bytes.length : end) >= 4096) return -EINVAL;
    const name = new TextDecoder().decode(bytes.subarray(0, end < 0 ? bytes.length : end));
    const slot = this.find(name);
    const ready = group.iommufd !== undefined || (group.container?.model !== undefined && group.viable);
    const nameFirst = machine.kernel.since('6.0');
    if (nameFirst && typeof slot === 'number') return slot;
    if (!ready) return -EINVAL;
    if (group.noiommu && !machine.rights.sysRawio) return -EPERM;
    if (typeof slot === 'number') return slot;
    if (machine.fds.full && machine.kernel.since('5.19')) return -EMFILE;
    const file = group.iommufd === undefined ? slot.openDevice(this) : this.openBound(slot, group.iommufd);
    if (typeof file === 'number') return file;
    if (group.noiommu) {
      machine.log.add(
        `vfio-pci ${slot.address}: vfio-noiommu device opened by user (${TASK.replace('[', ':').replace(']', '')})`,
      );
    }
    return machine.fds.add(file);
  }

  /** Opens a device by way of an iommufd; the first opening binds and attaches it. */
  private openBound(slot: Slot, context: IommufdContext): OpenFile | number {
    if (slot.device !== undefined || this.group.noiommu) {
      if (slot.device === undefined && context.compatible !== undefined) return -EPERM;
      return slot.openDevice(this);
    }
    const bound = BoundDevice.claim(context, this.machine, slot);
    if (typeof bound === 'number') return bound;
    const attached = context.compatible === undefined ? -ENODEV : bound.attach(context.compatible.id);
    const file = attached < 0 ? attached : slot.openDevice(this, () => bound.unbind());
    if (typeof file === 'number') bound.unbind();
    return file;
  }

  /** The member of this name, or a negative errno ([GRP-26], [GRP-32]). */
  private find(name: string): Slot | number {
    const slot = this.group.members.find(({ address }) => name === address || name.startsWith(`${address} `));
    if (slot === undefined || !slot.offersVfio) return -ENODEV;
    if (!this.machine.kernel.since('5.7')) return name === slot.address ? slot : -ENODEV;
    const token = tokenBehind(name.slice(slot.address.length));
    if (typeof token === 'number') return token;
    const refused = checkToken(slot, token, this.machine.log);
    return refused < 0 ? refused : slot;
  }
}
