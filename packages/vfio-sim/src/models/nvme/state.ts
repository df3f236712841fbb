/** The parts of a controller, as its commands see them. */

import type { DeviceBus } from '../../model/contract.js';
import type { Events } from './events.js';
import type { Features } from './features.js';
import type { Logs } from './logs.js';
import type { Namespaces } from './namespaces.js';
import type { FullOptions } from './options.js';
import type { Queues } from './queues.js';

export interface ControllerState {
  readonly bus: DeviceBus;
  readonly options: FullOptions;
  readonly namespaces: Namespaces;
  readonly queues: Queues;
  readonly events: Events;
  readonly features: Features;
  readonly logs: Logs;
  /** Bytes of a memory page, as CC.MPS said when the controller was enabled. */
  readonly pageSize: number;
  /** Whether the host chose the entry sizes that I/O queues need (CC.IOSQES, CC.IOCQES). */
  readonly entrySizesChosen: { readonly submission: boolean; readonly completion: boolean };
  /** Room for a command's data, the same each time: good until the next call. */
  buffer(length: number): Uint8Array;
  /** A queue went, and with it what it had to announce. */
  queuesChanged(): void;
}
