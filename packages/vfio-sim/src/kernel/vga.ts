/** The VGA region: the legacy addresses of a display controller, [DEV-18] and [RW-10] of the behaviours. */

import type { Device } from './device.js';
import { EINVAL } from './errno.js';
import type { Slot } from './pci/slot.js';

/** Bytes of the region: up to the end of the legacy memory. */
export const VGA_SIZE = 0xc0000;

/** First and last address of each legacy range: memory, and two of ports. */
const ranges = [
  [0xa0000, 0xbffff],
  [0x3b0, 0x3bb],
  [0x3c0, 0x3df],
] as const;

export const isVga = (slot: Slot): boolean => slot.classCode >>> 8 === 0x0300;

/** Whether this device has the region. */
export const hasVga = ({ slot, machine }: Device): boolean =>
  isVga(slot) && machine.build.VFIO_PCI_VGA && !slot.vfioPci().disable_vga;

/** How many bytes from `position` on may be accessed: cut at the end of their range, or a negative errno. */
function accessible(device: Device, position: number, length: number): number {
  const range = ranges.find(([first, last]) => first <= position && position <= last);
  return range === undefined || !hasVga(device) ? -EINVAL : Math.min(length, range[1] + 1 - position);
}

export function readVga(device: Device, position: number, into: Uint8Array): number {
  const length = accessible(device, position, into.length);
  const { model, present } = device.function;
  for (const [at, width] of pieces(position, length)) {
    const value = (present ? model?.vga?.read(at, width) : undefined) ?? 0xffff_ffff;
    for (let byte = 0; byte < width; byte++) into[at - position + byte] = (value >>> (8 * byte)) & 0xff;
  }
  return length;
}

export function writeVga(device: Device, position: number, from: Uint8Array): number {
  const length = accessible(device, position, from.length);
  const { model, present } = device.function;
  for (const [at, width] of pieces(position, length)) {
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (from[at - position + byte] as number);
    if (present) model?.vga?.write(at, width, value);
  }
  return length;
}

/** Naturally aligned pieces of 4, 2 and 1 byte. */
function* pieces(position: number, length: number): Generator<readonly [at: number, width: 1 | 2 | 4]> {
  for (let at = position; at < position + length; ) {
    const left = position + length - at;
    const width = left >= 4 && at % 4 === 0 ? 4 : left >= 2 && at % 2 === 0 ? 2 : 1;
    yield [at, width];
    at += width;
  }
}
