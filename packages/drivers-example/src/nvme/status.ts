/**
 * What a controller says about a command's end, kept whole.
 *
 * A status is the number that stands in the completion entry above its phase tag: 15 bits, 0 for success.
 * Source: NVM Express Base 1.4, section 4.6.1 (Status Field Definition).
 */

import { VfioError } from 'vfio-core';

/** A status, taken apart. */
export interface NvmeStatus {
  /** The 15 bits as they came. */
  readonly value: number;
  readonly success: boolean;
  /** Status Code Type, 0 to 7. */
  readonly type: number;
  /** `generic`, `command specific`, `media and data integrity`, `path`, `vendor specific`, or `reserved`. */
  readonly typeName: string;
  /** Status Code, 0 to 255; its meaning depends on the type. */
  readonly code: number;
  /** The code's name, such as `LBA Out of Range`; `status 2h/85h` for one that is not in the table. */
  readonly name: string;
  /** Do Not Retry: the same command would fail again. */
  readonly doNotRetry: boolean;
  /** More: the Error Information log page says more. */
  readonly more: boolean;
  /** Command Retry Delay, 0 to 3: which of the delays of Identify Controller to wait before a retry. */
  readonly retryDelay: number;
}

/** Where each field stands in the 15 bits. Source: section 4.6.1, bits 31:17 of completion dword 3. */
export const statusFields = {
  code: { low: 0, width: 8 },
  type: { low: 8, width: 3 },
  retryDelay: { low: 11, width: 2 },
  more: { low: 13, width: 1 },
  doNotRetry: { low: 14, width: 1 },
} as const;

const typeNames: Readonly<Record<number, string>> = {
  0: 'generic',
  1: 'command specific',
  2: 'media and data integrity',
  3: 'path',
  7: 'vendor specific',
};

/** Names of status codes, by type and code. Source: section 4.6.1.2. */
export const statusNames: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  // 4.6.1.2.1 Generic Command Status
  0: {
    0: 'Successful Completion',
    1: 'Invalid Command Opcode',
    2: 'Invalid Field in Command',
    3: 'Command ID Conflict',
    4: 'Data Transfer Error',
    5: 'Commands Aborted due to Power Loss Notification',
    6: 'Internal Error',
    7: 'Command Abort Requested',
    8: 'Command Aborted due to SQ Deletion',
    9: 'Command Aborted due to Failed Fused Command',
    10: 'Command Aborted due to Missing Fused Command',
    11: 'Invalid Namespace or Format',
    12: 'Command Sequence Error',
    13: 'Invalid SGL Segment Descriptor',
    14: 'Invalid Number of SGL Descriptors',
    15: 'Data SGL Length Invalid',
    16: 'Metadata SGL Length Invalid',
    17: 'SGL Descriptor Type Invalid',
    18: 'Invalid Use of Controller Memory Buffer',
    19: 'PRP Offset Invalid',
    20: 'Atomic Write Unit Exceeded',
    21: 'Operation Denied',
    22: 'SGL Offset Invalid',
    24: 'Host Identifier Inconsistent Format',
    25: 'Keep Alive Timer Expired',
    26: 'Keep Alive Timeout Invalid',
    27: 'Command Aborted due to Preempt and Abort',
    28: 'Sanitize Failed',
    29: 'Sanitize In Progress',
    30: 'SGL Data Block Granularity Invalid',
    31: 'Command Not Supported for Queue in CMB',
    32: 'Namespace is Write Protected',
    33: 'Command Interrupted',
    34: 'Transient Transport Error',
    128: 'LBA Out of Range',
    129: 'Capacity Exceeded',
    130: 'Namespace Not Ready',
    131: 'Reservation Conflict',
    132: 'Format In Progress',
  },
  // 4.6.1.2.2 Command Specific Status
  1: {
    0: 'Completion Queue Invalid',
    1: 'Invalid Queue Identifier',
    2: 'Invalid Queue Size',
    3: 'Abort Command Limit Exceeded',
    5: 'Asynchronous Event Request Limit Exceeded',
    6: 'Invalid Firmware Slot',
    7: 'Invalid Firmware Image',
    8: 'Invalid Interrupt Vector',
    9: 'Invalid Log Page',
    10: 'Invalid Format',
    11: 'Firmware Activation Requires Conventional Reset',
    12: 'Invalid Queue Deletion',
    13: 'Feature Identifier Not Saveable',
    14: 'Feature Not Changeable',
    15: 'Feature Not Namespace Specific',
    16: 'Firmware Activation Requires NVM Subsystem Reset',
    17: 'Firmware Activation Requires Controller Level Reset',
    18: 'Firmware Activation Requires Maximum Time Violation',
    19: 'Firmware Activation Prohibited',
    20: 'Overlapping Range',
    21: 'Namespace Insufficient Capacity',
    22: 'Namespace Identifier Unavailable',
    24: 'Namespace Already Attached',
    25: 'Namespace Is Private',
    26: 'Namespace Not Attached',
    27: 'Thin Provisioning Not Supported',
    28: 'Controller List Invalid',
    29: 'Device Self-test In Progress',
    30: 'Boot Partition Write Prohibited',
    31: 'Invalid Controller Identifier',
    32: 'Invalid Secondary Controller State',
    33: 'Invalid Number of Controller Resources',
    34: 'Invalid Resource Identifier',
    35: 'Sanitize Prohibited While Persistent Memory Region is Enabled',
    36: 'ANA Group Identifier Invalid',
    37: 'ANA Attach Failed',
    128: 'Conflicting Attributes',
    129: 'Invalid Protection Information',
    130: 'Attempted Write to Read Only Range',
  },
  // 4.6.1.2.3 Media and Data Integrity Errors
  2: {
    128: 'Write Fault',
    129: 'Unrecovered Read Error',
    130: 'End-to-end Guard Check Error',
    131: 'End-to-end Application Tag Check Error',
    132: 'End-to-end Reference Tag Check Error',
    133: 'Compare Failure',
    134: 'Access Denied',
    135: 'Deallocated or Unwritten Logical Block',
  },
  // 4.6.1.2.4 Path Related Status
  3: {
    0: 'Internal Path Error',
    1: 'Asymmetric Access Persistent Loss',
    2: 'Asymmetric Access Inaccessible',
    3: 'Asymmetric Access Transition',
    96: 'Controller Pathing Error',
    112: 'Host Pathing Error',
    113: 'Command Aborted By Host',
  },
};

const field = (value: number, { low, width }: { low: number; width: number }) => (value >>> low) & ((1 << width) - 1);

function decode(value: number): NvmeStatus {
  const type = field(value, statusFields.type);
  const code = field(value, statusFields.code);
  return {
    value,
    success: type === 0 && code === 0,
    type,
    typeName: typeNames[type] ?? 'reserved',
    code,
    name: statusNames[type]?.[code] ?? `status ${type.toString(16)}h/${code.toString(16).padStart(2, '0')}h`,
    doNotRetry: field(value, statusFields.doNotRetry) === 1,
    more: field(value, statusFields.more) === 1,
    retryDelay: field(value, statusFields.retryDelay),
  };
}

/** `NvmeStatus.decode(status)` takes a status of {@link QueuePair.poll} apart. */
export const NvmeStatus = { decode } as const;

/** `ERR_NVME_STATUS` for a command that ended badly; the status is in `details.status`, whole. */
export function statusError(what: string, value: number, details: Readonly<Record<string, unknown>> = {}): VfioError {
  const status = decode(value);
  const again = status.doNotRetry ? 'the same command would fail again' : 'a retry may succeed';
  return new VfioError(
    'ERR_NVME_STATUS',
    `${what} failed: ${status.name} (${status.typeName}, ${status.type.toString(16)}h/${status.code.toString(16)}h); ${again}.`,
    { details: { ...details, status } },
  );
}
