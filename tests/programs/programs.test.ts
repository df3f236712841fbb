import { attachDma } from 'vfio-core';
import { Nvme, QueuePair } from 'vfio-drivers-example';
import { PciDevice } from 'vfio-pci';
import { edu, memoryDisk, nvmeController, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { whatIsHere } from './01-list.js';
import { firstDriver } from './02-first-driver.js';
import { readDisk } from './03-disk.js';
import { readFast } from './04-fast.js';
import { alone, crowded, cured, tight } from './06-machine-as-data.js';
import { readThermometer } from './08-own-model.js';
import { checksumOf, compiledChecksum } from './09-checksum.js';
import { checksumOfDisk } from './09-webassembly.js';
import { roundTripWithoutIommu } from './10-without-iommu.js';
import { openNotViable } from './12-failing-well.js';

const address = '0000:01:00.0';
const disk = () => nvmeController({ disks: [memoryDisk(16 << 20)] });

describe('programs on the simulation', () => {
  it('program 1 lists the functions with driver and IOMMU group', () => {
    const backend = simulation({ devices: { [address]: edu(), '0000:02:00.0': disk() } });
    const lines: string[] = [];
    whatIsHere((line) => lines.push(line), { backend });
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^0000:01:00\.0 .*1234:11e8.* vfio-pci \d+$/);
    expect(lines[1]).toMatch(/^0000:02:00\.0 .* vfio-pci \d+$/);
  });

  it('program 2 drives the edu device: factorial by interrupt, DMA both ways', async () => {
    const backend = simulation({ devices: { [address]: edu() } });
    expect(await firstDriver(() => PciDevice.open(address, { backend }))).toEqual({
      factorial: 3628800,
      copied: 'through a device',
    });
  });

  it('program 3 reads a disk into a buffer and as a stream', async () => {
    const content = memoryDisk(16 << 20);
    const block = new Uint8Array(512).map((_, i) => i ^ 0x5a);
    content.write(0, block);
    const backend = simulation({ devices: { [address]: nvmeController({ disks: [content] }) } });
    const { first, streamed, same } = await readDisk(() => PciDevice.open(address, { backend }));
    expect(first.subarray(0, 512)).toEqual(block);
    expect(streamed).toBe(4 << 20);
    expect(same).toBe(true);
  });

  it('program 4 keeps a queue full, on the queue itself and on one that came by ticket', async () => {
    const backend = simulation({ devices: { [address]: disk() } });
    const nvme = await Nvme.open(address, { backend });
    const queue = await nvme.createQueuePair({ depth: 64 });
    const buffers = Array.from({ length: 32 }, () => nvme.dma.allocate(4096));
    expect(readFast(queue, buffers, 1000)).toEqual({ done: 1000, failed: 0 });

    const attached = QueuePair.attach(structuredClone(queue.share()), { backend });
    const views = buffers.map((buffer) => attachDma(structuredClone(buffer.share()), { backend }));
    expect(readFast(attached, views, 1000)).toEqual({ done: 1000, failed: 0 });
    for (const view of views) view.close();
    attached.close();
    await nvme[Symbol.asyncDispose]();
    expect(backend.openFds).toEqual([]);
  });

  it('program 6 meets a group with a bridge and a USB controller, and a small limit on locked memory', async () => {
    expect(await alone()).toBe('it runs');
    expect(await crowded()).toMatchObject({
      code: 'ERR_VFIO_GROUP_NOT_VIABLE',
      summary: 'IOMMU group 7 cannot be used: 0000:01:00.1 (USB controller) is bound to xhci_hcd.',
      remedy: expect.stringMatching(/vfio bind 0000:01:00\.1 --yes\n.*0000:00:01\.0 .*pcieport.*harmless/),
      details: {
        bind: ['0000:01:00.1'],
        members: [
          { address: '0000:00:01.0', driver: 'pcieport', className: 'PCI bridge', todo: 'leave' },
          { address: '0000:01:00.0', driver: 'vfio-pci', todo: 'leave' },
          { address: '0000:01:00.1', driver: 'xhci_hcd', className: 'USB controller', todo: 'bind' },
        ],
      },
    });
    expect(await cured()).toBe('it runs');
    expect(await tight()).toMatchObject({
      code: 'ERR_VFIO_MEMLOCK',
      details: { limit: 64 << 10 },
      remedy: expect.stringContaining('ulimit -l'),
    });
  });

  it('program 8 runs a device model of its own', async () => {
    expect(await readThermometer()).toEqual({ before: 20, after: 25, interrupts: 1, afterReset: 20 });
  });

  it('program 9 fills a WebAssembly memory from a disk, and compiled code finds there what the disk was written with', async () => {
    const written = new Uint8Array(16 << 20).map((_, i) => (i * 2654435761) >>> 24);
    const content = memoryDisk(written.length);
    content.write(0, written);
    const backend = simulation({ devices: { [address]: nvmeController({ disks: [content] }) } });
    const found = await checksumOfDisk(() => PciDevice.open(address, { backend }));
    expect(found).toEqual({ checksum: checksumOf(written), bytes: written.length });
    expect(backend.openFds).toEqual([]);
  });

  it('the compiled checksum of program 9 sees each byte, its place, and no byte outside', async () => {
    const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
    const bytes = new Uint8Array(memory.buffer);
    const compiled = await compiledChecksum(memory);
    for (const text of ['', 'a', 'ab', 'ba', 'foobar']) {
      bytes.fill(0xee, 0, 64);
      bytes.set(new TextEncoder().encode(text), 5);
      expect(compiled(5, text.length)).toBe(checksumOf(new TextEncoder().encode(text)));
    }
    expect(checksumOf(new TextEncoder().encode('foobar'))).toBe(0xbf9cf968);
  });

  it('program 10 runs the same driver without an IOMMU', async () => {
    const backend = simulation({ devices: { [address]: disk() }, noiommu: true });
    expect(await roundTripWithoutIommu(address, { backend })).toBe(true);
  });

  it('program 12 says which member of a group stands in the way, and the command that cures it', async () => {
    const message = await openNotViable();
    expect(message).toMatch(
      /^ERR_VFIO_GROUP_NOT_VIABLE: IOMMU group 7 cannot be used: 0000:01:00\.1 \(.*[Aa]udio.*\) is bound to snd_hda_intel\./,
    );
    expect(message).toMatch(/vfio bind 0000:01:00\.1/);
    expect(message).toMatch(/VFIO_GROUP_GET_STATUS on \/dev\/vfio\/7/);
  });
});
