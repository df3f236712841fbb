/** What items on no-IOMMU mode share. */

import type { World } from './world.js';

/** Runs `body` while no-IOMMU mode is switched off. */
export function whileOff(w: World, body: () => void): void {
  w.setParameter('vfio', 'enable_unsafe_noiommu_mode', 'N');
  try {
    body();
  } finally {
    w.setParameter('vfio', 'enable_unsafe_noiommu_mode', 'Y');
  }
}
