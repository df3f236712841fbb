/** The controller's registers and where they stand: NVMe 1.4, section 3.1. */

/** Byte offsets in BAR 0. */
export const Register = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  NSSR: 0x20,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
  /** First doorbell. */
  doorbells: 0x1000,
} as const;

/** Fields of CC, section 3.1.5. */
export const configuration = (cc: number) => ({
  enabled: (cc & 1) === 1,
  commandSet: (cc >>> 4) & 7,
  /** Bytes. */
  pageSize: 2 ** (12 + ((cc >>> 7) & 15)),
  arbitration: (cc >>> 11) & 7,
  shutdown: (cc >>> 14) & 3,
  /** Log2 of bytes. */
  submissionEntry: (cc >>> 16) & 15,
  completionEntry: (cc >>> 20) & 15,
});

/** Bits of CSTS, section 3.1.6. */
export const ControllerStatus = {
  ready: 1 << 0,
  fatal: 1 << 1,
  shutdownMask: 3 << 2,
  shutdownOccurring: 1 << 2,
  shutdownComplete: 2 << 2,
} as const;

/** Version 1.4.0. */
export const version = 0x0001_0400;

/** Log2 of the entry sizes, the only ones there are. */
export const entrySizes = { submission: 6, completion: 4 } as const;

/** Largest memory page that can be chosen in CC.MPS: 64 KiB. */
export const largestPage = 2 ** 16;

/** What CAP says, section 3.1.1. */
export interface Capabilities {
  /** Entries of the largest I/O queue. */
  readonly queueEntries: number;
  /** Worst case for CSTS.RDY to follow CC.EN; in units of 500 ms, rounded up. */
  readonly timeout: number;
  /** Bytes from one doorbell to the next: a power of two, 4 or more. */
  readonly doorbellStride: number;
}

/** The value of CAP. */
export function capabilities(options: Capabilities): bigint {
  const maximumEntries = BigInt(options.queueEntries - 1); // MQES, counted from 0
  const contiguousRequired = 1n << 16n; // CQR
  const timeout = BigInt(Math.max(1, Math.ceil(options.timeout / 500))) << 24n; // TO
  const stride = BigInt(Math.log2(options.doorbellStride) - 2) << 32n; // DSTRD
  const nvmCommandSet = 1n << 37n; // CSS
  const pages = BigInt(Math.log2(largestPage) - 12) << 52n; // MPSMAX; MPSMIN is 0: 4 KiB
  return maximumEntries | contiguousRequired | timeout | stride | nvmCommandSet | pages;
}

/** How BAR 0 is laid out: registers, doorbells, then the MSI-X table and its pending bits on pages of their own. */
export function layout(queues: number, doorbellStride: number, vectors: number) {
  const page = (bytes: number) => Math.ceil(bytes / 4096) * 4096;
  const table = page(Register.doorbells + (queues + 1) * 2 * doorbellStride);
  const pending = table + page(vectors * 16);
  const end = vectors === 0 ? table : pending + page(Math.ceil(vectors / 64) * 8);
  return { table, pending, size: 2 ** Math.ceil(Math.log2(end)) };
}
