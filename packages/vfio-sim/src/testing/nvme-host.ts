/** The host's side of an NVMe controller on the test bus: an admin queue, one I/O queue, and nothing that checks for itself. */

import { memoryDisk } from '../disks/memory-disk.js';
import { type NvmeController, type NvmeOptions, nvmeController } from '../models/nvme/index.js';
import { ModelBus, type ModelBusOptions } from './model-bus.js';

export interface Fields {
  readonly opcode: number;
  readonly nsid?: number;
  readonly prp1?: bigint;
  readonly prp2?: bigint;
  readonly cdw10?: number;
  readonly cdw11?: number;
  readonly cdw12?: number;
}

interface Ring {
  readonly submission: ReturnType<ModelBus['allocate']>;
  readonly completion: ReturnType<ModelBus['allocate']>;
  tail: number;
  head: number;
  phase: number;
}

const entries = 16;

export class NvmeHost {
  readonly bus: ModelBus;
  readonly controller: NvmeController;
  readonly rings: Ring[] = [];
  private readonly stride: number;
  private id = 1;

  constructor(options: Partial<NvmeOptions> = {}, bus: ModelBusOptions = {}) {
    this.bus = new ModelBus(bus);
    this.stride = options.doorbellStride ?? 4;
    this.controller = nvmeController({ disks: [memoryDisk(1 << 20)], ...options })(this.bus);
  }

  get csts(): number {
    return this.controller.read(0, 0x1c, 4);
  }

  /** Admin queue, enabled; the clock moves on by 10 ms. */
  enable(): this {
    const ring = this.ring();
    this.rings[0] = ring;
    this.controller.write(0, 0x24, 4, ((entries - 1) << 16) | (entries - 1));
    this.controller.write64(0, 0x28, ring.submission.address);
    this.controller.write64(0, 0x30, ring.completion.address);
    this.controller.write(0, 0x14, 4, 0x0046_0001);
    this.bus.advance(10);
    return this;
  }

  disable(): void {
    this.controller.write(0, 0x14, 4, 0);
    this.bus.advance(10);
  }

  /** I/O queue pair 1. */
  queue(vector = 0): this {
    const ring = this.ring();
    this.rings[1] = ring;
    const size = (entries - 1) << 16;
    this.run(0, { opcode: 5, prp1: ring.completion.address, cdw10: size | 1, cdw11: (vector << 16) | 3 });
    this.run(0, { opcode: 1, prp1: ring.submission.address, cdw10: size | 1, cdw11: (1 << 16) | 1 });
    return this;
  }

  put(queue: number, fields: Fields): number {
    const ring = this.rings[queue] as Ring;
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    const id = this.id++;
    view.setUint8(0, fields.opcode);
    view.setUint16(2, id, true);
    view.setUint32(4, fields.nsid ?? 0, true);
    view.setBigUint64(24, fields.prp1 ?? 0n, true);
    view.setBigUint64(32, fields.prp2 ?? 0n, true);
    view.setUint32(40, fields.cdw10 ?? 0, true);
    view.setUint32(44, fields.cdw11 ?? 0, true);
    view.setUint32(48, fields.cdw12 ?? 0, true);
    ring.submission.bytes.set(bytes, ring.tail * 64);
    ring.tail = (ring.tail + 1) % entries;
    this.controller.write(0, 0x1000 + 2 * queue * this.stride, 4, ring.tail);
    return id;
  }

  /** The next completion, acknowledged, if there is one. */
  take(queue: number): { readonly id: number; readonly status: number; readonly result: number } | undefined {
    const ring = this.rings[queue] as Ring;
    const view = new DataView(ring.completion.bytes.buffer, ring.completion.bytes.byteOffset + ring.head * 16, 16);
    const last = view.getUint16(14, true);
    if ((last & 1) !== ring.phase) return undefined;
    ring.head = (ring.head + 1) % entries;
    if (ring.head === 0) ring.phase ^= 1;
    this.controller.write(0, 0x1000 + (2 * queue + 1) * this.stride, 4, ring.head);
    return { id: view.getUint16(12, true), status: last >>> 1, result: view.getUint32(0, true) };
  }

  /** One command and 10 ms; its completion, if any. */
  run(queue: number, fields: Fields): ReturnType<NvmeHost['take']> {
    this.put(queue, fields);
    this.bus.advance(10);
    return this.take(queue);
  }

  private ring(): Ring {
    return { submission: this.bus.allocate(4096), completion: this.bus.allocate(4096), tail: 0, head: 0, phase: 1 };
  }
}
