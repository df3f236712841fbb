/** /dev/vga_arbiter: who decodes the legacy VGA addresses ([LIFE-17]). */

import type { Bus } from '../bus.js';
import { EINVAL, ENODEV } from '../errno.js';
import { OpenFile } from '../fds.js';
import type { Slot } from '../pci/slot.js';
import { isVga } from '../vga.js';

/** vfio-pci declares that it does not use the legacy addresses, where nobody else below the same bridge needs them routed. */
function decodes(slot: Slot): string {
  const apart = slot.behindBridge && !slot.neighbours().some(isVga);
  return slot.driver === 'vfio-pci' && slot.vfioPci().disable_vga && apart ? 'none' : 'io+mem';
}

export class VgaArbiterFile extends OpenFile {
  readonly path = '/dev/vga_arbiter';
  private target: string | undefined;

  constructor(private readonly bus: Bus) {
    super();
  }

  override pread(into: Uint8Array): number {
    const all = [...this.bus.slots.values()].filter(isVga);
    const slot = all.find(({ address }) => address === this.target) ?? all[0];
    const line =
      slot === undefined
        ? 'invalid'
        : `count:${all.length},PCI:${slot.address},decodes=${decodes(slot)},owns=none,locks=none(0:0)\n`;
    const bytes = new TextEncoder().encode(line).subarray(0, into.length);
    into.set(bytes);
    return bytes.length;
  }

  /** `target PCI:dddd:bb:dd.f` is the only command here. */
  override pwrite(from: Uint8Array): number {
    const match = /^target PCI:(\S+)/.exec(new TextDecoder().decode(from));
    if (match === null) return -EINVAL;
    const slot = this.bus.slots.get(match[1] as string);
    if (slot === undefined || !isVga(slot)) return -ENODEV;
    this.target = slot.address;
    return from.length;
  }
}
