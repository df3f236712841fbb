/** Extended capabilities as vfio-pci shows them: the table of section 6.5. A capability that is not here is hidden. */

import { Permissions } from './permissions.js';
import type { CapabilityFacts } from './standard.js';

type Rule = (facts: CapabilityFacts) => Permissions | undefined;

const plain =
  (length: number): Rule =>
  () =>
    new Permissions(length);

/** VC, VC9 and MFVC: 16 bytes, 12 more for each further channel ([CFG-48]). */
const virtualChannel: Rule = ({ view }) => new Permissions(16 + 12 * (1 + (view.getUint32(4, true) & 7)));

export const extendedRules: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [0x01, errorReporting],
  [0x02, virtualChannel],
  [0x03, plain(12)],
  [0x04, () => new Permissions(16).byte(8, 0, 0xff)],
  [0x08, virtualChannel],
  [0x09, virtualChannel],
  [0x0b, vendor],
  [
    0x0d,
    ({ view }) => new Permissions(8 + (view.getUint8(4) & 0x20 ? 4 * Math.ceil((view.getUint8(5) || 256) / 32) : 0)),
  ],
  [0x0e, plain(8)],
  [0x0f, plain(8)],
  [0x10, plain(64)],
  [0x12, plain(40)],
  [0x13, plain(16)],
  [0x15, ({ view }) => new Permissions(4 + 8 * ((view.getUint32(8, true) >>> 5) & 7))],
  [0x16, ({ view }) => new Permissions(16 + (view.getUint8(4) & 31) + 1)],
  [0x17, plain(12)],
  [0x18, plain(8)],
]);

function errorReporting(): Permissions {
  const uncorrectable = 0x03ff_f031;
  const correctable = 0x0000_f1c1;
  const table = new Permissions(0x2c);
  for (const offset of [4, 8, 12]) table.dword(offset, 0, uncorrectable);
  for (const offset of [16, 20]) table.dword(offset, 0, correctable);
  return table.dword(24, 0, 0x140);
}

function vendor({ view }: CapabilityFacts): Permissions | undefined {
  const length = view.getUint32(4, true) >>> 20;
  return length === 0 ? undefined : Permissions.raw(length);
}
