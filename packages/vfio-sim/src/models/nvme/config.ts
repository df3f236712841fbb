/** The controller's configuration space: NVMe 1.4, section 2. */

import type { FunctionDescription } from '../../model/contract.js';
import type { FullOptions } from './options.js';
import { layout } from './registers.js';

/** Where the capabilities stand. */
const at = { msix: 0x40, powerManagement: 0x60, express: 0x80, msi: 0xc0 } as const;

/** A PCI Express endpoint of class 01 08 02 with one 64-bit BAR. */
export function nvmeFunction(options: FullOptions): FunctionDescription {
  const config = new Uint8Array(4096);
  const view = new DataView(config.buffer);
  const { table, pending, size } = layout(options.queues, options.doorbellStride, options.vectors);
  view.setUint16(0x00, options.vendor, true);
  view.setUint16(0x02, options.device, true);
  view.setUint16(0x06, 1 << 4, true); // there is a list of capabilities
  view.setUint32(0x08, 0x0108_0202, true); // class, revision 2
  view.setUint32(0x10, 0x4, true); // BAR 0: memory, 64 bits
  view.setUint16(0x2c, 0x1af4, true);
  view.setUint16(0x2e, 0x1100, true);
  config[0x3d] = options.pin;

  let last = 0x34;
  const capability = (offset: number, id: number) => {
    config[last] = offset;
    config[offset] = id;
    last = offset + 1;
  };
  capability(at.powerManagement, 0x01);
  view.setUint16(at.powerManagement + 2, 3, true); // version 1.2
  view.setUint16(at.powerManagement + 4, 1 << 3, true); // no soft reset
  capability(at.express, 0x10);
  view.setUint16(at.express + 2, 2, true); // version 2, endpoint
  view.setUint32(at.express + 4, (1 << 28) | (1 << 15), true); // function level reset, role-based errors
  view.setUint32(at.express + 12, 0x11, true); // link: one lane of 2.5 GT/s
  view.setUint16(at.express + 18, 0x11, true);
  if (options.messages > 0) {
    capability(at.msi, 0x05);
    view.setUint16(at.msi + 2, (1 << 7) | (Math.log2(options.messages) << 1), true); // 64-bit addresses
  }
  if (options.vectors > 0) {
    capability(at.msix, 0x11);
    view.setUint16(at.msix + 2, options.vectors - 1, true);
    view.setUint32(at.msix + 4, table, true);
    view.setUint32(at.msix + 8, pending, true);
  }
  return {
    config,
    bars: [{ kind: 'memory', size, is64: true }],
    ...(options.vectors > 0 ? { msix: { bar: 0, table, pending, vectors: options.vectors } } : {}),
    ...(options.messages > 0 ? { msi: { vectors: options.messages } } : {}),
    pin: options.pin,
  };
}
