/** Which memory of the program has an address: what does not move, by the same test as the Linux backend's. */

export { isImmovable } from 'vfio-core';
