/** Interrupts over VFIO: INTx, MSI, MSI-X and the two events, through eventfds. */

export { AttachedInterrupt } from './attached-interrupt.js';
export { EventCounter, type WaitOptions } from './event-counter.js';
export { Interrupt } from './interrupt.js';
export type { InterruptSet } from './interrupt-set.js';
export { type EnableOptions, type Interrupts, interrupts } from './interrupts.js';
export type { EventKind, InterruptKind } from './modes.js';
export type { InterruptTicket } from './ticket.js';
