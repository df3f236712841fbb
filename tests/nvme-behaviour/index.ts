/**
 * What an NVMe controller does, as cases that speak to registers and queues alone. The same cases run on the software model and on
 * another controller behind a real bus: the model is right only where the two agree. Expected values are literals.
 */

import { adminBehaviour } from './cases/admin.js';
import { eventBehaviour } from './cases/events.js';
import { interruptBehaviour } from './cases/interrupts.js';
import { ioBehaviour } from './cases/io.js';
import { queueBehaviour } from './cases/queues.js';
import { registerBehaviour } from './cases/registers.js';
import { transferBehaviour } from './cases/transfers.js';
import type { Behaviour } from './raw.js';

export { type Behaviour, possible, type RawMemory, type RawNvme, runBehaviour } from './raw.js';

export const nvmeBehaviour: readonly Behaviour[] = [
  ...registerBehaviour,
  ...adminBehaviour,
  ...eventBehaviour,
  ...queueBehaviour,
  ...ioBehaviour,
  ...transferBehaviour,
  ...interruptBehaviour,
];
