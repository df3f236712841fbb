/**
 * The controller's registers, at the start of BAR 0. Source: NVM Express Base 1.4, section 3.1.
 *
 * 64-bit registers are accessed as two halves, low first, which section 3.1 allows for every controller.
 */

import { bit, bits, reg32, reg64, registers } from 'vfio-pci';

const halves = { access: 'low-first' } as const;

export const NVME = registers('NVMe controller', {
  CAP: reg64(
    0x00,
    'RO',
    {
      MQES: bits(15, 0, 'RO', { text: 'entries of the largest queue, 0-based' }),
      CQR: bit(16, 'RO', { text: 'queues must be contiguous' }),
      AMS: bits(18, 17, 'RO', { text: 'arbitration mechanisms beside round robin' }),
      TO: bits(31, 24, 'RO', { unit: '500 ms', text: 'longest time to become ready or not ready' }),
      DSTRD: bits(35, 32, 'RO', { text: 'bytes from doorbell to doorbell: 4 << DSTRD' }),
      NSSRS: bit(36, 'RO', { text: 'NVM subsystem reset works' }),
      CSS: bits(44, 37, 'RO', { text: 'command sets; bit 0 is the NVM command set' }),
      BPS: bit(45, 'RO', { text: 'boot partitions' }),
      MPSMIN: bits(51, 48, 'RO', { text: 'smallest memory page: 4 KiB << MPSMIN' }),
      MPSMAX: bits(55, 52, 'RO', { text: 'largest memory page: 4 KiB << MPSMAX' }),
      PMRS: bit(56, 'RO', { text: 'persistent memory region' }),
      CMBS: bit(57, 'RO', { text: 'controller memory buffer' }),
    },
    { ...halves, spec: 'NVMe 1.4, 3.1.1', text: 'Controller Capabilities' },
  ),
  VS: reg32(
    0x08,
    'RO',
    { TER: bits(7, 0, 'RO'), MNR: bits(15, 8, 'RO'), MJR: bits(31, 16, 'RO') },
    { spec: 'NVMe 1.4, 3.1.2', text: 'Version' },
  ),
  INTMS: reg32(0x0c, 'RW', { spec: 'NVMe 1.4, 3.1.3', text: 'Interrupt Mask Set; not with MSI-X' }),
  INTMC: reg32(0x10, 'RW', { spec: 'NVMe 1.4, 3.1.4', text: 'Interrupt Mask Clear; not with MSI-X' }),
  CC: reg32(
    0x14,
    'RW',
    {
      EN: bit(0, 'RW', { text: 'enable' }),
      CSS: bits(6, 4, 'RW', { values: { NVM: 0 }, text: 'command set' }),
      MPS: bits(10, 7, 'RW', { text: 'memory page: 4 KiB << MPS' }),
      AMS: bits(13, 11, 'RW', { values: { ROUND_ROBIN: 0 }, text: 'arbitration' }),
      SHN: bits(15, 14, 'RW', { values: { NONE: 0, NORMAL: 1, ABRUPT: 2 }, text: 'shutdown notification' }),
      IOSQES: bits(19, 16, 'RW', { text: 'bytes of an I/O submission entry: 1 << IOSQES' }),
      IOCQES: bits(23, 20, 'RW', { text: 'bytes of an I/O completion entry: 1 << IOCQES' }),
    },
    { spec: 'NVMe 1.4, 3.1.5', text: 'Controller Configuration' },
  ),
  CSTS: reg32(
    0x1c,
    'RO',
    {
      RDY: bit(0, 'RO', { text: 'ready' }),
      CFS: bit(1, 'RO', { text: 'fatal status' }),
      SHST: bits(3, 2, 'RO', { values: { NORMAL: 0, OCCURRING: 1, COMPLETE: 2 }, text: 'shutdown status' }),
      NSSRO: bit(4, 'RO', { text: 'an NVM subsystem reset occurred (cleared by writing 1; this driver does not)' }),
      PP: bit(5, 'RO', { text: 'processing is paused' }),
    },
    { spec: 'NVMe 1.4, 3.1.6', text: 'Controller Status' },
  ),
  NSSR: reg32(0x20, 'RW', { spec: 'NVMe 1.4, 3.1.7', text: 'NVM Subsystem Reset: the letters "NVMe" reset' }),
  AQA: reg32(
    0x24,
    'RW',
    { ASQS: bits(11, 0, 'RW', { text: '0-based' }), ACQS: bits(27, 16, 'RW', { text: '0-based' }) },
    { spec: 'NVMe 1.4, 3.1.8', text: 'Admin Queue Attributes' },
  ),
  ASQ: reg64(0x28, 'RW', { ...halves, spec: 'NVMe 1.4, 3.1.9', text: 'Admin Submission Queue Base Address' }),
  ACQ: reg64(0x30, 'RW', { ...halves, spec: 'NVMe 1.4, 3.1.10', text: 'Admin Completion Queue Base Address' }),
});

/** CSTS for the polling side, which reads it by window. */
export const CSTS_OFFSET = NVME.entries.CSTS.offset;
export const CstsBit = { ready: 1 << 0, fatal: 1 << 1 } as const;

/** Where the doorbells start in BAR 0. Source: sections 3.1.24 (SQyTDBL) and 3.1.25 (CQyHDBL). */
export const DOORBELLS = 0x1000;

/**
 * Offset of the submission queue tail doorbell of queue `id` in BAR 0.
 * @param stride bytes from doorbell to doorbell, `4 << CAP.DSTRD`
 */
export const tailDoorbell = (id: number, stride: number): number => DOORBELLS + 2 * id * stride;
/** Offset of the completion queue head doorbell of queue `id` in BAR 0. */
export const headDoorbell = (id: number, stride: number): number => DOORBELLS + (2 * id + 1) * stride;

/** PCI class of an NVM Express I/O controller: mass storage, non-volatile memory, programming interface 02h. Source: section 2.1.5. */
export const NVME_CLASS = 0x010802;

/** Page sizes are powers of two above this: 4 KiB. */
export const SMALLEST_PAGE_SHIFT = 12;

/** Entries of the largest admin queue. Source: section 3.1.8. */
export const LARGEST_ADMIN_QUEUE = 4096;
