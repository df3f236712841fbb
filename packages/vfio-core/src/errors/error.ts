/** One error class for all layers, recognised by a symbol, so that two installed copies of this package understand each other. */

import { type ErrorCode, errorKinds } from './codes.js';
import { errnoName } from './errno.js';

const brand: unique symbol = Symbol.for('vfio-core.VfioError') as never;

/** What an error carries beside its message; all plain data. */
export interface ErrorFacts {
  /** One sentence that says what to do. */
  readonly remedy?: string;
  /** Positive errno, where the kernel said no. */
  readonly errno?: number;
  /** `ioctl`, `open`, `mmap`, ... */
  readonly syscall?: string;
  /** The ioctl's name: `VFIO_GROUP_GET_STATUS`. */
  readonly request?: string;
  /** The file concerned. */
  readonly path?: string;
  /** What the call answered, where that is the point and no errno: `flags 0`. */
  readonly answer?: string;
  /** Facts as data: the group's members, bytes needed and the limit, ranges asked for. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/**
 * An error of this SDK. Its message starts with the code, then says what happened, then what to do, then where:
 *
 * ```text
 * ERR_VFIO_GROUP_NOT_VIABLE: IOMMU group 7 cannot be used: 0000:01:00.1 (Audio device) is bound to snd_hda_intel.
 *   Bind every endpoint of the group to vfio-pci:  vfio bind 0000:01:00.1 --yes
 *   They are functions of one device without ACS between them, and go to one program together.
 *   ioctl VFIO_GROUP_GET_STATUS on /dev/vfio/7, flags 0
 * ```
 */
export class VfioError extends Error {
  readonly code: ErrorCode;
  readonly summary: string;
  readonly remedy: string | undefined;
  readonly errno: number | undefined;
  /** `EINVAL`, ... */
  readonly errnoName: string | undefined;
  readonly syscall: string | undefined;
  readonly request: string | undefined;
  readonly path: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, summary: string, facts: ErrorFacts = {}) {
    const remedy = facts.remedy ?? errorKinds[code].remedy;
    const name = facts.errno === undefined ? undefined : errnoName(facts.errno);
    super(compose(code, summary, remedy, name, facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'VfioError';
    this.code = code;
    this.summary = summary;
    this.remedy = remedy;
    this.errno = facts.errno;
    this.errnoName = name;
    this.syscall = facts.syscall;
    this.request = facts.request;
    this.path = facts.path;
    this.details = facts.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }
}

function compose(code: string, summary: string, remedy: string, errno: string | undefined, facts: ErrorFacts): string {
  const where = [
    [facts.syscall, facts.request].filter(Boolean).join(' '),
    facts.path === undefined ? '' : `on ${facts.path}`,
  ].filter(Boolean);
  const called = [where.join(' '), facts.answer].filter(Boolean).join(', ');
  const place = [called, errno ?? ''].filter(Boolean).join(': ');
  return [`${code}: ${summary}`, remedy, place].filter(Boolean).join('\n  ');
}

/** Whether something thrown is an error of this SDK, of whichever copy. */
export function isVfioError(thrown: unknown): thrown is VfioError {
  return typeof thrown === 'object' && thrown !== null && (thrown as Record<symbol, unknown>)[brand] === true;
}

/** The device is gone: unplugged, revoked, or dead on the bus. */
export const isDeviceGone = (thrown: unknown): boolean =>
  isVfioError(thrown) && errorKinds[thrown.code]?.meaning === 'gone';
/** Trying the same again later may work. */
export const isRetryable = (thrown: unknown): boolean =>
  isVfioError(thrown) && errorKinds[thrown.code]?.meaning === 'retry';
/** The machine has to be set up differently; the program is fine. */
export const isConfiguration = (thrown: unknown): boolean =>
  isVfioError(thrown) && errorKinds[thrown.code]?.meaning === 'configuration';
