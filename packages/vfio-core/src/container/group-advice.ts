/** What to do with each member of an IOMMU group, so that the group can be used. Reads nothing: all of it is in the group. */

import type { GroupMember, IommuGroup } from './find-group.js';

/** A member of a group, and what is to be done with it. */
export interface AdvisedMember extends GroupMember {
  /**
   * `bind`: hand it to vfio-pci, because its driver keeps the group from being used. `unbind`: take its driver away; it is no PCI
   * device, so vfio-pci cannot have it. `leave`: it is in order as it is.
   */
  readonly todo: 'bind' | 'unbind' | 'leave';
  /** The same in words. */
  readonly advice: string;
}

const pciAddress = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** What to do with each member of a group, in the group's order. */
export const adviseOn = ({ members }: IommuGroup): AdvisedMember[] =>
  members.map((member) => ({ ...member, ...adviceFor(member) }));

function adviceFor({ address, driver, isBridge, blocksGroup }: GroupMember): Pick<AdvisedMember, 'todo' | 'advice'> {
  if (isBridge) return { todo: 'leave', advice: 'a bridge is harmless: leave it as it is' };
  if (blocksGroup) {
    return pciAddress.test(address)
      ? { todo: 'bind', advice: 'bind it to vfio-pci' }
      : { todo: 'unbind', advice: 'take its driver away: it is no PCI device' };
  }
  if (driver === undefined) return { todo: 'leave', advice: 'nobody uses it: leave it as it is' };
  if (driver === 'pci-stub' || driver === 'pcieport')
    return { todo: 'leave', advice: `${driver} uses no DMA: leave it as it is` };
  return { todo: 'leave', advice: 'ready' };
}

/** One line for a member: `0000:01:00.1 (USB controller, xhci_hcd): bind it to vfio-pci`. */
export const lineOf = ({ address, className, driver, advice }: AdvisedMember): string =>
  `${address} (${className}, ${driver ?? 'no driver'}): ${advice}`;

/**
 * Why these devices are in one group, and what would part them; undefined for a group of one endpoint. Groups are what the hardware
 * cannot keep apart: where a bridge or a device with several functions has no ACS (Access Control Services), traffic between those
 * below it passes the IOMMU by. Source: PCI Express Base Specification, section 6.12.
 */
export function whatParts({ members }: IommuGroup): string | undefined {
  const endpoints = members.filter(({ isBridge }) => !isBridge);
  if (endpoints.length < 2) return undefined;
  const slots = new Set(endpoints.map(({ address }) => address.slice(0, address.lastIndexOf('.'))));
  return slots.size === 1
    ? 'They are functions of one device without ACS between them, and go to one program together'
    : 'One that must stay with the host leaves the group only in another slot, below a port that has ACS';
}
