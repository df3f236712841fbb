/** Words for the class codes that messages meet. Source: PCI Code and ID Assignment Specification, section 1. */

const names: Readonly<Record<number, string>> = {
  0: 'Unclassified device',
  1: 'Mass storage controller',
  256: 'SCSI storage controller',
  257: 'IDE interface',
  260: 'RAID bus controller',
  262: 'SATA controller',
  263: 'Serial Attached SCSI controller',
  264: 'Non-Volatile memory controller',
  2: 'Network controller',
  512: 'Ethernet controller',
  519: 'Infiniband controller',
  640: 'Network controller',
  3: 'Display controller',
  768: 'VGA compatible controller',
  770: '3D controller',
  4: 'Multimedia controller',
  1024: 'Multimedia video controller',
  1025: 'Multimedia audio controller',
  1027: 'Audio device',
  5: 'Memory controller',
  1280: 'RAM memory',
  6: 'Bridge',
  1536: 'Host bridge',
  1537: 'ISA bridge',
  1540: 'PCI bridge',
  1543: 'CardBus bridge',
  1545: 'Semi-transparent PCI-to-PCI bridge',
  7: 'Communication controller',
  1792: 'Serial controller',
  8: 'Generic system peripheral',
  2054: 'IOMMU',
  9: 'Input device controller',
  10: 'Docking station',
  11: 'Processor',
  12: 'Serial bus controller',
  3075: 'USB controller',
  3077: 'SMBus',
  13: 'Wireless controller',
  3456: 'Wireless controller',
  14: 'Intelligent controller',
  15: 'Satellite communications controller',
  16: 'Encryption controller',
  17: 'Signal processing controller',
  18: 'Processing accelerators',
  19: 'Non-Essential Instrumentation',
  255: 'Unassigned class',
};

/**
 * A class code in words: `Audio device` for 0x040300.
 * @param classCode 24 bits: base class, subclass, programming interface
 */
export function pciClassName(classCode: number): string {
  const base = classCode >>> 16;
  return names[classCode >>> 8] ?? names[base] ?? `Class ${(classCode >>> 8).toString(16).padStart(4, '0')}`;
}

/**
 * Whether a class has a header of another type than 0: a bridge to a bus behind it. Such a member neither blocks its group
 * nor can be bound to vfio-pci ([GRP-7], [LIFE-13]). Host and ISA bridges are endpoints by this measure.
 */
export const isBridgeClass = (classCode: number): boolean => [0x0604, 0x0607, 0x0609].includes(classCode >>> 8);
