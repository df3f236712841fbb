/** What stands on the disks. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { folder } from '../guest.js';
import { pieces, slotBytes } from './load.js';

/** Writes the numbers of the pieces into the image of a disk that nobody has read yet. */
export function numberDisk(name: string): void {
  const words = new Uint32Array((pieces * slotBytes) / 4);
  for (let piece = 0; piece < pieces; piece++) {
    words.fill(piece + 1, (piece * slotBytes) / 4, ((piece + 1) * slotBytes) / 4);
  }
  const image = openSync(`${folder}/${name}.img`, 'r+');
  writeSync(image, words, 0, words.byteLength, 0);
  closeSync(image);
}
