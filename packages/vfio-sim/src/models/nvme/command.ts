/** A command while the controller works on it: NVMe 1.4, section 4.2 (figure 105). */

import type { SubmissionQueue } from './queues.js';
import { permanent, Status } from './status.js';

/** A handler answers this instead of a status when the command stays open (an asynchronous event request). */
export const held = -1;

/** One submission queue entry, and what will go into its completion. */
export class Command {
  static readonly bytes = 64;
  readonly bytes = new Uint8Array(Command.bytes);
  readonly view = new DataView(this.bytes.buffer);
  /** Dword 0 of the completion. */
  result = 0;
  /** Ended before its time came: by an abort, or because its queue went away. */
  cancelled = false;

  constructor(readonly queue: SubmissionQueue) {}

  get opcode(): number {
    return this.bytes[0] as number;
  }
  /** Fused operation, 0 for none. */
  get fuse(): number {
    return (this.bytes[1] as number) & 3;
  }
  /** PRP or SGL for data transfer, 0 for PRP. */
  get transfer(): number {
    return (this.bytes[1] as number) >> 6;
  }
  get id(): number {
    return this.view.getUint16(2, true);
  }
  get namespaceId(): number {
    return this.dword(1);
  }
  get prp1(): bigint {
    return this.view.getBigUint64(24, true);
  }
  get prp2(): bigint {
    return this.view.getBigUint64(32, true);
  }
  /** Command dword `n` (CDW10 is 10), unsigned. */
  dword(n: number): number {
    return this.view.getUint32(n * 4, true);
  }
  /** Starting block of a command on blocks. Past 2^53 it is not exact, which is far outside any disk. */
  get firstBlock(): number {
    return this.dword(11) * 2 ** 32 + this.dword(10);
  }
  /** Number of blocks of a command on blocks; the field counts from 0. */
  get blockCount(): number {
    return (this.dword(12) & 0xffff) + 1;
  }
}

/** Neither scatter gather lists nor fused operations exist here. */
export function checkFlags(command: Command): number {
  if (command.transfer !== 0) return permanent(Status.invalidField);
  return command.fuse === 0 ? Status.success : Status.invalidField;
}
