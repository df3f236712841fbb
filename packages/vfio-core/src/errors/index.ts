export { type ErrorCode, type ErrorKind, errorKinds } from './codes.js';
export { Errno, errnoName } from './errno.js';
export { type ErrorFacts, isConfiguration, isDeviceGone, isRetryable, isVfioError, VfioError } from './error.js';
export { type CallFacts, check, systemError } from './system-error.js';
