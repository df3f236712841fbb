/** Which capability has which id, name and table. Source: PCI Code and ID Assignment Specification, chapters 2 and 3. */

import type { RegisterTable } from '../registers/index.js';
import {
  AF,
  CAPABILITY_HEADER,
  MSI_32,
  MSI_32_MASKABLE,
  MSI_64,
  MSI_64_MASKABLE,
  MSIX,
  PCIE,
  PCIE_V1,
  PCIE_V1_NO_LINK,
  PM,
  SATA,
  SUBSYSTEM,
  VENDOR,
  VPD,
} from './capabilities.js';
import { ACS, AER, ARI, ATS, DSN, DVSEC, EXTENDED_HEADER, LTR, VSEC } from './extended.js';

/** Ids of standard capabilities by name. */
export const capabilityIds = {
  PM: 0x01,
  AGP: 0x02,
  VPD: 0x03,
  'Slot ID': 0x04,
  MSI: 0x05,
  'Hot Swap': 0x06,
  'PCI-X': 0x07,
  HyperTransport: 0x08,
  Vendor: 0x09,
  Debug: 0x0a,
  'Resource Control': 0x0b,
  'Hot Plug': 0x0c,
  Subsystem: 0x0d,
  AGP8X: 0x0e,
  Secure: 0x0f,
  PCIe: 0x10,
  'MSI-X': 0x11,
  SATA: 0x12,
  AF: 0x13,
  EA: 0x14,
  FPB: 0x15,
} as const;
export type CapabilityName = keyof typeof capabilityIds;

/** Ids of extended capabilities by name. */
export const extendedIds = {
  AER: 0x01,
  VC: 0x02,
  DSN: 0x03,
  'Power Budget': 0x04,
  'RC Link': 0x05,
  'RC Internal Link': 0x06,
  'RC Event Collector': 0x07,
  MFVC: 0x08,
  VC9: 0x09,
  RCRB: 0x0a,
  VSEC: 0x0b,
  CAC: 0x0c,
  ACS: 0x0d,
  ARI: 0x0e,
  ATS: 0x0f,
  'SR-IOV': 0x10,
  'MR-IOV': 0x11,
  Multicast: 0x12,
  PRI: 0x13,
  AMD: 0x14,
  'Resizable BAR': 0x15,
  DPA: 0x16,
  TPH: 0x17,
  LTR: 0x18,
  'Secondary PCIe': 0x19,
  PMUX: 0x1a,
  PASID: 0x1b,
  LNR: 0x1c,
  DPC: 0x1d,
  'L1 Substates': 0x1e,
  PTM: 0x1f,
  'M-PCIe': 0x20,
  FRS: 0x21,
  'Readiness Time': 0x22,
  DVSEC: 0x23,
  'VF Resizable BAR': 0x24,
  'Data Link Feature': 0x25,
  'Physical Layer 16 GT/s': 0x26,
  'Lane Margining': 0x27,
  'Hierarchy ID': 0x28,
  NPEM: 0x29,
  'Physical Layer 32 GT/s': 0x2a,
  'Alternate Protocol': 0x2b,
  SFI: 0x2c,
  'Shadow Functions': 0x2d,
  DOE: 0x2e,
} as const;
export type ExtendedCapabilityName = keyof typeof extendedIds;

/** The table that each named capability has; those without one show their header. */
export interface CapabilityTables {
  PM: typeof PM;
  VPD: typeof VPD;
  MSI: typeof MSI_32 | typeof MSI_64 | typeof MSI_32_MASKABLE | typeof MSI_64_MASKABLE;
  Vendor: typeof VENDOR;
  Subsystem: typeof SUBSYSTEM;
  PCIe: typeof PCIE | typeof PCIE_V1 | typeof PCIE_V1_NO_LINK;
  'MSI-X': typeof MSIX;
  SATA: typeof SATA;
  AF: typeof AF;
}

export interface ExtendedCapabilityTables {
  AER: typeof AER;
  DSN: typeof DSN;
  VSEC: typeof VSEC;
  ACS: typeof ACS;
  ARI: typeof ARI;
  ATS: typeof ATS;
  LTR: typeof LTR;
  DVSEC: typeof DVSEC;
}

/** The table of a capability of this name. */
export type TableOf<N extends string> = N extends keyof CapabilityTables
  ? CapabilityTables[N]
  : N extends keyof ExtendedCapabilityTables
    ? ExtendedCapabilityTables[N]
    : RegisterTable;

const nameIn = (ids: Readonly<Record<string, number>>, id: number): string | undefined =>
  Object.keys(ids).find((name) => ids[name] === id);

/** `MSI-X` for 0x11; `id 0x7f` for one that is not known. */
export const capabilityName = (id: number): string => nameIn(capabilityIds, id) ?? `id 0x${id.toString(16)}`;
export const extendedCapabilityName = (id: number): string => nameIn(extendedIds, id) ?? `id 0x${id.toString(16)}`;

const standard: Readonly<Record<number, RegisterTable>> = {
  [capabilityIds.PM]: PM,
  [capabilityIds.VPD]: VPD,
  [capabilityIds.Vendor]: VENDOR,
  [capabilityIds.Subsystem]: SUBSYSTEM,
  [capabilityIds['MSI-X']]: MSIX,
  [capabilityIds.SATA]: SATA,
  [capabilityIds.AF]: AF,
};

const rootComplexEndpoint = 9;

/**
 * The table of a standard capability.
 * @param control the 16 bits after id and next pointer, by which MSI and PCIe choose their shape
 */
export function capabilityTable(id: number, control: number): RegisterTable {
  if (id === capabilityIds.MSI) {
    const maskable = (control & 0x100) !== 0;
    if ((control & 0x80) !== 0) return maskable ? MSI_64_MASKABLE : MSI_64;
    return maskable ? MSI_32_MASKABLE : MSI_32;
  }
  if (id === capabilityIds.PCIe) {
    if ((control & 0xf) >= 2) return PCIE;
    return ((control >>> 4) & 0xf) === rootComplexEndpoint ? PCIE_V1_NO_LINK : PCIE_V1;
  }
  return standard[id] ?? CAPABILITY_HEADER;
}

const extended: Readonly<Record<number, RegisterTable>> = {
  [extendedIds.AER]: AER,
  [extendedIds.DSN]: DSN,
  [extendedIds.VSEC]: VSEC,
  [extendedIds.ACS]: ACS,
  [extendedIds.ARI]: ARI,
  [extendedIds.ATS]: ATS,
  [extendedIds.LTR]: LTR,
  [extendedIds.DVSEC]: DVSEC,
};

/** The table of an extended capability. */
export const extendedTable = (id: number): RegisterTable => extended[id] ?? EXTENDED_HEADER;
