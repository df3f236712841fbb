/** Resets of a whole bus: GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET, [RST-4] to [RST-15]. */

import type { UserArgument } from './argument.js';
import type { Device } from './device.js';
import { EAGAIN, EBADF, EFAULT, EINVAL, ENODEV, ENOSPC, EPERM } from './errno.js';
import { type Group, GroupFile } from './group.js';
import type { IommufdContext } from './iommufd/context.js';
import { resetAndRestore, setPower } from './pci/saved-state.js';
import type { Slot } from './pci/slot.js';

const HEADER = 12;
const ENTRY = 8;
/** Flags of the info from a device that was opened by its own file. Source: linux/vfio.h. */
const DEV_ID = 1;
const OWNED = 2;
const NOT_OWNED = -1;

/** All functions that such a reset of a function resets, by address; undefined where there is none. */
function affected({ slot }: Device): Slot[] | undefined {
  if (!slot.behindBridge) return undefined;
  return [slot, ...slot.neighbours()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

export function hotResetInfo(device: Device, argument: UserArgument): number {
  const view = argument.view(HEADER);
  if (view === undefined) return -EFAULT;
  const size = view.getUint32(0, true);
  if (size < HEADER) return -EINVAL;
  const slots = affected(device);
  if (slots === undefined) return -ENODEV;
  view.setUint32(4, 0, true);
  if (size < HEADER + slots.length * ENTRY) {
    view.setUint32(8, slots.length, true);
    return -ENOSPC;
  }
  const { bound, openedByFile } = device.slot;
  const context = openedByFile ? bound?.context : undefined;
  if (context === undefined && slots.some(({ group }) => group === undefined)) return -EPERM;
  const all = argument.view(HEADER + slots.length * ENTRY);
  if (all === undefined) return -EFAULT;
  view.setUint32(8, slots.length, true);
  const ids = slots.map((slot) => (context === undefined ? (slot.group as Group).number : deviceId(slot, context)));
  if (context !== undefined) view.setUint32(4, DEV_ID | (ids.includes(NOT_OWNED) ? 0 : OWNED), true);
  for (const [index, { address }] of slots.entries()) {
    const [segment = 0, bus = 0, slot = 0, fn = 0] = address.split(/[:.]/).map((part) => Number.parseInt(part, 16));
    const at = HEADER + index * ENTRY;
    all.setInt32(at, ids[index] as number, true);
    all.setUint16(at + 4, segment, true);
    all.setUint8(at + 6, bus);
    all.setUint8(at + 7, slot * 8 + fn);
  }
  return 0;
}

/** Number of a device in the iommufd that asks; 0 where that has its group all the same, -1 where it has not ([RST-14]). */
function deviceId({ driver, group, bound }: Slot, context: IommufdContext): number {
  if (driver !== 'vfio-pci') return NOT_OWNED;
  if (bound?.context === context) return bound.id;
  return group?.owner?.context === context ? 0 : NOT_OWNED;
}

export function hotReset(device: Device, argument: UserArgument): number {
  const view = argument.view(HEADER);
  if (view === undefined) return -EFAULT;
  if (view.getUint32(0, true) < HEADER || view.getUint32(4, true) !== 0) return -EINVAL;
  const count = view.getUint32(8, true);
  const { bound, openedByFile } = device.slot;
  if (openedByFile && count > 0) return -EINVAL; // [RST-13]
  const slots = affected(device);
  if (slots === undefined) return -ENODEV;
  if (openedByFile) return resetOwned(slots, bound?.context);
  if (count === 0 || count > slots.length) return -EINVAL;
  const fds = argument.view(HEADER + 4 * count);
  if (fds === undefined) return -EFAULT;
  const groups = new Set<Group>();
  for (let index = 0; index < count; index++) {
    const group = groupOf(device, fds.getInt32(HEADER + 4 * index, true));
    if (typeof group === 'number') return group;
    groups.add(group);
  }
  const refused = refusal(device, slots, groups);
  if (refused !== 0) return refused;
  for (const slot of slots) reset(slot);
  return 0;
}

/** The reset that a device opened by its file asks for: its iommufd must have all of them ([RST-13]). */
function resetOwned(slots: readonly Slot[], context: IommufdContext | undefined): number {
  if (slots.some(({ driver, group }) => driver !== 'vfio-pci' || group?.owner?.context !== context)) return -EINVAL;
  if (slots.some(({ locked }) => locked)) return -EAGAIN;
  for (const slot of slots) reset(slot);
  return 0;
}

/** The group behind a descriptor, or a negative errno ([RST-9], [RST-12]). */
function groupOf({ machine }: Device, fd: number): Group | number {
  const file = machine.fds.get(fd);
  if (file === undefined) return -EBADF;
  if (!(file instanceof GroupFile)) return -EINVAL;
  const { group } = file;
  if (machine.kernel.since('6.0')) return group;
  if (group.container === undefined) return -EINVAL;
  if (group.noiommu) return -EPERM;
  return group.container.model === undefined || !group.viable ? -EINVAL : group;
}

/** Why these groups do not do: 0 or a negative errno ([RST-10], [RST-11]). */
function refusal({ machine }: Device, slots: readonly Slot[], groups: ReadonlySet<Group>): number {
  const allOnVfio = machine.kernel.since('5.15');
  for (const { driver, group } of slots) {
    if (allOnVfio && driver !== 'vfio-pci') return -EINVAL;
    if (group === undefined) return -EPERM;
    if (!groups.has(group)) return -EINVAL;
  }
  return slots.some(({ locked }) => locked) ? -EAGAIN : 0;
}

function reset(slot: Slot): void {
  slot.needsReset = false;
  if (slot.device !== undefined) {
    slot.device.reset();
    return;
  }
  setPower(slot.function, 0);
  resetAndRestore(slot.function);
  if (slot.driver === 'vfio-pci') slot.idle();
}
