/** The Identify data structures: NVMe 1.4, section 5.15. */

import { eventRequestLimit } from './events.js';
import { temperatures } from './features.js';
import { errorLogEntries } from './logs.js';
import type { Namespace, Namespaces } from './namespaces.js';
import type { FullOptions } from './options.js';
import { entrySizes, version } from './registers.js';

export const identifyBytes = 4096;

/** Controller or Namespace Structure (CNS). */
export const Structure = { namespace: 0, controller: 1, activeNamespaces: 2, descriptors: 3 } as const;

/** Optional I/O commands (ONCS). */
const optionalCommands = { compare: 1 << 0, datasetManagement: 1 << 2, writeZeroes: 1 << 3 } as const;

/** The LBA formats that a namespace lists: log2 of the block size. */
const blockShifts = [9, 12];

const ascii = (text: string, length: number) => new TextEncoder().encode(text.padEnd(length));

/** Figure 247. */
export function identifyController(options: FullOptions): Uint8Array {
  const bytes = new Uint8Array(identifyBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, options.vendor, true);
  view.setUint16(2, 0x1af4, true); // SSVID
  bytes.set(ascii(options.serial, 20), 4);
  bytes.set(ascii(options.model, 40), 24);
  bytes.set(ascii(options.firmware, 8), 64);
  view.setUint8(72, 6); // RAB: 64 commands at a time
  bytes.set([0x00, 0x54, 0x52], 73); // IEEE OUI
  view.setUint8(77, options.mdts);
  view.setUint32(80, version, true);
  view.setUint8(111, 1); // CNTRLTYPE: an I/O controller
  view.setUint8(258, 3); // ACL: aborts at once, counted from 0
  view.setUint8(259, eventRequestLimit - 1); // AERL
  view.setUint8(260, (1 << 1) | 1); // FRMW: one slot, read-only
  view.setUint8(261, 1 << 2); // LPA: log pages can be read in parts
  view.setUint8(262, errorLogEntries - 1); // ELPE
  view.setUint16(266, temperatures.warning, true);
  view.setUint16(268, temperatures.critical, true);
  view.setUint8(512, (entrySizes.submission << 4) | entrySizes.submission);
  view.setUint8(513, (entrySizes.completion << 4) | entrySizes.completion);
  view.setUint32(516, options.namespaces, true); // NN
  const { compare, datasetManagement, writeZeroes } = optionalCommands;
  view.setUint16(520, compare | datasetManagement | writeZeroes, true); // ONCS
  view.setUint8(525, (options.writeCache ? 1 : 0) | (3 << 1)); // VWC; Flush of all namespaces at once is supported
  bytes.set(new TextEncoder().encode(`nqn.2014-08.org.nvmexpress:sim:${options.serial}`), 768); // SUBNQN
  view.setUint16(2048, 2500, true); // power state 0: 25 W
  view.setUint32(2052, 16, true); // microseconds to enter it
  view.setUint32(2056, 4, true); // and to leave it
  return bytes;
}

/** Figure 245. An inactive namespace is all zeroes. */
export function identifyNamespace(namespace: Namespace | undefined, serial: string): Uint8Array {
  const bytes = new Uint8Array(identifyBytes);
  if (namespace === undefined) return bytes;
  const view = new DataView(bytes.buffer);
  const blocks = BigInt(namespace.disk.blocks);
  view.setBigUint64(0, blocks, true); // NSZE
  view.setBigUint64(8, blocks, true); // NCAP
  view.setBigUint64(16, blocks, true); // NUSE
  view.setUint8(25, blockShifts.length - 1); // NLBAF, counted from 0
  view.setUint8(26, blockShifts.indexOf(namespace.blockShift)); // FLBAS
  view.setUint8(33, 1); // DLFEAT: deallocated blocks read as zeroes
  view.setUint8(99, namespace.disk.readOnly ? 1 : 0); // NSATTR
  bytes.set(identifier(serial, namespace.id, 8), 120); // EUI64
  blockShifts.forEach((shift, i) => {
    view.setUint32(128 + i * 4, shift << 16, true);
  });
  return bytes;
}

/** Active namespaces above `after`, in rising order. */
export function activeNamespaces(namespaces: Namespaces, after: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(identifyBytes));
  let at = 0;
  for (const { id } of namespaces) {
    if (id <= after || at === identifyBytes) continue;
    view.setUint32(at, id, true);
    at += 4;
  }
  return new Uint8Array(view.buffer);
}

/** Figure 246: EUI64 and UUID. */
export function namespaceDescriptors(namespace: Namespace, serial: string): Uint8Array {
  const bytes = new Uint8Array(identifyBytes);
  const uuid = identifier(serial, namespace.id, 16);
  uuid[6] = ((uuid[6] as number) & 0x0f) | 0x80; // version 8: made by a rule of one's own
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  bytes.set([3, 16, 0, 0, ...uuid, 1, 8, 0, 0, ...identifier(serial, namespace.id, 8)]);
  return bytes;
}

/** The same bytes for the same serial number and namespace, in every run: FNV-1a, continued. */
function identifier(serial: string, namespace: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${serial}/${namespace}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  for (let i = 0; i < length; i++) {
    hash = Math.imul(hash ^ i, 0x01000193);
    bytes[i] = hash >>> 24;
  }
  return bytes;
}
