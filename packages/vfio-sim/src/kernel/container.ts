/** Containers: `/dev/vfio/vfio`, section 1 of the behaviours. */

import type { UserArgument } from './argument.js';
import { EINVAL, ENODEV, ENOTTY, EPERM } from './errno.js';
import { OpenFile } from './fds.js';
import type { Group } from './group.js';
import type { Machine } from './machine.js';
import { NoIommu } from './noiommu.js';
import { Extension, Type1 } from './type1.js';

/** What type1 answers without a container, if its module is there ([CTR-20]). */
const type1 = (machine: Machine, number: number): number =>
  machine.type1Loaded ? Type1.extension(machine, number, false) : 0;

/** A container; it lives as long as its file or a group in it. */
export class Container {
  readonly groups = new Set<Group>();
  model: Type1 | NoIommu | undefined;

  constructor(private readonly machine: Machine) {}

  get noiommu(): boolean {
    return [...this.groups].some((group) => group.noiommu);
  }

  ioctl(request: number, argument: UserArgument): number {
    if (request === 0x3b64) return 0;
    if (request === 0x3b65) return this.extension(argument.value);
    if (request === 0x3b66) return this.setModel(argument.value);
    if (this.model === undefined) return -EINVAL;
    return this.model instanceof Type1 ? this.model.ioctl(request, argument) : -ENOTTY;
  }

  /** Takes a group in: 0 or a negative errno ([GRP-18], [GRP-19]). */
  attach(group: Group): number {
    if (this.groups.size > 0 && this.noiommu !== group.noiommu) return -EPERM;
    if (this.model instanceof Type1) {
      const status = this.model.attach(group);
      if (status < 0) return status;
    }
    this.groups.add(group);
    if (this.model !== undefined) group.setDomain(this.model);
    return 0;
  }

  /** Lets a group go; the last one takes the model along ([CTR-15]). */
  detach(group: Group): void {
    group.setDomain(undefined);
    this.groups.delete(group);
    if (this.model instanceof Type1) this.model.detach(group);
    if (this.groups.size === 0) this.model = undefined;
  }

  private extension(number: number): number {
    const { machine, model } = this;
    if (model instanceof Type1) return Type1.extension(machine, number, true);
    if (model instanceof NoIommu) return NoIommu.extension(machine, number);
    const empty = this.groups.size === 0;
    const answers: number[] = [];
    if (empty || !this.noiommu) answers.push(type1(machine, number));
    if (empty || this.noiommu) answers.push(NoIommu.extension(machine, number));
    return Math.max(0, ...answers);
  }

  private setModel(type: number): number {
    const { machine } = this;
    if (this.groups.size === 0 || this.model !== undefined) return -EINVAL;
    const noiommu = this.noiommu;
    const supported = noiommu ? NoIommu.extension(machine, type) : type1(machine, type);
    if (supported === 0) return -ENODEV;
    if (noiommu) {
      if (!machine.rights.sysRawio) return -EPERM;
      this.model = new NoIommu(machine);
    } else {
      if (type === Extension.UNMAP_ALL) return -EINVAL;
      const model = new Type1(machine, type);
      for (const group of this.groups) {
        const status = model.attach(group);
        if (status < 0) return status;
      }
      this.model = model;
    }
    for (const group of this.groups) group.setDomain(this.model);
    return 0;
  }
}

/** A descriptor of a container. */
export class ContainerFile extends OpenFile {
  readonly path = '/dev/vfio/vfio';
  readonly container: Container;

  constructor(machine: Machine) {
    super();
    this.container = new Container(machine);
  }

  override ioctl(request: number, argument: UserArgument): number {
    return this.container.ioctl(request, argument);
  }
}
