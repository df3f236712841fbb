/** Which device addresses an IOMMU translates, and in which pages. */

import { PAGE } from './address-space.js';
import type { Machine } from './machine.js';

/** First and last address. */
export type AddressRange = readonly [bigint, bigint];

/** Intel's window for message-signalled interrupts: a write there is an interrupt ([T1-14]). */
export const MSI_WINDOW: AddressRange = [0xfee0_0000n, 0xfeef_ffffn];

/** Every size from 4 KiB up: what Intel's and AMD's drivers claimed ([T1-11]). */
const ALL_SIZES = 0xffff_ffff_ffff_f000n;
/** 4 KiB, 2 MiB, 1 GiB: what an Intel IOMMU with large pages has. */
const REAL_SIZES = 0x4020_1000n;

/** Page sizes as a container shows them: none below the processor's page ([T1-10]). */
export function pageSizes({ iommu, kernel }: Machine): bigint {
  const sizes = iommu?.pageSizes ?? (kernel.since('5.15') ? REAL_SIZES : ALL_SIZES);
  const page = BigInt(PAGE);
  return sizes % page === 0n ? sizes : (sizes & -page & ALL_SIZES) | page;
}

/** The smallest of some page sizes. */
export const smallest = (sizes: bigint): bigint => sizes & -sizes;

/** The smallest page of the IOMMU, which may be below the processor's. */
export const smallestHardwarePage = (machine: Machine): bigint =>
  smallest(machine.iommu?.pageSizes ?? pageSizes(machine));

/** First address that the IOMMU translates. */
export const bottomOf = ({ iommu }: Machine): bigint => iommu?.aperture?.[0] ?? 0n;

/** First address above all that the IOMMU translates. */
export const topOf = ({ iommu }: Machine): bigint =>
  iommu?.aperture === undefined ? 1n << BigInt(iommu?.addressBits ?? 48) : iommu.aperture[1] + 1n;

/** Ranges that these devices need for themselves. */
export const reservedFor = ({ iommu }: Machine, devices: readonly string[]): AddressRange[] =>
  devices.flatMap((address) => [...(iommu?.reserved?.[address] ?? [])]);

/** What is left for mappings of a container with these devices, in order. */
export function usableRanges(machine: Machine, devices: readonly string[]): AddressRange[] {
  const holes = [MSI_WINDOW, ...reservedFor(machine, devices)].sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const ranges: AddressRange[] = [];
  let from = bottomOf(machine);
  for (const [first, last] of holes) {
    if (first > topOf(machine) - 1n) break;
    if (first > from) ranges.push([from, first - 1n]);
    if (last >= from) from = last + 1n;
  }
  const top = topOf(machine);
  if (from < top) ranges.push([from, top - 1n]);
  return ranges;
}
