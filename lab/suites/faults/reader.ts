/** The driver that things happen to: keeps an NVMe queue full of reads into one piece of memory. */
import type { DmaBuffer } from 'vfio-core';
import { type Namespace, Nvme, type QueuePair } from 'vfio-drivers-example';
import { PciDevice } from 'vfio-pci';
import { slotBytes, slots, targetBytes } from './target.js';

/** Pieces of the disk that hold their own number; a prime, so that a slot meets another number each time. */
const pieces = 61;

/** Writes the numbers. */
export async function numberDisk(address: string): Promise<void> {
  await using nvme = await Nvme.open(address);
  const [disk] = nvme.namespaces as [Namespace];
  using buffer = nvme.dma.allocate(pieces * slotBytes);
  const words = new Uint32Array(buffer.bytes.buffer, buffer.bytes.byteOffset, buffer.length / 4);
  for (let piece = 0; piece < pieces; piece++) {
    words.fill(piece + 1, (piece * slotBytes) / 4, ((piece + 1) * slotBytes) / 4);
  }
  await disk.write(0n, buffer);
}

export class Reader implements Disposable {
  submitted = 0;
  /** Statuses other than success. */
  readonly failures: number[] = [];
  private next = 0;

  private constructor(
    readonly device: PciDevice,
    readonly nvme: Nvme,
    readonly queue: QueuePair,
    readonly buffer: DmaBuffer,
    private readonly disk: Namespace,
  ) {}

  /** @param memory where the disk writes; by default memory of the SDK */
  static async open(address: string, memory?: WebAssembly.Memory): Promise<Reader> {
    const device = await PciDevice.open(address);
    const nvme = await Nvme.open(device, { interrupts: 'polled', timeout: 5000 });
    const [disk] = nvme.namespaces as [Namespace];
    const queue = await nvme.createQueuePair({ depth: slots * 2 });
    const buffer = memory === undefined ? nvme.dma.allocate(targetBytes) : nvme.dma.map(memory);
    return new Reader(device, nvme, queue, buffer, disk);
  }

  /** Fills the queue. */
  start(): void {
    for (let slot = 0; slot < slots; slot++) this.submit(slot);
    this.queue.ring();
  }

  /** Takes what is done and asks for more; throws what the queue throws. */
  poll(): void {
    this.queue.poll(this.done);
  }

  /** Polls until told to stop; gives the event loop its turn. */
  async run(stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      for (let i = 0; i < 64 && !stopped(); i++) this.poll();
      await new Promise((done) => setImmediate(done));
    }
  }

  [Symbol.dispose](): void {
    this.nvme.close();
  }

  private readonly done = (slot: number, status: number): void => {
    if (status !== 0) this.failures.push(status);
    this.submit(slot);
  };

  private submit(slot: number): void {
    const blocks = slotBytes / this.disk.blockSize;
    this.queue.read(slot, this.disk, (this.next++ % pieces) * blocks, this.buffer, blocks, slot * slotBytes);
    this.submitted++;
  }
}
