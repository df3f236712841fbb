/** From what a system call answers (a negative errno) to an error that says what to do. */

import type { ErrorCode } from './codes.js';
import { type Errno, errnoName } from './errno.js';
import { type ErrorFacts, VfioError } from './error.js';

/** What the caller knows about a call that failed. */
export interface CallFacts extends Omit<ErrorFacts, 'errno'> {
  /** What was tried, as the start of a sentence: `opening IOMMU group 7`. By default the system call and its request. */
  readonly what?: string;
  /** Replaces the general meaning of the errno, where the caller knows better. */
  readonly code?: ErrorCode;
  /** Replaces the codes of single errnos: `{ EINVAL: 'ERR_VFIO_NOT_SUPPORTED' }`. */
  readonly codes?: Readonly<Partial<Record<keyof typeof Errno, ErrorCode>>>;
  /** What single errnos mean here, where that is more than in general: `{ EBUSY: 'a device is attached to it' }`. */
  readonly means?: Readonly<Partial<Record<keyof typeof Errno, string>>>;
}

const general: Partial<Record<keyof typeof Errno, ErrorCode>> = {
  EPERM: 'ERR_VFIO_PERMISSION',
  EACCES: 'ERR_VFIO_PERMISSION',
  EBUSY: 'ERR_VFIO_BUSY',
  EAGAIN: 'ERR_VFIO_BUSY',
  ENOMEM: 'ERR_VFIO_NO_MEMORY',
  ENODEV: 'ERR_VFIO_DEVICE_GONE',
  ENOTTY: 'ERR_VFIO_NOT_SUPPORTED',
};

const meanings: Partial<Record<keyof typeof Errno, string>> = {
  EPERM: 'the kernel refused it for lack of rights',
  EACCES: 'the file may not be opened that way by this user',
  EBUSY: 'it is in use',
  EAGAIN: 'it is held for the moment',
  ENOMEM: 'there was not enough memory, or not enough locked memory allowed',
  ENODEV: 'the device is gone',
  ENOENT: 'there is no such file',
  ENOTTY: 'the kernel does not know this call',
  EINVAL: 'the kernel did not accept the arguments',
  EMFILE: 'this process has too many files open',
  EBADF: 'the descriptor is not open',
};

/**
 * The error for a system call that answered `result`.
 * @param result a negative errno
 */
export function systemError(result: number, facts: CallFacts = {}): VfioError {
  const errno = -result;
  const name = errnoName(errno) as keyof typeof Errno;
  const code = facts.codes?.[name] ?? facts.code ?? general[name] ?? 'ERR_VFIO_SYSTEM';
  const { what, code: _code, codes: _codes, means, ...rest } = facts;
  const call = [facts.syscall, facts.request].filter(Boolean).join(' ');
  const subject = what ?? (call === '' ? 'a system call' : call);
  return new VfioError(code, `${subject} failed: ${means?.[name] ?? meanings[name] ?? errnoName(errno)}.`, {
    ...rest,
    errno,
  });
}

/** Gives `result` back when it is 0 or more, and throws {@link systemError} when it is a negative errno. */
export function check(result: number, facts: CallFacts = {}): number {
  if (result < 0) throw systemError(result, facts);
  return result;
}
