/** What Linux saves of a function's configuration space before a reset, and writes back after. */

import type { PciFunction } from './function.js';

/**
 * Writes back what was saved, into a function that was reset: the header, the control words of PCI Express, the extended
 * capabilities, and the interrupts that were on. The rest keeps its value after reset.
 */
export function restoreState(fn: PciFunction, saved: Uint8Array): void {
  const { config } = fn;
  const keep = (at: number, length: number) => config.bytes.set(saved.subarray(at, at + length), at);
  keep(0, 6);
  keep(8, 0x38);
  if (config.express) {
    keep(config.express + 8, 2);
    keep(config.express + 16, 2);
    keep(config.express + 40, 2);
  }
  if (saved.length > 0x100) keep(0x100, saved.length - 0x100);
  if (config.msi && (saved[config.msi + 2] as number) & 1) {
    const control = config.view.getUint16(config.msi + 2, true);
    keep(config.msi + 2, 8 + (control & 0x80 ? 4 : 0) + (control & 0x100 ? 10 : 0));
  }
  if (config.msix) keep(config.msix + 2, 2);
  fn.model?.configWritten?.(0, config.bytes.length, config.bytes);
}

/** Resets a function to its power-on values, and brings back what Linux saves. */
export function resetAndRestore(fn: PciFunction, saved: Uint8Array = fn.config.bytes.slice()): void {
  fn.powerOn();
  restoreState(fn, saved);
}

/** D0 (0) or D3hot (3); nothing for a function without power management. A function that loses its state on the way back gets it again. */
export function setPower(fn: PciFunction, state: 0 | 3): void {
  const { pm, bytes } = fn.config;
  if (pm === 0 || fn.powerState === state) return;
  const saved = bytes.slice();
  const control = fn.readConfig(pm + 4, 2);
  fn.writeConfig(pm + 4, 2, (control & ~0x8003) | state);
  if (state === 0) restoreState(fn, saved);
}
