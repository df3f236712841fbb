/** A disk in memory that costs only what was written to it. */

import { VfioError } from 'vfio-core';
import type { BlockSize, Disk } from './disk.js';

/** Memory is had in pieces of this many bytes, at the first write into each. */
const pieceBytes = 1 << 16;

/**
 * A disk in memory, empty at first. It is sparse: memory is taken at the first write, in pieces of 64 KiB, so a large disk costs nothing.
 *
 * Throws `ERR_VFIO_ARGUMENT` for a size that is not a positive multiple of the block size.
 * @param bytes capacity; a multiple of the block size
 */
export function memoryDisk(bytes: number, options: { readonly blockSize?: BlockSize } = {}): Disk {
  const blockSize = options.blockSize ?? 512;
  checkGeometry(bytes, blockSize);
  return new MemoryDisk(blockSize, bytes / blockSize);
}

/** Throws `ERR_VFIO_ARGUMENT` unless this is a disk that the controller can offer. */
export function checkGeometry(bytes: number, blockSize: number): void {
  if (blockSize !== 512 && blockSize !== 4096) {
    throw new VfioError('ERR_VFIO_ARGUMENT', `A disk has blocks of 512 or 4096 bytes, not ${blockSize}.`);
  }
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % blockSize !== 0) {
    throw new VfioError(
      'ERR_VFIO_ARGUMENT',
      `A disk of ${bytes} bytes does not consist of blocks of ${blockSize} bytes.`,
    );
  }
}

class MemoryDisk implements Disk {
  private readonly pieces = new Map<number, Uint8Array>();

  constructor(
    readonly blockSize: number,
    readonly blocks: number,
  ) {}

  read(block: number, into: Uint8Array): void {
    this.each(block, into.length, (piece, start, end, done) => {
      const bytes = this.pieces.get(piece);
      if (bytes === undefined) into.fill(0, done, done + end - start);
      else into.set(bytes.subarray(start, end), done);
    });
  }

  write(block: number, from: Uint8Array): void {
    this.each(block, from.length, (piece, start, end, done) => {
      let bytes = this.pieces.get(piece);
      if (bytes === undefined) {
        bytes = new Uint8Array(pieceBytes);
        this.pieces.set(piece, bytes);
      }
      bytes.set(from.subarray(done, done + end - start), start);
    });
  }

  clear(block: number, count: number): void {
    // Walks the pieces that exist and not the range: clearing a whole empty terabyte is then free.
    const first = block * this.blockSize;
    const last = first + count * this.blockSize;
    for (const [piece, bytes] of this.pieces) {
      const start = Math.max(first - piece * pieceBytes, 0);
      const end = Math.min(last - piece * pieceBytes, pieceBytes);
      if (start === 0 && end === pieceBytes) this.pieces.delete(piece);
      else if (start < end) bytes.fill(0, start, end);
    }
  }

  flush(): void {}

  close(): void {
    this.pieces.clear();
  }

  private each(
    block: number,
    length: number,
    visit: (piece: number, start: number, end: number, done: number) => void,
  ): void {
    let position = block * this.blockSize;
    for (let done = 0; done < length; ) {
      const piece = Math.floor(position / pieceBytes);
      const start = position - piece * pieceBytes;
      const end = Math.min(start + length - done, pieceBytes);
      visit(piece, start, end, done);
      done += end - start;
      position += end - start;
    }
  }
}
