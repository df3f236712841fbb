/** Submission and completion queues: NVMe 1.4, section 4.1. */

import type { DeviceBus } from '../../model/contract.js';
import { Command } from './command.js';
import type { InterruptSource } from './interrupts.js';
import { Status } from './status.js';

/** Where the controller puts results. */
export class CompletionQueue implements InterruptSource {
  static readonly entryBytes = 16;
  /** Next entry that the host will take. */
  head = 0;
  /** Next entry that the controller will write. */
  tail = 0;
  /** 1 on the first round, then inverted each time. */
  phase = 1;
  /** Completions that wait for room. */
  readonly waiting: { readonly command: Command; readonly status: number }[] = [];
  readonly submissionQueues = new Set<SubmissionQueue>();

  constructor(
    readonly id: number,
    readonly base: bigint,
    /** Entries. */
    readonly size: number,
    readonly vector: number,
    readonly interruptsEnabled: boolean,
  ) {}

  get empty(): boolean {
    return this.head === this.tail;
  }
  /** One entry always stays free, else full would look like empty. */
  get full(): boolean {
    return (this.tail + 1) % this.size === this.head;
  }
}

/** Where the host puts commands. */
export class SubmissionQueue {
  /** Next entry that the controller will fetch. */
  head = 0;
  /** Next entry that the host will fill. */
  tail = 0;
  /** A visit is under way. */
  scheduled = false;
  /** Fetched, and no completion written yet. */
  readonly open = new Set<Command>();

  constructor(
    readonly id: number,
    readonly base: bigint,
    /** Entries. */
    readonly size: number,
    readonly completionQueue: CompletionQueue,
  ) {}
}

/** What queues need of the controller. */
export interface QueueOwner {
  readonly bus: DeviceBus;
  /** In a fatal state: nothing is fetched or completed until a reset. */
  readonly stopped: boolean;
  /** Starts a command. `done` may be called at once, later, or never. */
  execute(command: Command, done: (status: number) => void): void;
  /** New entries are in the queue. */
  completed(queue: CompletionQueue): void;
  /** The queue itself cannot be reached. */
  unreachable(): void;
  /** Whether this completion is to be lost on the way (a fault that a test asked for). */
  loses(command: Command): boolean;
}

/** All queues of a controller. Number 0 is the admin queue. */
export class Queues {
  readonly submission = new Map<number, SubmissionQueue>();
  readonly completion = new Map<number, CompletionQueue>();

  constructor(private readonly owner: QueueOwner) {}

  /** Drops everything, as a controller reset does: what is open is never completed. */
  clear(): void {
    for (const queue of this.submission.values()) for (const command of queue.open) command.cancelled = true;
    this.submission.clear();
    this.completion.clear();
  }

  addCompletion(queue: CompletionQueue): void {
    this.completion.set(queue.id, queue);
  }

  addSubmission(queue: SubmissionQueue): void {
    this.submission.set(queue.id, queue);
    queue.completionQueue.submissionQueues.add(queue);
  }

  removeCompletion(queue: CompletionQueue): void {
    this.completion.delete(queue.id);
  }

  /** What is open in the queue is aborted; its completions are written before the queue's deletion is. */
  removeSubmission(queue: SubmissionQueue): void {
    for (const command of [...queue.open]) {
      if (this.waits(command)) continue;
      command.cancelled = true;
      this.complete(command, Status.abortedByQueueDeletion);
    }
    this.post(queue.completionQueue);
    this.submission.delete(queue.id);
    queue.completionQueue.submissionQueues.delete(queue);
  }

  /** Ends an open command before its time. False if there is none, or it is already done. */
  abort(queue: SubmissionQueue, id: number): boolean {
    for (const command of queue.open) {
      if (command.id !== id || this.waits(command)) continue;
      command.cancelled = true;
      this.complete(command, Status.abortRequested);
      this.post(queue.completionQueue);
      return true;
    }
    return false;
  }

  /** The host moved a tail: commands are there. The work itself is done later, never inside the doorbell's store. */
  ring(queue: SubmissionQueue, tail: number): void {
    queue.tail = tail;
    this.visit(queue);
  }

  /** The host moved a head: there is room again. */
  acknowledge(queue: CompletionQueue, head: number): void {
    queue.head = head;
    if (queue.waiting.length > 0) {
      this.owner.bus.schedule(0, () => {
        if (this.completion.get(queue.id) !== queue) return;
        this.post(queue);
        for (const submission of queue.submissionQueues) this.visit(submission);
      });
    }
  }

  /** Ends one command. Written by {@link post}. */
  complete(command: Command, status: number): void {
    const { queue } = command;
    if (this.owner.loses(command)) {
      queue.open.delete(command);
      return;
    }
    queue.completionQueue.waiting.push({ command, status });
  }

  /** Writes waiting completions, as many as there is room for, and announces them together. */
  post(queue: CompletionQueue): void {
    let written = 0;
    while (queue.waiting.length > 0 && !queue.full && !this.owner.stopped) {
      const { command, status } = queue.waiting.shift() as { command: Command; status: number };
      command.queue.open.delete(command);
      if (
        !this.owner.bus.dmaWrite(
          queue.base + BigInt(queue.tail * CompletionQueue.entryBytes),
          entry(command, status, queue.phase),
        )
      ) {
        this.owner.unreachable();
        return;
      }
      queue.tail++;
      if (queue.tail === queue.size) {
        queue.tail = 0;
        queue.phase ^= 1;
      }
      written++;
    }
    if (written > 0) this.owner.completed(queue);
  }

  private waits(command: Command): boolean {
    return command.queue.completionQueue.waiting.some((waiting) => waiting.command === command);
  }

  private visit(queue: SubmissionQueue): void {
    if (queue.scheduled || queue.head === queue.tail || this.owner.stopped) return;
    queue.scheduled = true;
    this.owner.bus.schedule(0, () => {
      queue.scheduled = false;
      if (this.submission.get(queue.id) === queue) this.work(queue);
    });
  }

  /** Fetches what is there at the time, at most the queue's depth. */
  private work(queue: SubmissionQueue): void {
    const end = queue.tail;
    // Completions that find no room are kept, but not without limit.
    while (!this.owner.stopped && queue.head !== end && queue.completionQueue.waiting.length < queue.size) {
      const command = new Command(queue);
      if (!this.owner.bus.dmaRead(queue.base + BigInt(queue.head * Command.bytes), command.bytes)) {
        this.owner.unreachable();
        return;
      }
      queue.head = (queue.head + 1) % queue.size;
      queue.open.add(command);
      let inVisit = true;
      this.owner.execute(command, (status) => {
        if (command.cancelled) return;
        this.complete(command, status);
        if (inVisit) return;
        this.post(queue.completionQueue);
        this.visit(queue);
      });
      inVisit = false;
    }
    this.post(queue.completionQueue);
    if (queue.completionQueue.waiting.length < queue.size) this.visit(queue);
  }
}

/** A completion queue entry: figure 122 and 123. The submission queue's head says how far commands were fetched. */
function entry(command: Command, status: number, phase: number): Uint8Array {
  const bytes = new Uint8Array(CompletionQueue.entryBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, command.result, true);
  view.setUint16(8, command.queue.head, true);
  view.setUint16(10, command.queue.id, true);
  view.setUint16(12, command.id, true);
  view.setUint16(14, (status << 1) | phase, true);
  return bytes;
}
