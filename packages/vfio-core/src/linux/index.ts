/** The Linux backend: system calls of this machine's kernel. */

import type { SystemCalls } from '../seam/system-calls.js';
import { LinuxSystemCalls } from './system-calls.js';

// One per thread, since every Worker evaluates its own modules. Holds nothing until its first call.
const system = new LinuxSystemCalls();

/**
 * The system calls of this machine's Linux, for this thread: `{ backend: linux() }`. It is also what everything uses that
 * is given no backend.
 *
 * It holds a small native addon, which is loaded by the first call that needs it, so that importing this is free of
 * effects. Files, `now` and `sleep` work without. Elsewhere than on Linux (x86-64 or arm64), and where the addon is
 * missing, that call throws `ERR_VFIO_NO_BACKEND`.
 *
 * At process exit (by `process.exit()` or an uncaught exception too) and at the end of a Worker, what is still open is put
 * to rest; a signal that kills the process leaves that to the kernel.
 */
export const linux = (): SystemCalls => system;

/** The backend of everything that is given none. */
export const defaultBackend = linux;
