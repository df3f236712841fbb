/** Reproducible content: what byte stands where follows from the position alone, so a misplaced block shows. */

/** Fills a buffer (length a multiple of 4) with the content that belongs at `position` (bytes, a multiple of 4). */
export function fill(bytes: Uint8Array, position: number, seed: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  const first = position / 4;
  for (let i = 0; i < words.length; i++) words[i] = mix((first + i) ^ seed);
}

/** A 32-bit mixing function (two multiply-xorshift rounds): neighbours come out unlike each other. */
function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}
