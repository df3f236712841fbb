import { describe, expect, it } from 'vitest';
import { memoryDisk } from './memory-disk.js';

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

describe('a disk in memory', () => {
  it('has blocks of 512 bytes unless 4096 are asked for', () => {
    expect(memoryDisk(1 << 20)).toMatchObject({ blockSize: 512, blocks: 2048 });
    expect(memoryDisk(1 << 20, { blockSize: 4096 })).toMatchObject({ blockSize: 4096, blocks: 256 });
  });

  it('refuses a size that is not a positive multiple of the block', () => {
    for (const bytes of [0, -512, 1000, 513, Number.NaN, 2 ** 60]) {
      expect(() => memoryDisk(bytes), String(bytes)).toThrow('ERR_VFIO_ARGUMENT');
    }
    expect(() => memoryDisk(512, { blockSize: 4096 })).toThrow('ERR_VFIO_ARGUMENT');
    expect(() => memoryDisk(1024, { blockSize: 1024 as 512 })).toThrow('ERR_VFIO_ARGUMENT');
  });

  it('reads zeroes where nothing was written, over what the buffer held', () => {
    const into = filled(1024, 0xa5);
    memoryDisk(1 << 20).read(7, into);
    expect(into).toEqual(new Uint8Array(1024));
  });

  it('keeps what is written across the borders of its pieces, and neighbours as they were', () => {
    const disk = memoryDisk(1 << 20);
    // 64 KiB is block 128: three blocks lie around it.
    disk.write(127, filled(1536, 0x77));
    const into = new Uint8Array(5 * 512);
    disk.read(126, into);
    expect(into).toEqual(new Uint8Array([...new Uint8Array(512), ...filled(1536, 0x77), ...new Uint8Array(512)]));
  });

  it('clears whole pieces and parts of them', () => {
    const disk = memoryDisk(1 << 20);
    disk.write(0, filled(4 << 16, 0x11));
    disk.clear(100, 300);
    const into = new Uint8Array(4 << 16);
    disk.read(0, into);
    for (const [block, value] of [
      [99, 0x11],
      [100, 0],
      [128, 0],
      [399, 0],
      [400, 0x11],
    ] as const) {
      expect(into.subarray(block * 512, block * 512 + 512), `block ${block}`).toEqual(filled(512, value));
    }
  });

  it('of a tebibyte costs what was written to it', () => {
    const disk = memoryDisk(2 ** 40);
    disk.write(disk.blocks - 1, filled(512, 0x42));
    disk.clear(0, disk.blocks - 1);
    const into = new Uint8Array(512);
    disk.read(disk.blocks - 1, into);
    expect(into).toEqual(filled(512, 0x42));
  });
});
