/** Reading, writing and mapping regions: sections 5.2 and 7 of the behaviours. */

import { type DeviceMapping, Protection } from 'vfio-core';
import { PAGE } from './address-space.js';
import { type Device, type DeviceFile, isMappable, regionOf } from './device.js';
import { EINVAL, EIO, ENOMEM } from './errno.js';
import { hasVga, readVga, VGA_SIZE, writeVga } from './vga.js';
import { ModelMapping } from './window.js';

const REGIONS = 9;
const ROM = 6;
const CONFIG = 7;
const VGA = 8;

/** Bytes of a region; 0 where it does not exist. */
export function regionSize(device: Device, index: number): number {
  if (index === CONFIG) return device.function.config.bytes.length;
  if (index === VGA) return hasVga(device) ? VGA_SIZE : 0;
  if (index === ROM) return device.function.bars.romSize;
  return device.function.bars.get(index)?.size ?? 0;
}

export function readRegion(device: Device, offset: number, into: Uint8Array): number {
  const index = regionOf(offset);
  const position = offset - index * 2 ** 40;
  if (index >= REGIONS) return -EINVAL;
  if (index === CONFIG) return device.config.read(position, into);
  if (index === ROM) return readRom(device, position, into);
  if (index === VGA) return readVga(device, position, into);
  const length = accessible(device, index, position, into.length);
  if (length < 0) return length;
  forEachPiece(device, index, position, length, (at, width) => {
    const value = width === undefined ? 0xff : device.function.bars.read(index, at, width);
    for (let byte = 0; byte < (width ?? 1); byte++) into[at - position + byte] = (value >>> (8 * byte)) & 0xff;
  });
  return length;
}

export function writeRegion(device: Device, offset: number, from: Uint8Array): number {
  const index = regionOf(offset);
  const position = offset - index * 2 ** 40;
  if (index >= REGIONS || index === ROM) return -EINVAL;
  if (index === CONFIG) return device.config.write(position, from);
  if (index === VGA) return writeVga(device, position, from);
  const length = accessible(device, index, position, from.length);
  if (length < 0) return length;
  forEachPiece(device, index, position, length, (at, width) => {
    if (width === undefined) return;
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (from[at - position + byte] as number);
    device.function.bars.write(index, at, width, value);
  });
  return length;
}

/** How many bytes may be accessed: cut at the region's end ([RW-2], [RW-3], [CFG-27]). */
function accessible(device: Device, index: number, position: number, length: number): number {
  const bar = device.function.bars.get(index);
  if (bar === undefined || position >= bar.size) return -EINVAL;
  if (bar.kind === 'memory' && !device.memoryEnabled) return -EIO;
  return Math.min(length, bar.size - position);
}

/** Naturally aligned pieces of 4, 2 and 1 byte; `undefined` for bytes of the MSI-X table, which are not touched ([RW-4], [RW-6]). */
function forEachPiece(
  device: Device,
  index: number,
  position: number,
  length: number,
  access: (at: number, width: 1 | 2 | 4 | undefined) => void,
): void {
  const { msix } = device.function.description;
  const tableStart = msix?.bar === index ? msix.table : Number.POSITIVE_INFINITY;
  const tableEnd = msix?.bar === index ? msix.table + 16 * msix.vectors : 0;
  const end = position + length;
  let at = position;
  while (at < end) {
    if (at >= tableStart && at < tableEnd) {
      access(at++, undefined);
      continue;
    }
    const left = (at < tableStart ? Math.min(end, tableStart) : end) - at;
    const width = left >= 4 && at % 4 === 0 ? 4 : left >= 2 && at % 2 === 0 ? 2 : 1;
    access(at, width);
    at += width;
  }
}

/** Bytes beyond the image up to the BAR's size read 0xFF ([RW-8]). */
function readRom(device: Device, position: number, into: Uint8Array): number {
  const { rom } = device.function.description;
  const size = device.function.bars.romSize;
  if (rom === undefined || position >= size) return -EINVAL;
  if (!device.function.present) return -ENOMEM;
  const length = Math.min(into.length, size - position);
  for (let index = 0; index < length; index++) into[index] = rom[position + index] ?? 0xff;
  return length;
}

export function mapRegion(
  file: DeviceFile,
  offset: number,
  length: number,
  protection: number,
): DeviceMapping | number {
  const { device } = file;
  const index = regionOf(offset);
  const position = offset - index * 2 ** 40;
  if (index >= ROM || !isMappable(device, index) || length <= 0 || position % PAGE !== 0) return -EINVAL;
  const bytes = Math.ceil(length / PAGE) * PAGE;
  const size = Math.ceil(regionSize(device, index) / PAGE) * PAGE;
  if (position + bytes > size) return -EINVAL;
  const { msix } = device.function.description;
  if (msix?.bar === index && !device.machine.kernel.since('4.16')) {
    if (position < msix.table + 16 * msix.vectors && position + bytes > msix.table) return -EINVAL;
  }
  return new ModelMapping(file, index, position, length, (protection & Protection.write) !== 0);
}
