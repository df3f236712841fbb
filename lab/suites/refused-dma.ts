/** What the IOMMU kept a device from, by the word of the kernel's own driver. */

import { kernelLog } from './guest.js';

export interface RefusedDma {
  readonly address: bigint;
  /** The device wanted to write; else to read. */
  readonly write: boolean;
}

/** In the order of the kernel's log, which leaves out some of many. @param device `01:00.0` */
export const refusedDma = (device: string): RefusedDma[] =>
  kernelLog().flatMap(({ text }) => {
    const found = /DMAR: \[DMA (Read|Write) NO_PASID\] Request device \[(\S+)\] fault addr (0x[0-9a-f]+)/.exec(text);
    if (found === null || found[2] !== device) return [];
    return [{ address: BigInt(found[3] as string), write: found[1] === 'Write' }];
  });
