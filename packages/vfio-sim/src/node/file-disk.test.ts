import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileDisk } from './file-disk.js';

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

describe('a disk in a file', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'file-disk-'));
    path = join(folder, 'disk.img');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('has the size of its file', () => {
    writeFileSync(path, filled(8192, 0x33));
    const disk = fileDisk(path);
    expect(disk).toMatchObject({ blockSize: 512, blocks: 16, readOnly: false });
    disk.close();
  });

  it('makes the file, or lets it grow, where a size is given, and keeps what it holds', () => {
    const made = fileDisk(path, { bytes: 4096 });
    made.write(1, filled(512, 0x44));
    made.flush();
    made.close();
    const grown = fileDisk(path, { bytes: 1 << 20, blockSize: 4096 });
    expect(grown.blocks).toBe(256);
    const into = new Uint8Array(4096);
    grown.read(0, into);
    expect(into.subarray(512, 1024)).toEqual(filled(512, 0x44));
    grown.read(255, into);
    expect(into).toEqual(new Uint8Array(4096));
    grown.close();
    expect(statSync(path).size).toBe(1 << 20);
  });

  it('clears blocks in the file', () => {
    writeFileSync(path, filled(2048, 0x55));
    const disk = fileDisk(path);
    disk.clear(1, 2);
    disk.close();
    const expected = filled(2048, 0x55);
    expected.fill(0, 512, 1536);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
  });

  it('that is read-only says so, and does not grow', () => {
    writeFileSync(path, filled(1024, 0x66));
    const disk = fileDisk(path, { readOnly: true });
    expect(disk.readOnly).toBe(true);
    expect(() => disk.write(0, filled(512, 1))).toThrow();
    disk.close();
    expect(() => fileDisk(path, { readOnly: true, bytes: 4096 })).toThrow('ERR_VFIO_ARGUMENT');
    expect(statSync(path).size).toBe(1024);
  });

  it('refuses a file that is not there or does not consist of blocks', () => {
    expect(() => fileDisk(path)).toThrow('ENOENT');
    writeFileSync(path, filled(1000, 1));
    expect(() => fileDisk(path)).toThrow('ERR_VFIO_ARGUMENT');
    writeFileSync(path, '');
    expect(() => fileDisk(path)).toThrow('ERR_VFIO_ARGUMENT');
  });

  it('closes once and for all', () => {
    const disk = fileDisk(path, { bytes: 512 });
    disk.close();
    expect(() => disk.close()).not.toThrow();
  });
});
