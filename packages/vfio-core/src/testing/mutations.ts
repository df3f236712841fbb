/** Bytes for decoders to be tried on: random ones, and good ones that were spoilt. */

import type { Random } from './random.js';

/** Numbers at which lengths, offsets and counts go wrong. */
const edges = [0, 1, 2, 3, 4, 7, 8, 15, 16, 24, 32, 40, 48, 64, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff];
const highEdges = [0x8000_0000, 0xffff_fff0, 0xffff_fff8, 0xffff_ffff];

/** A number of 32 bits as it could stand in a field: small, at an edge, near the length, or any. */
export function fieldNumber(random: Random, length: number): number {
  switch (random.below(6)) {
    case 0:
      return random.below(8);
    case 1:
      return random.below(32) * 8;
    case 2:
      return random.pick(edges);
    case 3:
      return random.pick(highEdges);
    case 4:
      return (length + random.below(17) - 8) >>> 0;
    default:
      return random.word();
  }
}

export function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = random.word() >>> 24;
  return bytes;
}

/** Words of the kind that a reply is made of. */
export function randomWords(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 <= length; at += 4) view.setUint32(at, fieldNumber(random, length), true);
  return bytes;
}

/** A copy with one to four faults: bits, bytes and words changed, parts moved, the end cut off or something put behind it. */
export function spoilt(random: Random, good: Uint8Array): Uint8Array {
  let bytes = good.slice();
  for (let faults = 1 + random.below(4); faults > 0; faults--) {
    const { length } = bytes;
    if (length === 0) return randomBytes(random, random.below(64));
    const at = random.below(length);
    const word = at & ~3;
    switch (random.below(8)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.below(256);
        break;
      case 2:
      case 3:
      case 4:
        if (word + 4 <= length) new DataView(bytes.buffer).setUint32(word, fieldNumber(random, length), true);
        break;
      case 5:
        bytes.copyWithin(at & ~7, random.below(length) & ~7);
        break;
      case 6:
        bytes = bytes.slice(0, at);
        break;
      default: {
        const more = new Uint8Array(length + 1 + random.below(64));
        more.set(bytes);
        more.set(randomBytes(random, more.length - length), length);
        bytes = more;
      }
    }
  }
  return bytes;
}

export const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
