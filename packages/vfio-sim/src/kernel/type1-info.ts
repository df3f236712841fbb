/** IOMMU_GET_INFO of type1, section 4.2 of the behaviours. */

import { addCapabilities, type UserArgument } from './argument.js';
import { EFAULT, EINVAL } from './errno.js';
import { type AddressRange, pageSizes, smallest } from './iommu-reach.js';
import type { Machine } from './machine.js';

/** Largest bitmap of IOMMU_DIRTY_PAGES, bytes: one of 2^31 pages. */
export const MAX_BITMAP = 0x1000_0000;

/** What a container tells of itself. */
export interface Type1Facts {
  readonly ranges: readonly AddressRange[];
  /** How many more mappings it takes. */
  readonly available: number;
}

export function getInfo(machine: Machine, argument: UserArgument, { ranges, available }: Type1Facts): number {
  const view = argument.view(16);
  if (view === undefined) return -EFAULT;
  const size = view.getUint32(0, true);
  if (size < 16) return -EINVAL;
  const { kernel } = machine;
  const sizes = pageSizes(machine);
  view.setUint32(4, 1, true);
  view.setBigUint64(8, sizes, true);
  if (!kernel.since('5.4')) return 0;
  if (size >= 20 && argument.view(20)) view.setUint32(16, 0, true);
  const chain: { id: number; version: number; body: Uint8Array }[] = [];
  if (kernel.since('5.8')) chain.push({ id: 2, version: 1, body: longs(0n, smallest(sizes), BigInt(MAX_BITMAP)) });
  if (kernel.since('5.10')) chain.push({ id: 3, version: 1, body: longs(BigInt(available)).subarray(0, 4) });
  chain.push({ id: 1, version: 1, body: longs(BigInt(ranges.length), ...ranges.flat()) });
  addCapabilities(argument, { size: 24, offsetField: 16, flag: 2 }, chain, kernel.since('6.6') ? 8 : 1);
  return 0;
}

function longs(...values: bigint[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(8 * index, value, true);
  return bytes;
}
