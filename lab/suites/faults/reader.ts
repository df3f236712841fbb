/** The driver that things happen to: keeps an NVMe queue full of reads into one piece of memory. */
import type { DmaBuffer } from 'vfio-core';
import { type Namespace, Nvme, type QueuePair } from 'vfio-drivers-example';
import { PciDevice } from 'vfio-pci';
import { pieces, slotBytes, slots, targetBytes } from './load.js';

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

  /** Asks for so much at once from now on. */
  start(inFlight = slots): void {
    for (let slot = 0; slot < inFlight; slot++) this.submit(slot);
    this.queue.ring();
  }

  /** Takes some of what is done and asks for as much; throws what the queue throws. */
  poll(): void {
    this.queue.poll(this.done, 8);
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
