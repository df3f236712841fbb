/** The first 64 bytes of configuration space. Source: PCI Local Bus Specification 3.0, 6.1; PCI Express Base Specification 5.0, 7.5.1. */

import { bit, bits, reg8, reg16, reg32, registers, repeat } from '../registers/index.js';

const command = reg16(
  0x04,
  'RW',
  {
    IO_SPACE: bit(0, 'RW', { text: 'Answers I/O accesses.' }),
    MEMORY_SPACE: bit(1, 'RW', { text: 'Answers memory accesses.' }),
    BUS_MASTER: bit(2, 'RW', { text: 'May access memory and send message-signalled interrupts.' }),
    SPECIAL_CYCLES: bit(3, 'RW'),
    MEMORY_WRITE_INVALIDATE: bit(4, 'RW'),
    VGA_PALETTE_SNOOP: bit(5, 'RW'),
    PARITY_ERROR_RESPONSE: bit(6, 'RW'),
    SERR_ENABLE: bit(8, 'RW'),
    FAST_BACK_TO_BACK: bit(9, 'RW'),
    INTERRUPT_DISABLE: bit(10, 'RW', { text: 'Keeps the INTx pin silent.' }),
  },
  { spec: 'PCIe 5.0, 7.5.1.1.3' },
);

const status = reg16(
  0x06,
  'RW1C',
  {
    IMMEDIATE_READINESS: bit(0, 'RO'),
    INTERRUPT: bit(3, 'RO', { text: 'The INTx pin is asserted.' }),
    CAPABILITIES_LIST: bit(4, 'RO'),
    CAPABLE_66MHZ: bit(5, 'RO'),
    FAST_BACK_TO_BACK: bit(7, 'RO'),
    MASTER_PARITY_ERROR: bit(8, 'RW1C'),
    DEVSEL_TIMING: bits(10, 9, 'RO'),
    SIGNALED_TARGET_ABORT: bit(11, 'RW1C'),
    RECEIVED_TARGET_ABORT: bit(12, 'RW1C'),
    RECEIVED_MASTER_ABORT: bit(13, 'RW1C'),
    SIGNALED_SYSTEM_ERROR: bit(14, 'RW1C'),
    DETECTED_PARITY_ERROR: bit(15, 'RW1C'),
  },
  { spec: 'PCIe 5.0, 7.5.1.1.4' },
);

/** What all header types share. */
const common = {
  VENDOR_ID: reg16(0x00, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.1' }),
  DEVICE_ID: reg16(0x02, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.2' }),
  COMMAND: command,
  STATUS: status,
  REVISION: reg8(0x08, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.5' }),
  PROGRAMMING_INTERFACE: reg8(0x09, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.6' }),
  SUBCLASS: reg8(0x0a, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.6' }),
  BASE_CLASS: reg8(0x0b, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.6' }),
  CACHE_LINE_SIZE: reg8(0x0c, 'RW', { unit: '* 4 bytes', spec: 'PCIe 5.0, 7.5.1.1.7' }),
  LATENCY_TIMER: reg8(0x0d, 'RW', { spec: 'PCIe 5.0, 7.5.1.1.8' }),
  HEADER_TYPE: reg8(
    0x0e,
    'RO',
    {
      LAYOUT: bits(6, 0, 'RO', { values: { ENDPOINT: 0, BRIDGE: 1, CARDBUS: 2 } }),
      MULTI_FUNCTION: bit(7, 'RO'),
    },
    { spec: 'PCIe 5.0, 7.5.1.1.9' },
  ),
  BIST: reg8(
    0x0f,
    'RW',
    { COMPLETION: bits(3, 0, 'RO'), START: bit(6, 'RW'), CAPABLE: bit(7, 'RO') },
    { spec: 'PCIe 5.0, 7.5.1.1.10' },
  ),
  CAPABILITIES_POINTER: reg8(0x34, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.11' }),
  INTERRUPT_LINE: reg8(0x3c, 'RW', { spec: 'PCIe 5.0, 7.5.1.1.12' }),
  INTERRUPT_PIN: reg8(0x3d, 'RO', { spec: 'PCIe 5.0, 7.5.1.1.13' }),
} as const;

const rom = (offset: number) =>
  reg32(offset, 'RW', { ENABLE: bit(0, 'RW'), ADDRESS: bits(31, 11, 'RW') }, { spec: 'PCIe 5.0, 7.5.1.2.4' });

/** Header of an endpoint (type 0). */
export const TYPE0_HEADER = /* @__PURE__ */ registers('PCI header, type 0', {
  ...common,
  BAR: repeat(6, 4, reg32(0, 'RW', { spec: 'PCIe 5.0, 7.5.1.2.1' }), { offset: 0x10 }),
  CARDBUS_CIS: reg32(0x28, 'RO', { spec: 'PCIe 5.0, 7.5.1.2.2' }),
  SUBSYSTEM_VENDOR_ID: reg16(0x2c, 'RO', { spec: 'PCIe 5.0, 7.5.1.2.3' }),
  SUBSYSTEM_ID: reg16(0x2e, 'RO', { spec: 'PCIe 5.0, 7.5.1.2.3' }),
  ROM_BAR: rom(0x30),
  MIN_GRANT: reg8(0x3e, 'RO', { unit: '* 250 ns', spec: 'PCIe 5.0, 7.5.1.2.5' }),
  MAX_LATENCY: reg8(0x3f, 'RO', { unit: '* 250 ns', spec: 'PCIe 5.0, 7.5.1.2.5' }),
});

/** Header of a PCI-to-PCI bridge or a PCI Express port (type 1). */
export const TYPE1_HEADER = /* @__PURE__ */ registers('PCI header, type 1', {
  ...common,
  BAR: repeat(2, 4, reg32(0, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.1' }), { offset: 0x10 }),
  PRIMARY_BUS: reg8(0x18, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.2' }),
  SECONDARY_BUS: reg8(0x19, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.3' }),
  SUBORDINATE_BUS: reg8(0x1a, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.4' }),
  SECONDARY_LATENCY_TIMER: reg8(0x1b, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.5' }),
  IO_BASE: reg8(0x1c, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.6' }),
  IO_LIMIT: reg8(0x1d, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.6' }),
  SECONDARY_STATUS: reg16(0x1e, 'RW1C', { spec: 'PCIe 5.0, 7.5.1.3.7' }),
  MEMORY_BASE: reg16(0x20, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.8' }),
  MEMORY_LIMIT: reg16(0x22, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.8' }),
  PREFETCHABLE_BASE: reg16(0x24, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.9' }),
  PREFETCHABLE_LIMIT: reg16(0x26, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.9' }),
  PREFETCHABLE_BASE_UPPER: reg32(0x28, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.10' }),
  PREFETCHABLE_LIMIT_UPPER: reg32(0x2c, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.10' }),
  IO_BASE_UPPER: reg16(0x30, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.11' }),
  IO_LIMIT_UPPER: reg16(0x32, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.11' }),
  ROM_BAR: rom(0x38),
  BRIDGE_CONTROL: reg16(0x3e, 'RW', { spec: 'PCIe 5.0, 7.5.1.3.13' }),
});
