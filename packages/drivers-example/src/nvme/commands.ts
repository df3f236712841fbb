/**
 * Commands: 64 bytes, here 16 words of 32 bits. Command Dword n of the specification is word n.
 *
 * Word 0 carries the opcode below and the command identifier in its upper half; the queue fills that half in with the
 * slot. Words 6 to 9 are the data pointer (PRP1, PRP2). Source: NVM Express Base 1.4, section 4.2.
 */

/** Words of a submission queue entry. */
export const ENTRY_WORDS = 16;
/** Bytes of a submission queue entry, and its power of two, as CC.IOSQES wants it. */
export const ENTRY_BYTES = 64;
export const ENTRY_SHIFT = 6;
/** Bytes of a completion queue entry, and its power of two, as CC.IOCQES wants it. Source: section 4.6. */
export const COMPLETION_BYTES = 16;
export const COMPLETION_WORDS = 4;
export const COMPLETION_SHIFT = 4;

/** Admin opcodes. Source: section 5, figure "Opcodes for Admin Commands". */
export const AdminOpcode = {
  deleteSubmissionQueue: 0x00,
  createSubmissionQueue: 0x01,
  getLogPage: 0x02,
  deleteCompletionQueue: 0x04,
  createCompletionQueue: 0x05,
  identify: 0x06,
  abort: 0x08,
  setFeatures: 0x09,
  getFeatures: 0x0a,
  namespaceManagement: 0x0d,
  firmwareCommit: 0x10,
  firmwareDownload: 0x11,
  namespaceAttachment: 0x15,
  formatNvm: 0x80,
  sanitize: 0x84,
} as const;

/** I/O opcodes. Source: section 6, figure "Opcodes for NVM Commands". */
export const IoOpcode = { flush: 0x00, write: 0x01, read: 0x02, compare: 0x05 } as const;

const readsOnly: readonly number[] = [IoOpcode.flush, IoOpcode.read, IoOpcode.compare];
const changesMedium: readonly number[] = [
  AdminOpcode.namespaceManagement,
  AdminOpcode.firmwareCommit,
  AdminOpcode.firmwareDownload,
  AdminOpcode.namespaceAttachment,
  AdminOpcode.formatNvm,
  AdminOpcode.sanitize,
];

/**
 * Whether a command can go to a controller that was opened read-only. Of I/O commands those that are known not to write; of
 * admin commands all but those that change the medium, the namespaces or the firmware. What a vendor's own admin command does
 * nobody can know here: it goes.
 */
export const leavesMedium = (opcode: number, admin: boolean): boolean =>
  admin ? !changesMedium.includes(opcode) : readsOnly.includes(opcode);

/** What Identify gives. Source: section 5.15.1, CNS values. */
export const Cns = { namespace: 0x00, controller: 0x01, activeNamespaces: 0x02 } as const;

/** Features. Source: section 5.21.1. */
export const Feature = { numberOfQueues: 0x07 } as const;

/** Blocks that one read or write moves at most: NLB has 16 bits, and is 0's based. Sources: sections 6.9, 6.15. */
export const MOST_BLOCKS = 65_536;
/** Bytes of the smallest block. Source: section 5.15.2.1, LBADS. */
export const SMALLEST_BLOCK = 512;

/** Means "every namespace" as a namespace id. Source: section 6.1. */
export const ALL_NAMESPACES = 0xffffffff;

/** A device address as two unsigned halves, as it stands in a command. */
export interface AddressHalves {
  readonly low: number;
  readonly high: number;
}

const none: AddressHalves = { low: 0, high: 0 };

/** A command from the words that differ from zero. Set-up only: the I/O path writes its words in place. */
export function command(
  opcode: number,
  words: Readonly<Record<number, number>> = {},
  prp1: AddressHalves = none,
): Uint32Array {
  const entry = new Uint32Array(ENTRY_WORDS);
  entry[0] = opcode;
  entry[6] = prp1.low;
  entry[7] = prp1.high;
  for (const [word, value] of Object.entries(words)) entry[Number(word)] = value;
  return entry;
}

/** Identify. Source: section 5.15. `into` is one page, page-aligned. */
export const identify = (cns: number, namespaceId: number, into: AddressHalves): Uint32Array =>
  command(AdminOpcode.identify, { 1: namespaceId, 10: cns }, into);

/** A queue's place, as the two create commands want it. */
export interface QueuePlace {
  /** 1 to 65535. */
  readonly id: number;
  /** Entries, 2 to 65536. */
  readonly depth: number;
  readonly address: AddressHalves;
}

/** Create I/O Completion Queue, in one piece. Source: section 5.3. `vector` undefined: no interrupts. */
export const createCompletionQueue = (queue: QueuePlace, vector: number | undefined): Uint32Array =>
  command(
    AdminOpcode.createCompletionQueue,
    {
      10: (((queue.depth - 1) << 16) | queue.id) >>> 0, // QSIZE (0's based), QID
      11: (((vector ?? 0) << 16) | (vector === undefined ? 0 : 1 << 1) | 1) >>> 0, // IV, IEN, PC (physically contiguous)
    },
    queue.address,
  );

/** Create I/O Submission Queue, in one piece, completing to the completion queue of the same id. Source: section 5.4. */
export const createSubmissionQueue = (queue: QueuePlace): Uint32Array =>
  command(
    AdminOpcode.createSubmissionQueue,
    {
      10: (((queue.depth - 1) << 16) | queue.id) >>> 0, // QSIZE (0's based), QID
      11: ((queue.id << 16) | 1) >>> 0, // CQID, QPRIO 0, PC
    },
    queue.address,
  );

/** Delete I/O Submission Queue. Source: section 5.6. Comes before the deletion of its completion queue. */
export const deleteSubmissionQueue = (id: number): Uint32Array =>
  command(AdminOpcode.deleteSubmissionQueue, { 10: id });

/** Delete I/O Completion Queue. Source: section 5.5. */
export const deleteCompletionQueue = (id: number): Uint32Array =>
  command(AdminOpcode.deleteCompletionQueue, { 10: id });

/** Set Features: Number of Queues. Source: section 5.21.1.7. Both counts are sent 0's based. */
export const setQueueCount = (queues: number): Uint32Array =>
  command(AdminOpcode.setFeatures, { 10: Feature.numberOfQueues, 11: (((queues - 1) << 16) | (queues - 1)) >>> 0 });

/** Queue pairs that the controller granted, from dword 0 of the completion of {@link setQueueCount}. */
export const grantedQueues = (result: number): number => Math.min(result & 0xffff, result >>> 16) + 1;
