/**
 * The order of closing for the backend's own list, which it plays where no JavaScript runs any more: at process exit and at a
 * Worker's end. The same order as `close()`, with the kernel objects behind a device added.
 */
export const exitPhase = {
  interrupts: 0,
  'bus master': 10,
  windows: 20,
  /** Out of the IOMMU while the device is ours: see `closing()` of IovaSpace. */
  'mappings ended': 25,
  device: 30,
  'memory unmapped': 40,
  /** Once no device can reach it. */
  'memory freed': 50,
  group: 60,
  container: 70,
} as const;
