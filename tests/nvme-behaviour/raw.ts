/** An NVMe controller at its registers and queues: what the behaviour cases speak to, whatever stands behind it. */

import type { RegisterWindow } from 'vfio-core';

/** Zeroed memory on pages of its own that the controller reaches. */
export interface RawMemory {
  readonly bytes: Uint8Array;
  readonly address: bigint;
  close(): void;
}

/**
 * A controller without a driver. It has two namespaces and no more: number 1 with blocks of 512 bytes, number 2 with blocks of 4096, each of
 * 16 MiB, and nothing of value on either. Bus mastering and memory decoding are on.
 */
export interface RawNvme {
  /** Where an answer is known to differ, cases ask which one this is. */
  readonly kind: 'model' | 'qemu';
  /** BAR 0. */
  readonly registers: RegisterWindow;
  memory(bytes: number): RawMemory;
  /** An address that the controller cannot reach, where the machine has a way to refuse. */
  readonly unreachable?: bigint;
  /** Gives the controller time to work: about a millisecond. */
  wait(): Promise<void> | void;
  /** Which interrupts are switched on; MSI-X when a case starts, with 8 vectors or more. */
  useInterrupts?(mode: 'msix' | 'intx'): Promise<void> | void;
  /** Interrupts so far: messages of a vector, or whether the pin is asserted (0 or 1). Undefined where nobody listens. */
  interrupts?(vector: number): number;
  /** Function level reset. Bus mastering and memory decoding are on again after it. */
  resetFunction?(): Promise<void> | void;
}

export const offset = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
};

/** CC with 64-byte and 16-byte entries, 4 KiB pages, enabled. */
export const enabled = 0x0046_0001;

/** Milliseconds, about, until a case gives up. */
const patience = 15_000;

/** What goes into a submission queue entry; all else is zero. */
export interface CommandFields {
  readonly opcode: number;
  /** Byte 1: fused operation and PSDT. */
  readonly flags?: number;
  readonly nsid?: number;
  readonly prp1?: bigint;
  readonly prp2?: bigint;
  readonly cdw10?: number;
  readonly cdw11?: number;
  readonly cdw12?: number;
  readonly cdw13?: number;
}

export interface Completion {
  readonly result: number;
  readonly head: number;
  readonly queue: number;
  readonly id: number;
  /** 15 bits: code, type, more, do not retry. */
  readonly status: number;
}

/** Throws, with both values in hexadecimal, unless they are equal. */
export function equal(actual: number | bigint | boolean | string, expected: typeof actual, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${show(expected)}, got ${show(actual)}`);
}

export function truth(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const show = (value: number | bigint | boolean | string): string =>
  typeof value === 'number' || typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value);

/** Waits until the condition holds. */
export async function until(raw: RawNvme, what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < patience; i++) {
    if (condition()) return;
    await raw.wait();
  }
  throw new Error(`this never came: ${what}`);
}

/** Gives the controller ample time to do what it should not do. */
export async function settle(raw: RawNvme): Promise<void> {
  for (let i = 0; i < 20; i++) await raw.wait();
}

/** A pair of queues as a driver of a few lines would hold it. */
export class RawQueues {
  tail = 0;
  head = 0;
  phase = 1;
  private nextId = 0x100;
  private readonly entries: DataView;
  private readonly completions: DataView;

  constructor(
    private readonly raw: RawNvme,
    /** Number of the submission queue and of the completion queue. */
    readonly id: number,
    readonly completionId: number,
    readonly submission: RawMemory,
    readonly completion: RawMemory,
    readonly submissionSize: number,
    readonly completionSize: number,
    private readonly stride: number,
  ) {
    this.entries = viewOf(submission.bytes);
    this.completions = viewOf(completion.bytes);
  }

  /** Puts a command into the queue without telling the controller. Answers its identifier. */
  put(fields: CommandFields): number {
    const id = this.nextId++;
    const at = this.tail * 64;
    this.submission.bytes.fill(0, at, at + 64);
    const view = this.entries;
    view.setUint8(at, fields.opcode);
    view.setUint8(at + 1, fields.flags ?? 0);
    view.setUint16(at + 2, id, true);
    view.setUint32(at + 4, fields.nsid ?? 0, true);
    view.setBigUint64(at + 24, fields.prp1 ?? 0n, true);
    view.setBigUint64(at + 32, fields.prp2 ?? 0n, true);
    view.setUint32(at + 40, fields.cdw10 ?? 0, true);
    view.setUint32(at + 44, fields.cdw11 ?? 0, true);
    view.setUint32(at + 48, fields.cdw12 ?? 0, true);
    view.setUint32(at + 52, fields.cdw13 ?? 0, true);
    this.tail = (this.tail + 1) % this.submissionSize;
    return id;
  }

  ring(tail = this.tail): void {
    this.raw.registers.write32(0x1000 + 2 * this.id * this.stride, tail);
  }

  /** Takes the next completion if it is there. The head doorbell is not rung. */
  take(): Completion | undefined {
    const at = this.head * 16;
    const last = this.completions.getUint16(at + 14, true);
    if ((last & 1) !== this.phase) return undefined;
    const completion = {
      result: this.completions.getUint32(at, true),
      head: this.completions.getUint16(at + 8, true),
      queue: this.completions.getUint16(at + 10, true),
      id: this.completions.getUint16(at + 12, true),
      status: last >>> 1,
    };
    this.head = (this.head + 1) % this.completionSize;
    if (this.head === 0) this.phase ^= 1;
    return completion;
  }

  acknowledge(head = this.head): void {
    this.raw.registers.write32(0x1000 + (2 * this.completionId + 1) * this.stride, head);
  }

  /** The next completion, acknowledged. */
  async next(): Promise<Completion> {
    let completion: Completion | undefined;
    await until(this.raw, `a completion in queue ${this.completionId}`, () => {
      completion = this.take();
      return completion !== undefined;
    });
    this.acknowledge();
    return completion as Completion;
  }

  /** One command from beginning to end. */
  async run(fields: CommandFields): Promise<Completion> {
    const id = this.put(fields);
    this.ring();
    const completion = await this.next();
    equal(completion.id, id, 'command identifier of the completion');
    equal(completion.queue, this.id, 'submission queue identifier of the completion');
    return completion;
  }

  /** One command that must end with this status. */
  async status(expected: number, what: string, fields: CommandFields): Promise<Completion> {
    const completion = await this.run(fields);
    equal(completion.status, expected, `status of ${what}`);
    return completion;
  }

  /** Nothing has arrived, and nothing does. */
  async silent(what: string): Promise<void> {
    await settle(this.raw);
    truth(this.take() === undefined, `${what}: a completion arrived`);
  }
}

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Where queues are to lie, if not at any page: bytes to allocate at least, and how to choose the place in them. */
export interface Placement {
  readonly room?: number;
  readonly align?: (memory: RawMemory) => RawMemory;
}

/** Brings a controller up for one case, and down again after it. */
export class RawController {
  admin!: RawQueues;
  private readonly held: RawMemory[] = [];

  constructor(readonly raw: RawNvme) {}

  get kind(): 'model' | 'qemu' {
    return this.raw.kind;
  }
  get registers(): RegisterWindow {
    return this.raw.registers;
  }
  get stride(): number {
    return 4 << (this.registers.read32(offset.CAP + 4) & 15);
  }

  memory(bytes: number): RawMemory {
    const memory = this.raw.memory(bytes);
    this.held.push(memory);
    return memory;
  }

  /** CC.EN off, and CSTS clean. */
  async disable(): Promise<void> {
    this.registers.write32(offset.CC, 0);
    await until(this.raw, 'CSTS.RDY and CSTS.CFS clear', () => (this.registers.read32(offset.CSTS) & 3) === 0);
  }

  /** Sets the admin queue up and enables the controller. */
  async enable(
    admin: { submissionSize?: number; completionSize?: number; cc?: number } & Placement = {},
  ): Promise<this> {
    await this.disable();
    const { submissionSize = 32, completionSize = 32, cc = enabled } = admin;
    this.admin = this.pair(0, 0, submissionSize, completionSize, admin);
    this.registers.write32(offset.AQA, ((completionSize - 1) << 16) | (submissionSize - 1));
    this.registers.write64(offset.ASQ, this.admin.submission.address);
    this.registers.write64(offset.ACQ, this.admin.completion.address);
    this.registers.write32(offset.CC, cc);
    await until(this.raw, 'CSTS.RDY', () => (this.registers.read32(offset.CSTS) & 1) === 1);
    return this;
  }

  /** Memory of a pair of queues; the controller hears nothing of it. */
  pair(
    id: number,
    completionId: number,
    submissionSize: number,
    completionSize: number,
    placement: Placement = {},
  ): RawQueues {
    const { room = 0, align = (memory) => memory } = placement;
    const submission = align(this.memory(Math.max(submissionSize * 64, room)));
    const completion = align(this.memory(Math.max(completionSize * 16, room)));
    return new RawQueues(
      this.raw,
      id,
      completionId,
      submission,
      completion,
      submissionSize,
      completionSize,
      this.stride,
    );
  }

  /** A pair of I/O queues, created. */
  async queues(
    id = 1,
    options: {
      submissionSize?: number;
      completionSize?: number;
      vector?: number;
      interrupts?: boolean;
    } & Placement = {},
  ): Promise<RawQueues> {
    const { submissionSize = 16, completionSize = 16, vector = 0, interrupts = false } = options;
    const queues = this.pair(id, id, submissionSize, completionSize, options);
    await this.admin.status(0, 'Create I/O Completion Queue', {
      opcode: 0x05,
      prp1: queues.completion.address,
      cdw10: ((completionSize - 1) << 16) | id,
      cdw11: (vector << 16) | (interrupts ? 3 : 1),
    });
    await this.admin.status(0, 'Create I/O Submission Queue', {
      opcode: 0x01,
      prp1: queues.submission.address,
      cdw10: ((submissionSize - 1) << 16) | id,
      cdw11: (id << 16) | 1,
    });
    return queues;
  }

  /** The 4096 bytes of an Identify. */
  async identify(structure: number, nsid = 0): Promise<DataView> {
    const page = this.memory(4096);
    page.bytes.fill(0xa5);
    await this.admin.status(0, `Identify, CNS ${structure}`, {
      opcode: 0x06,
      nsid,
      prp1: page.address,
      cdw10: structure,
    });
    return viewOf(page.bytes);
  }

  async close(): Promise<void> {
    try {
      await this.disable();
    } finally {
      for (const memory of this.held) memory.close();
    }
  }
}

/** One thing that the controller does. */
export interface Behaviour {
  readonly title: string;
  /** How QEMU's controller is known to answer otherwise; the case then expects that of it. */
  readonly note?: string;
  /** What the place that runs the case must offer. */
  readonly needs?: 'interrupts' | 'pin' | 'refusal' | 'function reset';
  run(controller: RawController): Promise<void>;
}

/** Whether a case can be run here. */
export function possible(behaviour: Behaviour, raw: RawNvme): boolean {
  switch (behaviour.needs) {
    case 'interrupts':
      return raw.interrupts !== undefined;
    case 'pin':
      return raw.interrupts !== undefined && raw.useInterrupts !== undefined;
    case 'refusal':
      return raw.unreachable !== undefined;
    case 'function reset':
      return raw.resetFunction !== undefined;
    default:
      return true;
  }
}

/** Runs one case on a controller in any state, and leaves it disabled. */
export async function runBehaviour(behaviour: Behaviour, raw: RawNvme): Promise<void> {
  const controller = new RawController(raw);
  try {
    await behaviour.run(controller);
  } finally {
    await controller.close();
  }
}
