import { describe, expect, it } from 'vitest';
import { fileMode, packCpio, programMode } from './cpio.js';

describe('the archive for the kernel', () => {
  it('starts every record on a multiple of four and every folder comes before what is in it', () => {
    const packed = packCpio([
      { name: 'a/b/file', mode: fileMode, data: Buffer.from('12345') },
      { name: 'init', mode: programMode, data: Buffer.from('#!') },
    ]);
    const names: string[] = [];
    for (let at = 0; ; ) {
      expect(packed.toString('latin1', at, at + 6)).toBe('070701');
      const field = (i: number) => Number.parseInt(packed.toString('latin1', at + 6 + 8 * i, at + 14 + 8 * i), 16);
      const [size, length] = [field(6), field(11)];
      const name = packed.toString('latin1', at + 110, at + 110 + length - 1);
      names.push(name);
      if (name === 'TRAILER!!!') break;
      at = Math.ceil((at + 110 + length) / 4) * 4;
      at = Math.ceil((at + size) / 4) * 4;
    }
    expect(names).toEqual(['a', 'a/b', 'a/b/file', 'init', 'TRAILER!!!']);
    expect(packed.length % 512).toBe(0);
  });
});
