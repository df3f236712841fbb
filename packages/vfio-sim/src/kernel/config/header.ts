/** The standard header, bytes 0x00 to 0x3F: section 6.2 of the behaviours. */

import type { Device } from '../device.js';
import { Command } from '../pci/hardware-config.js';
import { ALL8, ALL16, ALL32, Permissions } from './permissions.js';

export const headerPermissions = (): Permissions => {
  const table = new Permissions(0x40);
  table.word(0x00, ALL16, 0).word(0x02, ALL16, 0);
  table.word(0x04, Command.disableIntx, ALL16);
  table.word(0x06, 0x0010, 0);
  table.byte(0x0c, 0, ALL8).byte(0x0d, 0, ALL8).byte(0x0f, 0, ALL8);
  for (let offset = 0x10; offset < 0x28; offset += 4) table.dword(offset, ALL32, ALL32);
  table.dword(0x30, ALL32, ALL32);
  table.byte(0x34, ALL8, 0);
  table.byte(0x3c, ALL8, ALL8).byte(0x3d, ALL8, 0);
  return table;
};

/** Brings virtual BARs to what sizing expects: address bits above the size, and type bits ([CFG-19] to [CFG-23]). */
export function fixBars(device: Device, shadow: DataView): void {
  const { bars } = device.function;
  for (let index = 0; index < 6; index++) {
    const at = 0x10 + 4 * index;
    const bar = bars.get(index);
    if (bar === undefined) {
      if (bars.get(index - 1)?.is64) continue;
      shadow.setUint32(at, 0, true);
      continue;
    }
    const mask = ~(BigInt(bar.size) - 1n);
    const type = bar.kind === 'io' ? 1 : (bar.prefetchable ? 8 : 0) | (bar.is64 ? 4 : 0);
    shadow.setUint32(at, ((shadow.getUint32(at, true) & Number(mask & 0xffff_ffffn)) | type) >>> 0, true);
    if (bar.is64) {
      const upper = Number((mask >> 32n) & 0xffff_ffffn);
      shadow.setUint32(at + 4, (shadow.getUint32(at + 4, true) & upper) >>> 0, true);
    }
  }
  const rom = bars.romSize;
  const kept = rom === 0 ? 0 : (~(rom - 1) | 1) >>> 0;
  shadow.setUint32(0x30, (shadow.getUint32(0x30, true) & kept) >>> 0, true);
}

/** What happens around a write to COMMAND ([CFG-15]). */
export function commandBefore(device: Device, shadowCommand: number, offset: number, value: number): void {
  if (offset !== 4) return;
  const { config, bars } = device.function;
  const lost = (bit: number) => (value & bit) !== 0 && (shadowCommand & bit) !== 0 && (config.command & bit) === 0;
  if (lost(Command.memory) || lost(Command.io)) {
    device.machine.log.add(`vfio-pci ${device.function.address}: vfio_bar_restore: reset recovery - restoring BARs`);
    bars.restore();
  }
}
