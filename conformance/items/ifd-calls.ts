/** What the items of iommufd witness by edu's DMA. */

import type { World } from '../src/world.js';
import { dma } from './t1-calls.js';

/**
 * Whether edu writes to `iova`, behind which `bytes` stand. What edu has to write nobody knows: it keeps its buffer from one item
 * to the next.
 */
export async function reaches(w: World, device: number, iova: bigint, bytes: Uint8Array): Promise<boolean> {
  for (const value of [0x55, 0xaa]) {
    bytes.fill(value, 0, 4);
    await dma(w, device, 'to memory', iova, 4);
    if (bytes.subarray(0, 4).some((byte) => byte !== value)) return true;
  }
  return false;
}
