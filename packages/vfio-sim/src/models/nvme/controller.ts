/** An NVMe controller: its registers, and its life between disabled, ready, shut down and failed. */

import type { DeviceBus, DeviceModel, FunctionDescription } from '../../model/contract.js';
import { executeAdmin } from './admin.js';
import { type Command, held } from './command.js';
import { nvmeFunction } from './config.js';
import { ErrorEvent, Events, EventType } from './events.js';
import { NvmeFaults } from './faults.js';
import { Features } from './features.js';
import { Interrupts } from './interrupts.js';
import { executeIo } from './io.js';
import { Logs } from './logs.js';
import { Namespaces } from './namespaces.js';
import type { FullOptions } from './options.js';
import { CompletionQueue, type QueueOwner, Queues, SubmissionQueue } from './queues.js';
import {
  ControllerStatus,
  capabilities,
  configuration,
  entrySizes,
  largestPage,
  Register,
  version,
} from './registers.js';
import type { ControllerState } from './state.js';
import { Status } from './status.js';

/** The error log page, for events. */
const errorLogPage = 1;

/**
 * An NVMe 1.4 controller with the NVM command set. Made by `nvmeController(...)`; tests reach {@link faults} through it.
 *
 * Work that a doorbell starts is done later by the machine, never inside the store, and never more than a queue's depth in one go.
 */
export class NvmeController implements DeviceModel, ControllerState, QueueOwner {
  readonly config: FunctionDescription;
  /** What is wrong with this controller, for tests. */
  readonly faults: NvmeFaults = new NvmeFaults(this);
  /** @internal */
  readonly namespaces: Namespaces;
  /** @internal */
  readonly queues: Queues;
  /** @internal */
  readonly events: Events;
  /** @internal */
  readonly features: Features;
  /** @internal */
  readonly logs: Logs;
  pageSize = 4096;

  private readonly capabilities: bigint;
  private readonly interrupts: Interrupts;
  private cc = 0;
  private csts = 0;
  private aqa = 0;
  private asq = 0n;
  private acq = 0n;
  /** Rises with every reset, so that what was begun before it comes to nothing. */
  private epoch = 0;
  private scratch = new Uint8Array(0);

  /** @internal */
  constructor(
    readonly bus: DeviceBus,
    /** @internal */
    readonly options: FullOptions,
  ) {
    this.config = nvmeFunction(options);
    this.capabilities = capabilities(options);
    this.namespaces = new Namespaces(options.disks, options.namespaces);
    this.queues = new Queues(this);
    this.interrupts = new Interrupts(bus, () => this.queues.completion.values());
    this.events = new Events();
    this.features = new Features(
      options.queues,
      options.vectors,
      options.writeCache,
      this.namespaces,
      () => this.queues.submission.size + this.queues.completion.size > 2,
    );
    const start = bus.now();
    this.logs = new Logs(options.firmware, this.namespaces, this.events, () => (bus.now() - start) / 3_600_000);
  }

  read(bar: number, offset: number, width: 1 | 2 | 4): number {
    const mask = 2 ** (width * 8) - 1;
    if (this.faults.dead) return mask;
    if (bar !== 0) return 0;
    return Math.floor(this.register(offset & ~3) / 2 ** ((offset & 3) * 8)) % (mask + 1);
  }

  read64(bar: number, offset: number): bigint {
    if (this.faults.dead) return 0xffff_ffff_ffff_ffffn;
    return (BigInt(this.read(bar, offset + 4, 4)) << 32n) | BigInt(this.read(bar, offset, 4));
  }

  /** Registers are written whole: 32 bits, or 64 bits of which either half may be written alone. Narrower stores are dropped. */
  write(bar: number, offset: number, width: 1 | 2 | 4, value: number): void {
    if (this.faults.dead || bar !== 0 || width !== 4 || offset % 4 !== 0) return;
    if (offset >= Register.doorbells) {
      this.doorbell(offset - Register.doorbells, value & 0xffff);
      return;
    }
    switch (offset) {
      case Register.INTMS:
        this.interrupts.setMask(value);
        break;
      case Register.INTMC:
        this.interrupts.clearMask(value);
        break;
      case Register.CC:
        this.configure(value >>> 0);
        break;
      case Register.AQA:
        this.aqa = (value & 0x0fff_0fff) >>> 0;
        break;
      case Register.ASQ:
        this.asq = withLow(this.asq, value);
        break;
      case Register.ASQ + 4:
        this.asq = withHigh(this.asq, value);
        break;
      case Register.ACQ:
        this.acq = withLow(this.acq, value);
        break;
      case Register.ACQ + 4:
        this.acq = withHigh(this.acq, value);
        break;
    }
  }

  write64(bar: number, offset: number, value: bigint): void {
    this.write(bar, offset, 4, Number(value & 0xffff_ffffn));
    // The other half belongs to the same register in these two alone.
    if (offset === Register.ASQ || offset === Register.ACQ) this.write(bar, offset + 4, 4, Number(value >> 32n));
  }

  /** Function level reset: as after power-on. Faults stay. */
  reset(): void {
    this.drop();
    this.cc = 0;
    this.csts = 0;
    this.aqa = 0;
    this.asq = 0n;
    this.acq = 0n;
  }

  close(): void {
    this.drop();
    for (const { disk } of this.namespaces) disk.close();
  }

  // What faults, queues and commands call.

  /** @internal */
  get entrySizesChosen(): { readonly submission: boolean; readonly completion: boolean } {
    // Looked at when a queue is created: the host may write them after it enabled the controller.
    const { submissionEntry, completionEntry } = configuration(this.cc);
    return {
      submission: submissionEntry === entrySizes.submission,
      completion: completionEntry === entrySizes.completion,
    };
  }

  fail(): void {
    this.csts |= ControllerStatus.fatal;
  }

  get stopped(): boolean {
    return (this.csts & ControllerStatus.fatal) !== 0 || this.faults.dead;
  }

  /** @internal */
  execute(command: Command, done: (status: number) => void): void {
    const admin = command.queue.id === 0;
    const epoch = this.epoch;
    const run = () => {
      if (epoch !== this.epoch || command.cancelled || this.stopped) return;
      const status =
        this.faults.takeFailure(command) ?? (admin ? executeAdmin(this, command, done) : executeIo(this, command));
      if (status === held) return;
      if (status !== Status.success) this.logs.record(command, status);
      done(status);
    };
    if (!admin && this.faults.delay > 0) this.bus.schedule(this.faults.delay, run);
    else run();
  }

  /** @internal */
  completed(queue: CompletionQueue): void {
    this.interrupts.announce(queue);
  }

  /** @internal */
  queuesChanged(): void {
    this.interrupts.acknowledge();
  }

  /** @internal */
  unreachable(): void {
    this.fail();
  }

  /** @internal */
  loses(command: Command): boolean {
    return this.faults.takeDrop(command);
  }

  buffer(length: number): Uint8Array {
    if (this.scratch.length < length) this.scratch = new Uint8Array(length);
    return this.scratch.subarray(0, length);
  }

  private register(offset: number): number {
    switch (offset) {
      case Register.CAP:
        return low(this.capabilities);
      case Register.CAP + 4:
        return high(this.capabilities);
      case Register.VS:
        return version;
      case Register.INTMS:
      case Register.INTMC:
        return this.interrupts.mask;
      case Register.CC:
        return this.cc;
      case Register.CSTS:
        return this.csts;
      case Register.AQA:
        return this.aqa;
      case Register.ASQ:
        return low(this.asq);
      case Register.ASQ + 4:
        return high(this.asq);
      case Register.ACQ:
        return low(this.acq);
      case Register.ACQ + 4:
        return high(this.acq);
      default:
        return 0;
    }
  }

  /** A store to CC: section 3.1.5. */
  private configure(value: number): void {
    const before = configuration(this.cc);
    const after = configuration(value);
    this.cc = value;
    if (after.enabled && !before.enabled) this.later(this.options.readyDelay, () => this.start());
    else if (!after.enabled && before.enabled) this.stop();
    if (after.shutdown !== 0 && before.shutdown === 0) this.shutDown();
    else if (after.shutdown === 0 && before.shutdown !== 0) this.csts &= ~ControllerStatus.shutdownMask;
  }

  /** Becomes ready, or fails on what the host asked for: section 7.6.1. */
  private start(): void {
    if (this.faults.stuckNotReady || this.stopped) return;
    const cc = configuration(this.cc);
    const submissionEntries = (this.aqa & 0xfff) + 1;
    const completionEntries = ((this.aqa >>> 16) & 0xfff) + 1;
    const page = BigInt(cc.pageSize);
    const wrong =
      cc.pageSize > largestPage ||
      cc.commandSet !== 0 ||
      cc.arbitration !== 0 ||
      (cc.submissionEntry !== 0 && cc.submissionEntry !== entrySizes.submission) ||
      (cc.completionEntry !== 0 && cc.completionEntry !== entrySizes.completion) ||
      submissionEntries < 2 ||
      completionEntries < 2 ||
      this.asq % page !== 0n ||
      this.acq % page !== 0n;
    if (wrong) {
      this.fail();
      return;
    }
    this.pageSize = cc.pageSize;
    const completion = new CompletionQueue(0, this.acq, completionEntries, 0, true);
    this.queues.addCompletion(completion);
    this.queues.addSubmission(new SubmissionQueue(0, this.asq, submissionEntries, completion));
    this.csts |= ControllerStatus.ready;
  }

  /** Controller reset: section 7.3.2. The admin queue's registers keep their values. */
  private stop(): void {
    this.drop();
    this.later(0, () => {
      this.csts = 0;
    });
  }

  private shutDown(): void {
    this.csts = (this.csts & ~ControllerStatus.shutdownMask) | ControllerStatus.shutdownOccurring;
    this.later(0, () => {
      for (const namespace of this.namespaces) {
        try {
          namespace.disk.flush();
        } catch {
          this.logs.statistics.mediaErrors++;
        }
      }
      if (configuration(this.cc).shutdown === 0) return;
      this.csts = (this.csts & ~ControllerStatus.shutdownMask) | ControllerStatus.shutdownComplete;
    });
  }

  /** Forgets queues and all that is under way. */
  private drop(): void {
    this.epoch++;
    this.queues.clear();
    this.events.reset();
    this.features.reset();
    this.interrupts.reset();
  }

  private later(delay: number, work: () => void): void {
    const epoch = this.epoch;
    this.bus.schedule(delay, () => {
      if (epoch === this.epoch && !this.faults.dead) work();
    });
  }

  /** A store to a doorbell: section 3.1.24 and 3.1.25. `offset` counts from the first one. */
  private doorbell(offset: number, value: number): void {
    const index = offset / this.options.doorbellStride;
    if (this.stopped) return;
    const id = index >>> 1;
    const queue = index & 1 ? this.queues.completion.get(id) : this.queues.submission.get(id);
    if (queue === undefined || !Number.isInteger(index)) this.badDoorbell(ErrorEvent.invalidDoorbellRegister);
    else if (value >= queue.size) this.badDoorbell(ErrorEvent.invalidDoorbellValue);
    else if (queue instanceof SubmissionQueue) this.queues.ring(queue, value);
    else {
      this.queues.acknowledge(queue, value);
      this.interrupts.acknowledge();
    }
  }

  /** The store has no effect, but the host is told if it asked to be. */
  private badDoorbell(info: number): void {
    if (this.queues.submission.size > 0)
      this.bus.schedule(0, () => this.events.report(EventType.error, info, errorLogPage));
  }
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);
const high = (value: bigint): number => Number(value >> 32n);
const withLow = (value: bigint, part: number): bigint => (value & ~0xffff_ffffn) | BigInt(part >>> 0);
const withHigh = (value: bigint, part: number): bigint => (value & 0xffff_ffffn) | (BigInt(part >>> 0) << 32n);
