/** The commands of hardware page tables, and what the hardware is ([IFD-37], [IFD-38], [IFD-40]). */

import { PAGE } from '../address-space.js';
import { EFAULT, EINVAL, ENOENT, EOPNOTSUPP, EOVERFLOW } from '../errno.js';
import { smallestHardwarePage } from '../iommu-reach.js';
import type { IommufdContext } from './context.js';
import { Hwpt, type Ioas } from './page-tables.js';
import { TOP } from './spans.js';
import { readUser, writeUser } from './user-memory.js';

const NEST_PARENT = 1;
const DIRTY_TRACKING = 2;
const NO_CLEAR = 1;
/** `struct iommu_hw_info_vtd`. */
const VTD_BYTES = 16;
const VTD = 1;

export function allocateHwpt(context: IommufdContext, view: DataView): number {
  const { machine } = context;
  const flags = view.getUint32(4, true);
  if (view.getUint32(20, true) !== 0) return -EOPNOTSUPP;
  const data = view.getUint32(24, true) !== 0;
  if (data !== (view.getUint32(28, true) !== 0)) return -EINVAL;
  if (context.find('device', view.getUint32(8, true)) === undefined) return -ENOENT;
  const parent = context.objects.get(view.getUint32(12, true));
  if (parent?.kind === 'hwpt') return data ? -EINVAL : -EOPNOTSUPP;
  if (parent?.kind !== 'ioas') return -EINVAL;
  const tracksDirty = (flags & DIRTY_TRACKING) !== 0;
  if (data || (flags & ~(NEST_PARENT | DIRTY_TRACKING)) !== 0) return -EOPNOTSUPP;
  if ((flags & NEST_PARENT) !== 0 && !machine.iommu?.nesting) return -EOPNOTSUPP;
  if (tracksDirty && !machine.iommu?.dirtyTracking) return -EOPNOTSUPP;
  const hwpt = new Hwpt(parent as Ioas, { tracksDirty });
  context.objects.add(hwpt);
  const status = hwpt.start();
  if (status < 0) context.objects.remove(hwpt.id);
  else view.setUint32(16, hwpt.id, true);
  return status;
}

/** GET_HW_INFO: an Intel IOMMU, of which no register is told. Capability bit 0 is dirty tracking. */
export function hardwareInfo(context: IommufdContext, view: DataView): number {
  if (view.getUint32(4, true) !== 0 || view.getUint32(28, true) >>> 8 !== 0) return -EOPNOTSUPP;
  const device = context.find('device', view.getUint32(8, true));
  if (device === undefined) return -ENOENT;
  if (device.isPhysical) return -EOPNOTSUPP;
  const { memory, iommu } = context.machine;
  const zeros = new Uint8Array(view.getUint32(12, true));
  if (zeros.length > 0 && !writeUser(memory.space, view.getBigUint64(16, true), zeros)) return -EFAULT;
  view.setUint32(12, VTD_BYTES, true);
  view.setUint32(24, VTD, true);
  view.setUint32(28, 0, true);
  view.setBigUint64(32, iommu?.dirtyTracking ? 1n : 0n, true);
  return 0;
}

export function setDirtyTracking(context: IommufdContext, view: DataView): number {
  const flags = view.getUint32(4, true);
  if ((flags & ~1) !== 0) return -EOPNOTSUPP;
  const hwpt = context.find('hwpt', view.getUint32(8, true));
  if (hwpt === undefined) return -ENOENT;
  if (!hwpt.tracksDirty) return -EOPNOTSUPP;
  hwpt.tracking = flags === 1;
  hwpt.dirty.clear();
  return 0;
}

export function getDirtyBitmap(context: IommufdContext, view: DataView): number {
  const flags = view.getUint32(8, true);
  if ((flags & ~NO_CLEAR) !== 0 || view.getUint32(12, true) !== 0) return -EOPNOTSUPP;
  const hwpt = context.find('hwpt', view.getUint32(4, true));
  if (hwpt === undefined) return -ENOENT;
  const [iova, length, pageSize, data] = [16, 24, 32, 40].map((at) => view.getBigUint64(at, true)) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  if (length === 0n) return -EINVAL;
  const end = iova + length;
  if (end - 1n > TOP) return -EOVERFLOW;
  if (pageSize === 0n) return -EINVAL;
  const unit = smallestHardwarePage(context.machine);
  for (const size of [unit, pageSize]) if (((iova | end) & (size - 1n)) !== 0n) return -EINVAL;
  if (!hwpt.tracksDirty) return -EOPNOTSUPP;
  return report(context, hwpt, { iova, end, pageSize, data }, (flags & NO_CLEAR) === 0);
}

/** Sets the bits of written pages in the process's bitmap; it clears none there. */
function report(
  { machine: { memory } }: IommufdContext,
  { dirty }: Hwpt,
  range: { iova: bigint; end: bigint; pageSize: bigint; data: bigint },
  clear: boolean,
): number {
  for (const page of [...dirty]) {
    const address = BigInt(page) * BigInt(PAGE);
    if (address < range.iova || address >= range.end) continue;
    const bit = (address - range.iova) / range.pageSize;
    const at = range.data + bit / 8n;
    const [byte] = readUser(memory.space, at, 1) ?? [];
    if (byte === undefined) return -EFAULT;
    if (!writeUser(memory.space, at, Uint8Array.of(byte | (1 << Number(bit % 8n))))) return -EFAULT;
    if (clear) dirty.delete(page);
  }
  return 0;
}

/** Only page tables of a guest have something to invalidate, and here there are none. */
export function invalidate(_context: IommufdContext, view: DataView): number {
  if (view.getUint32(28, true) !== 0) return -EOPNOTSUPP;
  const entries = view.getUint32(24, true);
  const missing = view.getBigUint64(8, true) === 0n || view.getUint32(20, true) === 0;
  return entries > 0 && missing ? -EINVAL : -ENOENT;
}
