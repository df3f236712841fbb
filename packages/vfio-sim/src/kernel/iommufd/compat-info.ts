/** IOMMU_GET_INFO of an iommufd in the place of a container ([IFD-34]). */

import { PAGE } from '../address-space.js';
import { type UserArgument, viewOf } from '../argument.js';
import { EFAULT, EINVAL, ENODEV } from '../errno.js';
import { pageSizes } from '../iommu-reach.js';
import type { IommufdContext } from './context.js';

const HEADER = 24;
const PGSIZES = 1;
const CAPS = 2;
const DMA_AVAIL = 3;
const IOVA_RANGE = 1;

export function getInfo({ compatible, machine }: IommufdContext, argument: UserArgument): number {
  const view = argument.view(16);
  if (view === undefined) return -EFAULT;
  const size = view.getUint32(0, true);
  if (size < 16) return -EINVAL;
  if (compatible === undefined) return -ENODEV;
  const { table } = compatible;
  const ranges = table.usable.flatMap(({ start, last }) => [start, last]);
  const available = capability(DMA_AVAIL, 12);
  available.setUint32(8, 0xffff_ffff, true);
  const places = capability(IOVA_RANGE, 16 + 8 * ranges.length);
  places.setUint32(8, ranges.length / 2, true);
  for (const [index, value] of ranges.entries()) places.setBigUint64(16 + 8 * index, value, true);
  const total = HEADER + available.byteLength + places.byteLength;
  available.setUint32(4, HEADER + available.byteLength, true);
  const bytes = argument.bytes as Uint8Array;
  let at = HEADER;
  for (const { buffer, byteLength } of [available, places]) {
    if (Math.min(size, bytes.length) >= at + byteLength) bytes.set(new Uint8Array(buffer), at);
    at += byteLength;
  }
  // What is needed is told in any case.
  view.setUint32(0, total, true);
  view.setUint32(4, PGSIZES | CAPS, true);
  view.setBigUint64(8, table.hasDomains ? pageSizes(machine) : BigInt.asUintN(64, -BigInt(PAGE)), true);
  if (size >= 20 && bytes.length >= 20) view.setUint32(16, size >= total ? HEADER : 0, true);
  return 0;
}

/** A capability of version 1, without its body; whole words of 64 bits. */
function capability(id: number, length: number): DataView {
  const view = viewOf(new Uint8Array(Math.ceil(length / 8) * 8));
  view.setUint16(0, id, true);
  view.setUint16(2, 1, true);
  return view;
}
