/** Faults that a test asks of the controller. */

import type { Command } from './command.js';

export interface CommandFault {
  /** Only this opcode; any by default. */
  readonly opcode?: number;
  /** `io` by default. */
  readonly queue?: 'io' | 'admin' | 'any';
  /** How many commands it spares first; 0 by default. */
  readonly after?: number;
  /** How many commands it hits; 1 by default, `Infinity` for all that follow. */
  readonly count?: number;
}

interface Armed {
  readonly fault: CommandFault;
  spare: number;
  left: number;
}

/** What the faults need of the controller. */
export interface FaultTarget {
  fail(): void;
}

/**
 * Makes a controller misbehave. Faults stay over resets, as a broken device would; {@link clear} mends it. Those that hit commands take
 * hold at the next command.
 */
export class NvmeFaults {
  /** CSTS.RDY never follows CC.EN. */
  stuckNotReady = false;
  /** Every register reads all-ones, nothing is written, nothing happens. */
  dead = false;
  /** Milliseconds that each I/O command takes. */
  delay = 0;
  private drops: Armed[] = [];
  private failures: (Armed & { readonly status: number })[] = [];

  constructor(private readonly target: FaultTarget) {}

  /** The command is carried out, but its completion never arrives and no interrupt is raised. */
  dropCompletion(fault: CommandFault = {}): void {
    this.drops.push(arm(fault));
  }

  /** The command is not carried out and ends with this status: code in bits 7:0, type in 10:8, Do Not Retry in 14. */
  failCommand(fault: CommandFault & { readonly status: number }): void {
    this.failures.push({ ...arm(fault), status: fault.status });
  }

  /** From the next enabling on, the controller does not become ready. */
  neverReady(): void {
    this.stuckNotReady = true;
  }

  /** The controller reports a fatal state (CSTS.CFS) now, and stops until it is reset. */
  fatal(): void {
    this.target.fail();
  }

  /** I/O commands take this many milliseconds of the machine's time. */
  slow(milliseconds: number): void {
    this.delay = milliseconds;
  }

  /** The device drops off the bus, its configuration space aside: reads give all-ones. */
  allOnes(): void {
    this.dead = true;
  }

  /** No fault any more. What is already lost stays lost. */
  clear(): void {
    this.stuckNotReady = false;
    this.dead = false;
    this.delay = 0;
    this.drops = [];
    this.failures = [];
  }

  /** @internal For the controller: whether this completion is to be lost. */
  takeDrop(command: Command): boolean {
    return take(this.drops, command) !== undefined;
  }

  /** @internal For the controller: the status that this command is to end with. */
  takeFailure(command: Command): number | undefined {
    return take(this.failures, command)?.status;
  }
}

const arm = (fault: CommandFault): Armed => ({ fault, spare: fault.after ?? 0, left: fault.count ?? 1 });

function take<T extends Armed>(list: T[], command: Command): T | undefined {
  for (const armed of list) {
    const { opcode, queue = 'io' } = armed.fault;
    if (opcode !== undefined && opcode !== command.opcode) continue;
    if (queue !== 'any' && (queue === 'admin') !== (command.queue.id === 0)) continue;
    if (armed.spare > 0) {
      armed.spare--;
      continue;
    }
    if (--armed.left <= 0) list.splice(list.indexOf(armed), 1);
    return armed;
  }
  return undefined;
}
