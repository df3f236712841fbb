import { describe, expect, it } from 'vitest';
import type { RegisterDescription, RegisterTable, RepeatDescription } from '../registers/index.js';
import {
  AER,
  AF,
  capabilityName,
  capabilityTable,
  DSN,
  extendedCapabilityName,
  MSI_32,
  MSI_32_MASKABLE,
  MSI_64,
  MSI_64_MASKABLE,
  MSIX,
  MSIX_ENTRY,
  PCIE,
  PCIE_V1,
  PCIE_V1_NO_LINK,
  PM,
  SATA,
  TYPE0_HEADER,
  TYPE1_HEADER,
  VPD,
} from './index.js';

/** Bytes that no register of a table covers. */
function holes(table: RegisterTable): number {
  const covered = new Set<number>();
  const cover = (register: RegisterDescription, base: number) => {
    for (let byte = 0; byte < register.width / 8; byte++) covered.add(base + register.offset + byte);
  };
  for (const entry of Object.values(table.entries)) {
    if (entry.kind === 'register') cover(entry, 0);
    else {
      const { count, stride, offset, entry: inner } = entry as RepeatDescription<RegisterDescription>;
      for (let index = 0; index < count; index++) cover(inner, offset + index * stride);
    }
  }
  return table.size - covered.size;
}

describe('layouts', () => {
  // Lengths as linux/pci_regs.h and the VFIO capability table ([CFG-32], [CFG-48]) have them.
  it.each<[string, RegisterTable, number]>([
    ['type 0 header', TYPE0_HEADER, 64],
    ['type 1 header', TYPE1_HEADER, 64],
    ['PM', PM, 8],
    ['VPD', VPD, 8],
    ['MSI, 32 bits', MSI_32, 10],
    ['MSI, 64 bits', MSI_64, 14],
    ['MSI, 32 bits and mask', MSI_32_MASKABLE, 20],
    ['MSI, 64 bits and mask', MSI_64_MASKABLE, 24],
    ['MSI-X', MSIX, 12],
    ['MSI-X entry', MSIX_ENTRY, 16],
    ['PCIe, version 1 without link', PCIE_V1_NO_LINK, 12],
    ['PCIe, version 1', PCIE_V1, 20],
    ['PCIe, version 2', PCIE, 52],
    ['SATA', SATA, 8],
    ['AF', AF, 6],
    ['AER', AER, 0x2c],
    ['DSN', DSN, 12],
  ])('%s has the length of the specification', (_, table, size) => {
    expect(table.size).toBe(size);
  });

  it('headers leave out only what the specification reserves', () => {
    expect(holes(TYPE0_HEADER)).toBe(7); // 0x35 to 0x3b
    expect(holes(TYPE1_HEADER)).toBe(3); // 0x35 to 0x37
  });

  it('MSI and PCIe take the shape that their control register says', () => {
    const msi = [0x000, 0x080, 0x100, 0x180].map((control) => capabilityTable(0x05, control).size);
    expect(msi).toEqual([10, 14, 20, 24]);
    const express = [0x0001, 0x0091, 0x0002].map((control) => capabilityTable(0x10, control).size);
    expect(express).toEqual([20, 12, 52]);
  });

  it('names known ids and shows unknown ones', () => {
    expect([capabilityName(0x11), capabilityName(0x7f)]).toEqual(['MSI-X', 'id 0x7f']);
    expect([extendedCapabilityName(0x10), extendedCapabilityName(0x7777)]).toEqual(['SR-IOV', 'id 0x7777']);
  });
});
