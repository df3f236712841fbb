/** Standard capabilities as vfio-pci shows them: the table of section 6.4. A capability that is not here is hidden. */

import type { Kernel } from '../version.js';
import { ALL8, ALL16, ALL32, Permissions } from './permissions.js';

/** What a rule may look at. */
export interface CapabilityFacts {
  readonly kernel: Kernel;
  /** The hardware's bytes, from the capability's start. */
  readonly view: DataView;
}

/** Permissions of one capability; undefined hides it. Every visible one gets a virtual next pointer besides. */
type Rule = (facts: CapabilityFacts) => Permissions | undefined;

const plain =
  (length: number): Rule =>
  () =>
    new Permissions(length);

export const standardRules: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [0x01, powerManagement],
  [0x02, plain(12)],
  [0x03, () => new Permissions(8).word(2, ALL16, ALL16).dword(4, ALL32, ALL32)],
  [0x05, messageSignalled],
  [0x07, pciX],
  [0x08, ({ view }) => new Permissions(view.getUint8(3) & 0xe0 ? 24 : 28)],
  [0x09, vendor],
  [0x10, express],
  [0x11, plain(12)],
  [0x12, ({ view }) => new Permissions((view.getUint8(4) & 15) === 15 ? 16 : 8)],
  [0x13, () => new Permissions(6).byte(4, 1, 1)],
]);

function powerManagement({ kernel }: CapabilityFacts): Permissions {
  const table = new Permissions(8);
  const pme = kernel.since('5.19');
  table.word(2, pme ? 0xf800 : 0, 0);
  // All but the power state go to the hardware; the state is the kernel's to change ([CFG-33], [CFG-34]).
  return table.dword(4, pme ? 0x8100 : 0, pme ? 0xffff_7efc : 0xffff_fffc);
}

function messageSignalled({ view }: CapabilityFacts): Permissions {
  const control = view.getUint16(2, true);
  const wide = (control & 0x80) !== 0;
  const maskable = (control & 0x100) !== 0;
  const table = new Permissions((wide ? 14 : 10) + (maskable ? 10 : 0));
  table.byte(2, ALL8, ALL8).dword(4, ALL32, ALL32);
  if (wide) table.dword(8, ALL32, ALL32);
  table.word(wide ? 12 : 8, ALL16, ALL16);
  if (maskable) table.dword(wide ? 16 : 12, 0, ALL32).dword(wide ? 20 : 16, 0, ALL32);
  return table;
}

function pciX({ view }: CapabilityFacts): Permissions {
  const version = (view.getUint16(2, true) >>> 12) & 3;
  return new Permissions(version === 0 ? 8 : 24).word(2, 0, ALL16).dword(4, 0, ALL32);
}

function vendor({ view }: CapabilityFacts): Permissions | undefined {
  const length = view.getUint8(2);
  return length < 2 ? undefined : Permissions.raw(length);
}

function express({ kernel, view }: CapabilityFacts): Permissions {
  const flags = view.getUint16(2, true);
  const rootComplex = ((flags >>> 4) & 15) === 9;
  const modern = kernel.since('4.13');
  const lengths: [number, number] = modern ? (rootComplex ? [12, 44] : [20, 52]) : [20, 44];
  const table = new Permissions(lengths[(flags & 15) === 1 ? 0 : 1]);
  // Device control: FLR is emulated, phantom functions are dropped; payload and read request sizes are virtual since 4.15 ([CFG-43]).
  table.word(8, kernel.since('4.15') ? 0xf0e0 : 0x8000, 0xfdff);
  if (table.length >= 44) table.word(0x28, 0, 0xffdf);
  return table;
}
