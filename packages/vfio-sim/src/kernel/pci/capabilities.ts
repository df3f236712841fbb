/** Finding capabilities in configuration space. Pointers are masked and lists bounded, so that a malformed list ends ([CFG-61]). */

/** Standard capability ids. Source: linux/pci_regs.h. */
export const CapabilityId = {
  PM: 0x01,
  AGP: 0x02,
  VPD: 0x03,
  MSI: 0x05,
  PCIX: 0x07,
  HT: 0x08,
  VENDOR: 0x09,
  EXP: 0x10,
  MSIX: 0x11,
  SATA: 0x12,
  AF: 0x13,
} as const;

export interface CapabilityPlace {
  readonly id: number;
  readonly offset: number;
  /** Where the byte that points here stands. */
  readonly link: number;
}

/** Standard capabilities in the order of their chain. */
export function standardCapabilities(config: Uint8Array): CapabilityPlace[] {
  const found: CapabilityPlace[] = [];
  if (((config[0x06] as number) & 0x10) === 0) return found;
  const seen = new Set<number>();
  let link = 0x34;
  let offset = (config[link] as number) & 0xfc;
  while (offset >= 0x40 && !seen.has(offset)) {
    seen.add(offset);
    found.push({ id: config[offset] as number, offset, link });
    link = offset + 1;
    offset = (config[link] as number) & 0xfc;
  }
  return found;
}

/** Extended capabilities in the order of their chain; `link` is the header of the one before. */
export function extendedCapabilities(config: Uint8Array): (CapabilityPlace & { readonly version: number })[] {
  const found: (CapabilityPlace & { version: number })[] = [];
  if (config.length <= 0x100) return found;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const seen = new Set<number>();
  let link = 0;
  let offset = 0x100;
  while (offset >= 0x100 && offset < config.length && !seen.has(offset)) {
    const header = view.getUint32(offset, true);
    if (header === 0 || header === 0xffff_ffff) break;
    seen.add(offset);
    found.push({ id: header & 0xffff, version: (header >>> 16) & 15, offset, link });
    link = offset;
    offset = (header >>> 20) & 0xffc;
  }
  return found;
}
