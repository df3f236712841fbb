/** `config` of a function in sysfs: its configuration space as the hardware has it. */

import { OpenFile } from '../fds.js';
import type { PciFunction } from '../pci/function.js';

export class ConfigFile extends OpenFile {
  constructor(
    readonly path: string,
    private readonly fn: PciFunction,
  ) {
    super();
  }

  override pread(into: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(into.length, this.fn.config.bytes.length - offset));
    for (let at = 0; at < length; at++) into[at] = this.fn.readConfig(offset + at, 1);
    return length;
  }

  /** Aligned pieces of 4, 2 and 1 byte. */
  override pwrite(from: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(from.length, this.fn.config.bytes.length - offset));
    for (let at = 0; at < length; ) {
      const width = ([4, 2, 1] as const).find((one) => one <= length - at && (offset + at) % one === 0) as 1 | 2 | 4;
      let value = 0;
      for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (from[at + byte] as number);
      this.fn.writeConfig(offset + at, width, value);
      at += width;
    }
    return length;
  }
}
