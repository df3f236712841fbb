/** A device whose regions are arrays, for tests of what stands on the `Device` interface alone. */

import {
  type ClosePhase,
  closePhases,
  type Device,
  type DeviceChannel,
  MappedWindow,
  RegionIndex,
  type RegionInfo,
  type SystemCalls,
  VfioError,
} from 'vfio-core';

export class FakeDevice implements Device {
  readonly address = '0000:01:00.0';
  readonly dma = {} as Device['dma'];
  readonly regions = new Map<number, Uint8Array>();
  /** Every write to a region: `region@offset+length`. */
  readonly writes: string[] = [];
  closed = false;
  pci = true;
  resets = 0;
  private readonly steps: [ClosePhase, () => void][] = [];

  constructor(config: Uint8Array, bars: Record<number, number> = { 0: 4096 }) {
    this.regions.set(RegionIndex.CONFIG, config);
    for (const [index, size] of Object.entries(bars)) this.regions.set(Number(index), new Uint8Array(size));
  }

  readonly channel: DeviceChannel = this.makeChannel();

  onClose(phase: ClosePhase, step: () => void): () => void {
    const entry: [ClosePhase, () => void] = [phase, step];
    this.steps.push(entry);
    return () => void this.steps.splice(this.steps.indexOf(entry), 1);
  }

  close(): void {
    if (this.closed) return;
    for (const phase of closePhases) for (const [when, step] of this.steps) if (when === phase) step();
    this.closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  private makeChannel(): DeviceChannel {
    const region = (index: number): RegionInfo => {
      if (index > 8) throw new VfioError('ERR_VFIO_ARGUMENT', `no region ${index}.`);
      const size = this.regions.get(index)?.length ?? 0;
      const some = size > 0;
      return { index, size, readable: some, writable: some, mappable: some, mappableAreas: [], fileOffset: 0 };
    };
    const note = (index: number, offset: number, length: number) => this.writes.push(`${index}@${offset}+${length}`);
    return {
      system: {} as SystemCalls,
      fd: -1,
      closed: false,
      info: () => ({ flags: 2, resettable: true, pci: this.pci, regionCount: 9, irqCount: 5 }),
      region,
      mapRange: () => {
        throw new VfioError('ERR_VFIO_NOT_SUPPORTED', 'nothing is mapped here.');
      },
      read: (index, offset, into) =>
        into.set((this.regions.get(index) as Uint8Array).subarray(offset, offset + into.length)),
      write: (index, offset, from) => {
        note(index, offset, from.length);
        (this.regions.get(index) as Uint8Array).set(from, offset);
      },
      window: (index, offset, length) =>
        new NotedWindow((this.regions.get(index) as Uint8Array).subarray(offset, offset + length), (at, width) =>
          note(index, offset + at, width),
        ),
      irq: (index) => ({ index, count: 0, eventfd: false, maskable: false, automasked: false, noResize: false }),
      setIrqs: () => 0,
      reset: async () => void this.resets++,
      checkAlive: () => undefined,
      remappings: 0,
    };
  }
}

class NotedWindow extends MappedWindow {
  constructor(
    bytes: Uint8Array,
    private readonly note: (offset: number, width: number) => void,
  ) {
    super(bytes);
  }

  override write16(offset: number, value: number): void {
    this.note(offset, 2);
    super.write16(offset, value);
  }

  override write32(offset: number, value: number): void {
    this.note(offset, 4);
    super.write32(offset, value);
  }
}

/** Configuration space of an NVMe controller with PM, MSI, PCIe and MSI-X, and AER and DSN behind 0x100. */
export function sampleConfig(): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const u16 = (offset: number, value: number) => view.setUint16(offset, value, true);
  const u32 = (offset: number, value: number) => view.setUint32(offset, value >>> 0, true);
  u16(0x00, 0x1b36);
  u16(0x02, 0x0010);
  u16(0x04, 0x0002);
  u16(0x06, 0x0010);
  u32(0x08, 0x01080202);
  u32(0x10, 0xfebf0004);
  u16(0x2c, 0x1af4);
  u16(0x2e, 0x1100);
  bytes[0x34] = 0x40;
  bytes[0x3c] = 11;
  bytes[0x3d] = 1;
  u32(0x40, 0x0003_5001); // PM, version 3
  u16(0x44, 0x0008);
  u32(0x50, 0x0080_6005); // MSI, 64-bit
  u32(0x60, 0x0002_a010); // PCIe, version 2, endpoint
  u32(0x64, 0x1000_8fc0);
  u32(0xa0, 0x0040_0011); // MSI-X, 65 vectors
  u32(0xa4, 0x0000_2000);
  u32(0xa8, 0x0000_3000);
  u32(0x100, (0x150 << 20) | (2 << 16) | 0x0001); // AER, version 2
  u32(0x150, (1 << 16) | 0x0003); // DSN
  u32(0x154, 0x89abcdef);
  u32(0x158, 0x01234567);
  return bytes;
}
