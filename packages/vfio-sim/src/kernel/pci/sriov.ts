/** Virtual functions: `sriov_numvfs` of sysfs. */

import { endpoint } from '../../model/endpoint.js';
import type { Bus } from '../bus.js';
import { EBUSY, ENOENT, ERANGE } from '../errno.js';
import type { Slot } from './slot.js';

export const virtualFunctionsOf = (bus: Bus, slot: Slot): Slot[] =>
  [...bus.slots.values()].filter(({ physical }) => physical === slot);

/** Makes so many, or takes all away for 0: 0 or a negative errno ([LIFE-20]). */
export function makeVirtualFunctions(bus: Bus, slot: Slot, count: number): number {
  const present = virtualFunctionsOf(bus, slot);
  if (!(count >= 0 && count <= slot.virtualFunctions)) return -ERANGE;
  if (count === present.length) return 0;
  if (slot.driver === undefined || (slot.driver === 'vfio-pci' && !slot.mayMakeVirtualFunctions)) return -ENOENT;
  if (count > 0 && present.length > 0) return -EBUSY;
  for (const virtual of present) bus.unplug(virtual);
  const { view } = slot.function.config;
  for (let number = 1; number <= count; number++) {
    const description = endpoint({ vendor: 0xffff, device: 0xffff, class: slot.classCode, pin: 0 });
    description.config.set([view.getUint8(0), view.getUint8(1), view.getUint8(2), view.getUint8(3)]);
    const virtual = bus.add(`${slot.address.slice(0, -1)}${number}`, description, slot.nativeDriver);
    virtual.physical = slot;
    if (slot.driver === 'vfio-pci') virtual.override = 'vfio-pci';
    bus.probeAny(virtual);
  }
  return 0;
}
