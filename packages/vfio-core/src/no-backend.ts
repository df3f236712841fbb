/** What stands in for the Linux backend where the program does not run on Node.js: a browser, say. */

import { VfioError } from './errors/error.js';
import type { SystemCalls } from './seam/system-calls.js';

/** Throws `ERR_VFIO_NO_BACKEND`: there is no VFIO here, so a backend has to be passed. */
export function defaultBackend(): SystemCalls {
  throw new VfioError(
    'ERR_VFIO_NO_BACKEND',
    'this JavaScript runtime has no access to VFIO: that takes Node.js on Linux.',
  );
}
