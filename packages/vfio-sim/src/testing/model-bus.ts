/** A machine just large enough to run one device model in a test: flat memory, and a clock and a work queue that move by hand. */

import type { DeviceBus } from '../model/contract.js';

/** Device address of the first byte of memory. High, so that a model which keeps only 32 bits is found out. */
const memoryStart = 0x12_3450_0000n;

export interface ModelBusOptions {
  /** Bytes of memory; 16 MiB by default. */
  readonly memory?: number;
  readonly interruptMode?: DeviceBus['interruptMode'];
}

export class ModelBus implements DeviceBus {
  interruptMode: DeviceBus['interruptMode'];
  /** Vectors in the order in which they were raised. */
  readonly interrupts: number[] = [];
  /** Level of the INTx pin. */
  pin = false;
  /** DMA that was refused. */
  readonly refused: { readonly address: bigint; readonly length: number; readonly write: boolean }[] = [];
  private readonly memory: Uint8Array;
  private allocated = 0;
  private clock = 0;
  private due: { readonly at: number; readonly work: () => void }[] = [];

  constructor(options: ModelBusOptions = {}) {
    this.memory = new Uint8Array(options.memory ?? 1 << 24);
    this.interruptMode = options.interruptMode ?? 'msix';
  }

  /** Zeroed memory on pages of its own. Devices reach what was allocated and nothing else. */
  allocate(bytes: number): { readonly bytes: Uint8Array; readonly address: bigint } {
    const start = this.allocated;
    const end = start + Math.ceil(bytes / 4096) * 4096;
    if (end > this.memory.length) throw new Error(`the test bus has ${this.memory.length} bytes of memory`);
    this.allocated = end;
    return { bytes: this.memory.subarray(start, start + bytes), address: memoryStart + BigInt(start) };
  }

  /** Runs what is due at the present time, what that makes due as well; true if anything was. */
  runDue(): boolean {
    let ran = false;
    for (;;) {
      const next = this.due.findIndex((entry) => entry.at <= this.clock);
      if (next < 0) return ran;
      const [entry] = this.due.splice(next, 1);
      entry?.work();
      ran = true;
    }
  }

  /** Moves the clock on by so many ms and runs what becomes due, in order. */
  advance(milliseconds: number): void {
    const end = this.clock + milliseconds;
    for (;;) {
      this.runDue();
      const next = Math.min(...this.due.map((entry) => entry.at));
      if (next > end) break;
      this.clock = next;
    }
    this.clock = end;
  }

  /** Drops all work, as the machine does at a function reset. */
  dropWork(): void {
    this.due = [];
  }

  interrupt(vector: number): void {
    if (this.interruptMode === 'none') return;
    if (this.interruptMode === 'intx') {
      if (this.pin) return;
      this.pin = true;
    }
    this.interrupts.push(vector);
  }

  lowerInterrupt(): void {
    this.pin = false;
  }

  dmaRead(address: bigint, into: Uint8Array): boolean {
    const at = this.reach(address, into.length, false);
    if (at < 0) return false;
    into.set(this.memory.subarray(at, at + into.length));
    return true;
  }

  dmaWrite(address: bigint, from: Uint8Array): boolean {
    const at = this.reach(address, from.length, true);
    if (at < 0) return false;
    this.memory.set(from, at);
    return true;
  }

  schedule(delay: number, work: () => void): void {
    this.due.push({ at: this.clock + delay, work });
  }

  now(): number {
    return this.clock;
  }

  private reach(address: bigint, length: number, write: boolean): number {
    const at = address - memoryStart;
    if (at >= 0n && at + BigInt(length) <= BigInt(this.allocated)) return Number(at);
    this.refused.push({ address, length, write });
    return -1;
  }
}
