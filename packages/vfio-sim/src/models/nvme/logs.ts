/** Log pages: NVMe 1.4, section 5.14. */

import type { Command } from './command.js';
import { type Events, EventType } from './events.js';
import { temperatures } from './features.js';
import { everyNamespace, type Namespaces } from './namespaces.js';
import { permanent, Status } from './status.js';

/** Entries of the error log (ELPE + 1). */
export const errorLogEntries = 64;

const LogPage = { error: 1, health: 2, firmware: 3 } as const;

/** What the health page counts; the controller keeps it up. */
export interface Statistics {
  /** Bytes. */
  read: number;
  written: number;
  /** Commands. */
  reads: number;
  writes: number;
  powerCycles: number;
  unsafeShutdowns: number;
  mediaErrors: number;
}

export const noStatistics = (): Statistics => ({
  read: 0,
  written: 0,
  reads: 0,
  writes: 0,
  powerCycles: 1,
  unsafeShutdowns: 0,
  mediaErrors: 0,
});

interface ErrorEntry {
  readonly count: number;
  readonly queue: number;
  readonly command: number;
  readonly status: number;
  readonly namespace: number;
  readonly block: number;
}

export class Logs {
  readonly statistics = noStatistics();
  private errors: ErrorEntry[] = [];
  private errorCount = 0;

  constructor(
    private readonly firmware: string,
    private readonly namespaces: Namespaces,
    private readonly events: Events,
    private readonly hoursOn: () => number,
  ) {}

  /** A command ended with an error: the newest comes first. */
  record(command: Command, status: number): void {
    this.errorCount++;
    this.errors.unshift({
      count: this.errorCount,
      queue: command.queue.id,
      command: command.id,
      status,
      namespace: command.namespaceId,
      block: command.queue.id === 0 ? 0 : command.firstBlock,
    });
    this.errors.length = Math.min(this.errors.length, errorLogEntries);
  }

  /** The bytes that a Get Log Page asks for, or the status that refuses them. */
  get(command: Command): Uint8Array | number {
    const page = command.dword(10) & 0xff;
    const retainEvent = (command.dword(10) >>> 15) & 1;
    const length = ((command.dword(11) & 0xffff) * 65536 + (command.dword(10) >>> 16) + 1) * 4;
    const offset = command.dword(13) * 2 ** 32 + command.dword(12);
    if (offset % 4 !== 0) return permanent(Status.invalidField);
    const whole = this.page(page, command.namespaceId);
    if (typeof whole === 'number') return whole;
    if (offset >= whole.length) return permanent(Status.invalidField);
    if (!retainEvent) {
      if (page === LogPage.error) this.events.acknowledge(EventType.error);
      if (page === LogPage.health) this.events.acknowledge(EventType.health);
    }
    return whole.subarray(offset, offset + length);
  }

  private page(page: number, namespace: number): Uint8Array | number {
    switch (page) {
      case LogPage.error:
        return this.errorPage();
      case LogPage.health: {
        if (namespace !== 0 && namespace !== everyNamespace) {
          const found = this.namespaces.find(namespace);
          if (typeof found === 'number') return found;
        }
        return this.healthPage();
      }
      case LogPage.firmware:
        return this.firmwarePage();
      default:
        return permanent(Status.invalidLogPage);
    }
  }

  /** Figure 193. */
  private errorPage(): Uint8Array {
    const bytes = new Uint8Array(errorLogEntries * 64);
    this.errors.forEach((entry, i) => {
      const view = new DataView(bytes.buffer, i * 64, 64);
      view.setBigUint64(0, BigInt(entry.count), true);
      view.setUint16(8, entry.queue, true);
      view.setUint16(10, entry.command, true);
      view.setUint16(12, entry.status << 1, true);
      view.setUint16(14, 0xffff, true); // no single field is to blame
      view.setBigUint64(16, BigInt(entry.block), true);
      view.setUint32(24, entry.namespace, true);
    });
    return bytes;
  }

  /** Figure 194. */
  private healthPage(): Uint8Array {
    const bytes = new Uint8Array(512);
    const view = new DataView(bytes.buffer);
    const counter = (offset: number, value: number) => view.setBigUint64(offset, BigInt(Math.ceil(value)), true);
    const s = this.statistics;
    view.setUint16(1, temperatures.now, true);
    view.setUint8(3, 100); // spare blocks, per cent
    view.setUint8(4, 4); // and their threshold
    counter(32, s.read / 512_000);
    counter(48, s.written / 512_000);
    counter(64, s.reads);
    counter(80, s.writes);
    counter(112, s.powerCycles);
    view.setBigUint64(128, BigInt(Math.floor(this.hoursOn())), true);
    counter(144, s.unsafeShutdowns);
    counter(160, s.mediaErrors);
    counter(176, this.errorCount);
    return bytes;
  }

  /** Figure 196: slot 1 is active, and the only one. */
  private firmwarePage(): Uint8Array {
    const bytes = new Uint8Array(512);
    bytes[0] = 1;
    bytes.set(new TextEncoder().encode(this.firmware.padEnd(8)), 8);
    return bytes;
  }
}
