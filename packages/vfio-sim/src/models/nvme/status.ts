/** Status values of completions: NVMe 1.4, section 4.6.1 (figures 126 to 130). */

/** Do Not Retry: bit 14 of the status field. */
export const doNotRetry = 0x4000;

/** A status field without its phase bit: code in bits 7:0, type in bits 10:8. */
export const Status = {
  success: 0x000,
  // Generic command status.
  invalidOpcode: 0x001,
  invalidField: 0x002,
  dataTransferError: 0x004,
  internalError: 0x006,
  abortRequested: 0x007,
  abortedByQueueDeletion: 0x008,
  invalidNamespace: 0x00b,
  commandSequenceError: 0x00c,
  invalidPrpOffset: 0x013,
  writeProtected: 0x020,
  lbaOutOfRange: 0x080,
  // Command-specific status.
  completionQueueInvalid: 0x100,
  invalidQueueIdentifier: 0x101,
  invalidQueueSize: 0x102,
  eventLimitExceeded: 0x105,
  invalidInterruptVector: 0x108,
  invalidLogPage: 0x109,
  invalidQueueDeletion: 0x10c,
  featureNotSaveable: 0x10d,
  featureNotChangeable: 0x10e,
  featureNotNamespaceSpecific: 0x10f,
  // Media and data integrity errors.
  writeFault: 0x280,
  unrecoveredReadError: 0x281,
  compareFailure: 0x285,
} as const;

/** A status that will be the same however often the command is tried. */
export const permanent = (status: number): number => status | doNotRetry;
