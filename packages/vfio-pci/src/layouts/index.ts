export {
  AF,
  CAPABILITY_HEADER,
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
  SUBSYSTEM,
  VENDOR,
  VPD,
} from './capabilities.js';
export {
  type CapabilityName,
  type CapabilityTables,
  capabilityIds,
  capabilityName,
  capabilityTable,
  type ExtendedCapabilityName,
  type ExtendedCapabilityTables,
  extendedCapabilityName,
  extendedIds,
  extendedTable,
  type TableOf,
} from './catalogue.js';
export { className, interfaceName } from './class-names.js';
export { ACS, AER, ARI, ATS, DSN, DVSEC, EXTENDED_HEADER, LTR, VSEC } from './extended.js';
export { TYPE0_HEADER, TYPE1_HEADER } from './header.js';
