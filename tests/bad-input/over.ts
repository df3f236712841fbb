/** A seam over a seam: some calls answered by a test, all others by the backend below. */

import type { SystemCalls } from 'vfio-core';

export function over(below: SystemCalls, calls: Partial<SystemCalls>): SystemCalls {
  return new Proxy(below, {
    get(target, name) {
      const own = calls[name as keyof SystemCalls];
      if (own !== undefined) return own;
      const value = target[name as keyof SystemCalls];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
