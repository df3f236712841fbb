/** A device that is bound to an iommufd, and what the members of an IOMMU group share of it. */

import { EINVAL, ENOENT, EPERM } from '../errno.js';
import type { Group } from '../group.js';
import { MSI_WINDOW, reservedFor } from '../iommu-reach.js';
import type { Machine } from '../machine.js';
import { NoIommu } from '../noiommu.js';
import type { Slot } from '../pci/slot.js';
import type { IommufdContext } from './context.js';
import { IommufdObject } from './objects.js';
import { Hwpt, type Ioas } from './page-tables.js';

/** Who has the DMA of a group, while one of its devices is bound. All members translate alike. */
export class GroupOwner {
  bound = 0;
  hwpt: Hwpt | undefined;
  readonly attached = new Set<BoundDevice>();

  constructor(readonly context: IommufdContext) {}
}

export class BoundDevice extends IommufdObject {
  readonly kind = 'device';

  private constructor(
    readonly context: IommufdContext,
    private readonly machine: Machine,
    private readonly slot: Slot,
    private readonly group: Group,
    private readonly owner: GroupOwner,
  ) {
    super();
    // Whoever bound it needs it.
    this.users = 1;
    slot.bound = this;
  }

  /** It has no IOMMU ([NOI-31]). */
  get isPhysical(): boolean {
    return this.group.noiommu;
  }

  /** Takes the DMA of the device's group: the object, or a negative errno ([IFD-8]). */
  static claim(context: IommufdContext, machine: Machine, slot: Slot): BoundDevice | number {
    const { group, address } = slot;
    const { iommu, parameters, log } = machine;
    if (group === undefined) return -EINVAL;
    const physical = group.noiommu;
    if (!physical && !iommu?.coherent) return -EINVAL;
    if (!physical && !iommu?.interruptRemapping) {
      if (!parameters.iommufd.allow_unsafe_interrupts) return -EPERM;
      log.add(
        `vfio-pci ${address}: MSI interrupts are not secure, they cannot be isolated by the platform. Check that platform features like interrupt remapping are enabled. Use the "allow_unsafe_interrupts" module parameter to override`,
      );
    }
    if (group.claimed || group.container !== undefined) return -EPERM;
    const owner = group.owner ?? new GroupOwner(context);
    if (owner.context !== context) return -EPERM;
    group.owner = owner;
    owner.bound++;
    context.hold();
    if (physical) group.setDomain(new NoIommu(machine));
    const device = new BoundDevice(context, machine, slot, group, owner);
    context.objects.add(device);
    return device;
  }

  /** Whoever bound it closes it. */
  unbind(): void {
    this.detach();
    this.users = 0;
    this.slot.bound = undefined;
    this.context.objects.remove(this.id);
    if (--this.owner.bound === 0) {
      this.group.owner = undefined;
      this.group.setDomain(undefined);
    }
    this.context.release();
  }

  /** ATTACH to an IOAS or a HWPT: the number of the HWPT in use, or a negative errno ([IFD-10]). */
  attach(id: number): number {
    const object = this.context.objects.get(id);
    if (object === undefined) return -ENOENT;
    if (object.kind === 'hwpt') return this.change(object as Hwpt);
    return object.kind === 'ioas' ? this.attachTo(object as Ioas) : -EINVAL;
  }

  /** From now on the group's DMA is blocked, once no member is attached ([IFD-12]). */
  detach(): void {
    const { owner } = this;
    if (!owner.attached.delete(this)) return;
    const hwpt = owner.hwpt as Hwpt;
    hwpt.ioas.table.unreserve(this);
    if (owner.attached.size === 0) {
      owner.hwpt = undefined;
      this.translate(undefined);
    }
    this.leave(hwpt);
  }

  private attachTo(ioas: Ioas): number {
    for (const hwpt of ioas.hwpts) {
      if (!hwpt.automatic) continue;
      const status = this.change(hwpt);
      if (status !== -EINVAL) return status;
    }
    const hwpt = new Hwpt(ioas, { automatic: true, physical: this.group.noiommu });
    this.context.objects.add(hwpt);
    const started = hwpt.start();
    const status = started < 0 ? started : this.change(hwpt);
    if (status < 0) this.context.objects.remove(hwpt.id);
    return status;
  }

  private change(hwpt: Hwpt): number {
    const status = this.owner.attached.has(this) ? this.replace(hwpt) : this.join(hwpt);
    return status < 0 ? status : hwpt.id;
  }

  /** The first attachment of this device; all members of the group have the same. */
  private join(hwpt: Hwpt): number {
    const { owner } = this;
    if (owner.hwpt !== undefined && owner.hwpt !== hwpt) return -EINVAL;
    const status = this.reserveIn(hwpt.ioas);
    if (status < 0) return status;
    owner.attached.add(this);
    owner.hwpt = hwpt;
    hwpt.users++;
    this.translate(hwpt);
    return 0;
  }

  /** Another one instead, for the whole group and without a gap ([IFD-11]). */
  private replace(hwpt: Hwpt): number {
    const { owner } = this;
    const before = owner.hwpt as Hwpt;
    if (before === hwpt) return 0;
    if (before.ioas !== hwpt.ioas) {
      for (const device of owner.attached) {
        const status = device.reserveIn(hwpt.ioas);
        if (status === 0) continue;
        for (const one of owner.attached) hwpt.ioas.table.unreserve(one);
        return status;
      }
      for (const device of owner.attached) before.ioas.table.unreserve(device);
    }
    owner.hwpt = hwpt;
    hwpt.users += owner.attached.size;
    this.translate(hwpt);
    before.users -= owner.attached.size - 1;
    this.leave(before);
    return 0;
  }

  private leave(hwpt: Hwpt): void {
    hwpt.users--;
    if (hwpt.automatic && hwpt.users === 0) this.context.objects.remove(hwpt.id);
  }

  /** Without an IOMMU the device has physical addresses, and those of the table are keys ([NOI-31]). */
  private translate(hwpt: Hwpt | undefined): void {
    if (!this.group.noiommu) this.group.setDomain(hwpt);
  }

  private reserveIn({ table }: Ioas): number {
    if (this.group.noiommu) return 0;
    for (const [start, last] of [MSI_WINDOW, ...reservedFor(this.machine, [this.slot.address])]) {
      const status = table.reserve({ start, last }, this);
      if (status === 0) continue;
      table.unreserve(this);
      return status;
    }
    return 0;
  }
}
