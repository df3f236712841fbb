/**
 * Standard capabilities (configuration space 0x40 to 0xFF) as register tables; offsets count from the capability's header.
 * Each begins with its id and the pointer to the next one.
 */

import { bit, bits, reg8, reg16, reg32, registers } from '../registers/index.js';

const header = { ID: reg8(0x00, 'RO'), NEXT: reg8(0x01, 'RO') } as const;

/** The header alone, for capabilities without a table of their own. */
export const CAPABILITY_HEADER = /* @__PURE__ */ registers('capability', header);

/** Power management. Source: PCI Bus Power Management Interface Specification 1.2, 3.2; PCIe 5.0, 7.5.2. */
export const PM = /* @__PURE__ */ registers('PM', {
  ...header,
  CAPABILITIES: reg16(
    0x02,
    'RO',
    {
      VERSION: bits(2, 0, 'RO'),
      PME_CLOCK: bit(3, 'RO'),
      DEVICE_SPECIFIC_INIT: bit(5, 'RO'),
      AUX_CURRENT: bits(8, 6, 'RO'),
      D1: bit(9, 'RO'),
      D2: bit(10, 'RO'),
      PME_SUPPORT: bits(15, 11, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.2.1' },
  ),
  CONTROL: reg16(
    0x04,
    'RW',
    {
      POWER_STATE: bits(1, 0, 'RW', { values: { D0: 0, D1: 1, D2: 2, D3HOT: 3 } }),
      NO_SOFT_RESET: bit(3, 'RO'),
      PME_ENABLE: bit(8, 'RW'),
      DATA_SELECT: bits(12, 9, 'RW'),
      DATA_SCALE: bits(14, 13, 'RO'),
      PME_STATUS: bit(15, 'RW1C'),
    },
    { spec: 'PCIe 5.0, 7.5.2.2' },
  ),
  BRIDGE_EXTENSIONS: reg8(0x06, 'RO'),
  DATA: reg8(0x07, 'RO', { spec: 'PCIe 5.0, 7.5.2.3' }),
});

/** Vital product data. Source: PCI 3.0, appendix I; PCIe 5.0, 7.9.19. */
export const VPD = /* @__PURE__ */ registers('VPD', {
  ...header,
  ADDRESS: reg16(0x02, 'RW', { ADDRESS: bits(14, 0, 'RW'), DONE: bit(15, 'RW') }),
  DATA: reg32(0x04, 'RW'),
});

const msiControl = reg16(
  0x02,
  'RW',
  {
    ENABLE: bit(0, 'RW'),
    CAPABLE: bits(3, 1, 'RO', { text: 'log2 of the vectors that the device can send.' }),
    ENABLED: bits(6, 4, 'RW', { text: 'log2 of the vectors that it may send.' }),
    ADDRESS_64: bit(7, 'RO'),
    PER_VECTOR_MASKING: bit(8, 'RO'),
  },
  { spec: 'PCIe 5.0, 7.7.1.2' },
);

/** MSI has four shapes, chosen by two bits of its control register. Source: PCIe 5.0, 7.7.1. */
export const MSI_32 = /* @__PURE__ */ registers('MSI', {
  ...header,
  CONTROL: msiControl,
  ADDRESS: reg32(0x04, 'RW', { spec: 'PCIe 5.0, 7.7.1.3' }),
  DATA: reg16(0x08, 'RW', { spec: 'PCIe 5.0, 7.7.1.5' }),
});
export const MSI_64 = /* @__PURE__ */ registers('MSI (64-bit)', {
  ...header,
  CONTROL: msiControl,
  ADDRESS: reg32(0x04, 'RW', { spec: 'PCIe 5.0, 7.7.1.3' }),
  ADDRESS_UPPER: reg32(0x08, 'RW', { spec: 'PCIe 5.0, 7.7.1.4' }),
  DATA: reg16(0x0c, 'RW', { spec: 'PCIe 5.0, 7.7.1.5' }),
});
export const MSI_32_MASKABLE = /* @__PURE__ */ registers('MSI (maskable)', {
  ...header,
  CONTROL: msiControl,
  ADDRESS: reg32(0x04, 'RW', { spec: 'PCIe 5.0, 7.7.1.3' }),
  DATA: reg16(0x08, 'RW', { spec: 'PCIe 5.0, 7.7.1.5' }),
  MASK: reg32(0x0c, 'RW', { spec: 'PCIe 5.0, 7.7.1.7' }),
  PENDING: reg32(0x10, 'RO', { spec: 'PCIe 5.0, 7.7.1.8' }),
});
export const MSI_64_MASKABLE = /* @__PURE__ */ registers('MSI (64-bit, maskable)', {
  ...header,
  CONTROL: msiControl,
  ADDRESS: reg32(0x04, 'RW', { spec: 'PCIe 5.0, 7.7.1.3' }),
  ADDRESS_UPPER: reg32(0x08, 'RW', { spec: 'PCIe 5.0, 7.7.1.4' }),
  DATA: reg16(0x0c, 'RW', { spec: 'PCIe 5.0, 7.7.1.5' }),
  MASK: reg32(0x10, 'RW', { spec: 'PCIe 5.0, 7.7.1.7' }),
  PENDING: reg32(0x14, 'RO', { spec: 'PCIe 5.0, 7.7.1.8' }),
});

/** Vendor-specific: length at byte 2, then whatever the vendor wants. Source: PCIe 5.0, 7.9.4. */
export const VENDOR = /* @__PURE__ */ registers('Vendor', { ...header, LENGTH: reg8(0x02, 'RO', { unit: 'bytes' }) });

/** Subsystem ids of a bridge. Source: PCI-to-PCI Bridge Architecture Specification 1.2, 3.2.5; PCIe 5.0, 7.9.24. */
export const SUBSYSTEM = /* @__PURE__ */ registers('Subsystem', {
  ...header,
  SUBSYSTEM_VENDOR_ID: reg16(0x04, 'RO'),
  SUBSYSTEM_ID: reg16(0x06, 'RO'),
});

const bir = { BAR: bits(2, 0, 'RO'), OFFSET: bits(31, 3, 'RO', { unit: '8 bytes' }) } as const;

/** MSI-X. The table itself lies in a BAR: {@link MSIX_ENTRY}. Source: PCIe 5.0, 7.7.2. */
export const MSIX = /* @__PURE__ */ registers('MSI-X', {
  ...header,
  CONTROL: reg16(
    0x02,
    'RW',
    {
      TABLE_SIZE: bits(10, 0, 'RO', { text: 'Vectors less one.' }),
      FUNCTION_MASK: bit(14, 'RW'),
      ENABLE: bit(15, 'RW'),
    },
    { spec: 'PCIe 5.0, 7.7.2.2' },
  ),
  TABLE: reg32(0x04, 'RO', bir, { spec: 'PCIe 5.0, 7.7.2.3' }),
  PENDING: reg32(0x08, 'RO', bir, { spec: 'PCIe 5.0, 7.7.2.4' }),
});

/** One entry of the MSI-X table, 16 bytes. The kernel owns the table; this is for decoding. Source: PCIe 5.0, 7.7.2.5. */
export const MSIX_ENTRY = /* @__PURE__ */ registers('MSI-X entry', {
  ADDRESS: reg32(0x00, 'RW'),
  ADDRESS_UPPER: reg32(0x04, 'RW'),
  DATA: reg32(0x08, 'RW'),
  CONTROL: reg32(0x0c, 'RW', { MASK: bit(0, 'RW') }),
});

/** SATA data and index configuration. Source: Serial ATA AHCI 1.3.1, 2.4. */
export const SATA = /* @__PURE__ */ registers('SATA', {
  ...header,
  REVISION: reg16(0x02, 'RO', { MINOR: bits(3, 0, 'RO'), MAJOR: bits(7, 4, 'RO') }),
  LOCATION: reg32(0x04, 'RO', { BAR: bits(3, 0, 'RO'), OFFSET: bits(23, 4, 'RO', { unit: '4 bytes' }) }),
});

/** Advanced features: function level reset of conventional PCI. Source: PCI Advanced Capabilities ECN, 6.x; PCIe 5.0, 7.9.22. */
export const AF = /* @__PURE__ */ registers('AF', {
  ...header,
  LENGTH: reg8(0x02, 'RO', { unit: 'bytes' }),
  CAPABILITIES: reg8(0x03, 'RO', { TRANSACTIONS_PENDING: bit(0, 'RO'), FUNCTION_LEVEL_RESET: bit(1, 'RO') }),
  CONTROL: reg8(0x04, 'RW', { INITIATE_RESET: bit(0, 'WO') }),
  STATUS: reg8(0x05, 'RO', { TRANSACTIONS_PENDING: bit(0, 'RO') }),
});

const payload = { B128: 0, B256: 1, B512: 2, B1024: 3, B2048: 4, B4096: 5 } as const;
const speed = { GT2_5: 1, GT5: 2, GT8: 3, GT16: 4, GT32: 5, GT64: 6 } as const;

const express = {
  ...header,
  CAPABILITIES: reg16(
    0x02,
    'RO',
    {
      VERSION: bits(3, 0, 'RO'),
      TYPE: bits(7, 4, 'RO', {
        values: {
          ENDPOINT: 0,
          LEGACY_ENDPOINT: 1,
          ROOT_PORT: 4,
          UPSTREAM_PORT: 5,
          DOWNSTREAM_PORT: 6,
          PCIE_TO_PCI_BRIDGE: 7,
          PCI_TO_PCIE_BRIDGE: 8,
          ROOT_COMPLEX_ENDPOINT: 9,
          ROOT_COMPLEX_EVENT_COLLECTOR: 10,
        },
      }),
      SLOT_IMPLEMENTED: bit(8, 'RO'),
      INTERRUPT_MESSAGE: bits(13, 9, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.3.2' },
  ),
  DEVICE_CAPABILITIES: reg32(
    0x04,
    'RO',
    {
      MAX_PAYLOAD: bits(2, 0, 'RO', { values: payload }),
      PHANTOM_FUNCTIONS: bits(4, 3, 'RO'),
      EXTENDED_TAG: bit(5, 'RO'),
      ROLE_BASED_ERRORS: bit(15, 'RO'),
      FUNCTION_LEVEL_RESET: bit(28, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.3.3' },
  ),
  DEVICE_CONTROL: reg16(
    0x08,
    'RW',
    {
      CORRECTABLE_REPORTING: bit(0, 'RW'),
      NON_FATAL_REPORTING: bit(1, 'RW'),
      FATAL_REPORTING: bit(2, 'RW'),
      UNSUPPORTED_REQUEST_REPORTING: bit(3, 'RW'),
      RELAXED_ORDERING: bit(4, 'RW'),
      MAX_PAYLOAD: bits(7, 5, 'RW', { values: payload }),
      EXTENDED_TAG: bit(8, 'RW'),
      PHANTOM_FUNCTIONS: bit(9, 'RW'),
      AUX_POWER: bit(10, 'RW'),
      NO_SNOOP: bit(11, 'RW'),
      MAX_READ_REQUEST: bits(14, 12, 'RW', { values: payload }),
      INITIATE_RESET: bit(15, 'WO', { text: 'Function level reset.' }),
    },
    { spec: 'PCIe 5.0, 7.5.3.4' },
  ),
  DEVICE_STATUS: reg16(
    0x0a,
    'RW1C',
    {
      CORRECTABLE_ERROR: bit(0, 'RW1C'),
      NON_FATAL_ERROR: bit(1, 'RW1C'),
      FATAL_ERROR: bit(2, 'RW1C'),
      UNSUPPORTED_REQUEST: bit(3, 'RW1C'),
      AUX_POWER: bit(4, 'RO'),
      TRANSACTIONS_PENDING: bit(5, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.3.5' },
  ),
  LINK_CAPABILITIES: reg32(
    0x0c,
    'RO',
    {
      MAX_SPEED: bits(3, 0, 'RO', { values: speed }),
      MAX_WIDTH: bits(9, 4, 'RO', { unit: 'lanes' }),
      ASPM: bits(11, 10, 'RO'),
      PORT: bits(31, 24, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.3.6' },
  ),
  LINK_CONTROL: reg16(
    0x10,
    'RW',
    { ASPM: bits(1, 0, 'RW'), DISABLE: bit(4, 'RW'), RETRAIN: bit(5, 'WO'), COMMON_CLOCK: bit(6, 'RW') },
    { spec: 'PCIe 5.0, 7.5.3.7' },
  ),
  LINK_STATUS: reg16(
    0x12,
    'RW1C',
    {
      SPEED: bits(3, 0, 'RO', { values: speed }),
      WIDTH: bits(9, 4, 'RO', { unit: 'lanes' }),
      TRAINING: bit(11, 'RO'),
      SLOT_CLOCK: bit(12, 'RO'),
      ACTIVE: bit(13, 'RO'),
      BANDWIDTH_MANAGEMENT: bit(14, 'RW1C'),
      AUTONOMOUS_BANDWIDTH: bit(15, 'RW1C'),
    },
    { spec: 'PCIe 5.0, 7.5.3.8' },
  ),
} as const;

/** PCI Express, version 1: 20 bytes. Source: PCIe 5.0, 7.5.3. */
export const PCIE_V1 = /* @__PURE__ */ registers('PCIe (version 1)', express);

/** PCI Express of a root-complex endpoint, version 1, which has no link: 12 bytes. */
export const PCIE_V1_NO_LINK = /* @__PURE__ */ registers('PCIe (version 1, no link)', {
  ...header,
  CAPABILITIES: express.CAPABILITIES,
  DEVICE_CAPABILITIES: express.DEVICE_CAPABILITIES,
  DEVICE_CONTROL: express.DEVICE_CONTROL,
  DEVICE_STATUS: express.DEVICE_STATUS,
});

/** PCI Express, version 2, as far as endpoints use it: 52 bytes. Source: PCIe 5.0, 7.5.3. */
export const PCIE = /* @__PURE__ */ registers('PCIe', {
  ...express,
  DEVICE_CAPABILITIES_2: reg32(
    0x24,
    'RO',
    {
      COMPLETION_TIMEOUT_RANGES: bits(3, 0, 'RO'),
      COMPLETION_TIMEOUT_DISABLE: bit(4, 'RO'),
      ARI_FORWARDING: bit(5, 'RO'),
      ATOMIC_COMPLETER_32: bit(7, 'RO'),
      ATOMIC_COMPLETER_64: bit(8, 'RO'),
      ATOMIC_COMPLETER_128: bit(9, 'RO'),
      LTR: bit(11, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.3.15' },
  ),
  DEVICE_CONTROL_2: reg16(
    0x28,
    'RW',
    {
      COMPLETION_TIMEOUT: bits(3, 0, 'RW'),
      COMPLETION_TIMEOUT_DISABLE: bit(4, 'RW'),
      ARI_FORWARDING: bit(5, 'RW'),
      ATOMIC_REQUESTER: bit(6, 'RW'),
      LTR: bit(10, 'RW'),
    },
    { spec: 'PCIe 5.0, 7.5.3.16' },
  ),
  DEVICE_STATUS_2: reg16(0x2a, 'RO', { spec: 'PCIe 5.0, 7.5.3.17' }),
  LINK_CAPABILITIES_2: reg32(0x2c, 'RO', { SPEEDS: bits(7, 1, 'RO') }, { spec: 'PCIe 5.0, 7.5.3.18' }),
  LINK_CONTROL_2: reg16(
    0x30,
    'RW',
    { TARGET_SPEED: bits(3, 0, 'RW', { values: speed }) },
    { spec: 'PCIe 5.0, 7.5.3.19' },
  ),
  LINK_STATUS_2: reg16(0x32, 'RW1C', { spec: 'PCIe 5.0, 7.5.3.20' }),
});
