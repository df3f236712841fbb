/** The one place where the default backend is chosen. */

import { defaultBackend as platformBackend } from '#default-backend';
import type { SystemCalls } from './seam/system-calls.js';

/** Every function that opens something takes this; a function that is given a device uses that device's backend. */
export interface BackendOption {
  /** Where the system calls go. By default {@link defaultBackend}. */
  readonly backend?: SystemCalls | undefined;
}

/**
 * The Linux of this process where it runs on Node.js.
 * Throws `ERR_VFIO_NO_BACKEND` elsewhere, and where the native part cannot be loaded.
 */
export const defaultBackend = (): SystemCalls => platformBackend();
