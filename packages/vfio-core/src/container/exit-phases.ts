/**
 * The order of closing for the backend's own list, which it plays where no JavaScript runs any more: at process exit and at a
 * Worker's end. The same order as `close()`, with the kernel objects behind a device added.
 */
export const exitPhase = {
  interrupts: 0,
  'bus master': 10,
  windows: 20,
  device: 30,
  /** Out of the device's reach first: by itself where others have the container too, or else with it, */
  'memory unmapped': 40,
  group: 50,
  container: 60,
  /** then free. */
  'memory freed': 70,
} as const;
