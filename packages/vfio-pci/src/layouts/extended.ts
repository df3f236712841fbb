/**
 * Extended capabilities (configuration space 0x100 to 0xFFF) as register tables; offsets count from the capability's header.
 * Source: PCIe 5.0, 7.6.3 (header) and the section named at each table.
 */

import { bit, bits, reg16, reg32, registers } from '../registers/index.js';

const header = {
  HEADER: reg32(0x00, 'RO', { ID: bits(15, 0, 'RO'), VERSION: bits(19, 16, 'RO'), NEXT: bits(31, 20, 'RO') }),
} as const;

/** The header alone, for capabilities without a table of their own. */
export const EXTENDED_HEADER = /* @__PURE__ */ registers('extended capability', header);

const uncorrectable = <M extends 'RW' | 'RW1C'>(mode: M) =>
  ({
    DATA_LINK_PROTOCOL: bit(4, mode),
    SURPRISE_DOWN: bit(5, mode),
    POISONED: bit(12, mode),
    FLOW_CONTROL: bit(13, mode),
    COMPLETION_TIMEOUT: bit(14, mode),
    COMPLETER_ABORT: bit(15, mode),
    UNEXPECTED_COMPLETION: bit(16, mode),
    RECEIVER_OVERFLOW: bit(17, mode),
    MALFORMED: bit(18, mode),
    ECRC: bit(19, mode),
    UNSUPPORTED_REQUEST: bit(20, mode),
    ACS_VIOLATION: bit(21, mode),
  }) as const;

const correctable = <M extends 'RW' | 'RW1C'>(mode: M) =>
  ({
    RECEIVER: bit(0, mode),
    BAD_TLP: bit(6, mode),
    BAD_DLLP: bit(7, mode),
    REPLAY_ROLLOVER: bit(8, mode),
    REPLAY_TIMEOUT: bit(12, mode),
    ADVISORY_NON_FATAL: bit(13, mode),
  }) as const;

/** Advanced error reporting. Source: PCIe 5.0, 7.8.4. */
export const AER = /* @__PURE__ */ registers('AER', {
  ...header,
  UNCORRECTABLE_STATUS: reg32(0x04, 'RW1C', uncorrectable('RW1C'), { spec: 'PCIe 5.0, 7.8.4.2' }),
  UNCORRECTABLE_MASK: reg32(0x08, 'RW', uncorrectable('RW'), { spec: 'PCIe 5.0, 7.8.4.3' }),
  UNCORRECTABLE_SEVERITY: reg32(0x0c, 'RW', uncorrectable('RW'), { spec: 'PCIe 5.0, 7.8.4.4' }),
  CORRECTABLE_STATUS: reg32(0x10, 'RW1C', correctable('RW1C'), { spec: 'PCIe 5.0, 7.8.4.5' }),
  CORRECTABLE_MASK: reg32(0x14, 'RW', correctable('RW'), { spec: 'PCIe 5.0, 7.8.4.6' }),
  CONTROL: reg32(
    0x18,
    'RW',
    {
      FIRST_ERROR: bits(4, 0, 'RO'),
      ECRC_GENERATION_CAPABLE: bit(5, 'RO'),
      ECRC_GENERATION: bit(6, 'RW'),
      ECRC_CHECK_CAPABLE: bit(7, 'RO'),
      ECRC_CHECK: bit(8, 'RW'),
    },
    { spec: 'PCIe 5.0, 7.8.4.7' },
  ),
  HEADER_LOG_0: reg32(0x1c, 'RO', { spec: 'PCIe 5.0, 7.8.4.8' }),
  HEADER_LOG_1: reg32(0x20, 'RO'),
  HEADER_LOG_2: reg32(0x24, 'RO'),
  HEADER_LOG_3: reg32(0x28, 'RO'),
});

/** Device serial number. Source: PCIe 5.0, 7.9.3. */
export const DSN = /* @__PURE__ */ registers('DSN', { ...header, LOW: reg32(0x04, 'RO'), HIGH: reg32(0x08, 'RO') });

/** Vendor-specific. Source: PCIe 5.0, 7.9.5. */
export const VSEC = /* @__PURE__ */ registers('VSEC', {
  ...header,
  VENDOR_HEADER: reg32(0x04, 'RO', {
    VSEC_ID: bits(15, 0, 'RO'),
    REVISION: bits(19, 16, 'RO'),
    LENGTH: bits(31, 20, 'RO', { unit: 'bytes' }),
  }),
});

/** Access control services. Source: PCIe 5.0, 7.7.8. */
export const ACS = /* @__PURE__ */ registers('ACS', {
  ...header,
  CAPABILITIES: reg16(0x04, 'RO', { SOURCE_VALIDATION: bit(0, 'RO'), P2P_REQUEST_REDIRECT: bit(2, 'RO') }),
  CONTROL: reg16(0x06, 'RW', { SOURCE_VALIDATION: bit(0, 'RW'), P2P_REQUEST_REDIRECT: bit(2, 'RW') }),
});

/** Alternative routing-id interpretation. Source: PCIe 5.0, 7.8.7. */
export const ARI = /* @__PURE__ */ registers('ARI', {
  ...header,
  CAPABILITIES: reg16(0x04, 'RO', { NEXT_FUNCTION: bits(15, 8, 'RO') }),
  CONTROL: reg16(0x06, 'RW'),
});

/** Address translation services. Source: PCIe 5.0, 10.5.1. */
export const ATS = /* @__PURE__ */ registers('ATS', {
  ...header,
  CAPABILITIES: reg16(0x04, 'RO', { QUEUE_DEPTH: bits(4, 0, 'RO'), PAGE_ALIGNED: bit(5, 'RO') }),
  CONTROL: reg16(0x06, 'RW', { SMALLEST_UNIT: bits(4, 0, 'RW'), ENABLE: bit(15, 'RW') }),
});

/** Latency tolerance reporting. Source: PCIe 5.0, 7.8.2. */
export const LTR = /* @__PURE__ */ registers('LTR', {
  ...header,
  MAX_SNOOP: reg16(0x04, 'RW', { VALUE: bits(9, 0, 'RW'), SCALE: bits(12, 10, 'RW') }),
  MAX_NO_SNOOP: reg16(0x06, 'RW', { VALUE: bits(9, 0, 'RW'), SCALE: bits(12, 10, 'RW') }),
});

/** Designated vendor-specific. Source: PCIe 5.0, 7.9.6. */
export const DVSEC = /* @__PURE__ */ registers('DVSEC', {
  ...header,
  VENDOR_HEADER: reg32(0x04, 'RO', {
    VENDOR_ID: bits(15, 0, 'RO'),
    REVISION: bits(19, 16, 'RO'),
    LENGTH: bits(31, 20, 'RO', { unit: 'bytes' }),
  }),
  DVSEC_ID: reg16(0x08, 'RO'),
});
