import { describe, expect, it } from 'vitest';
import { linux } from '../linux/index.js';
import { describeLinux } from '../testing/describe-linux.js';
import { ScriptedKernel } from '../testing/scripted-kernel.js';
import { type ArenaPiece, DmaArena } from './arena.js';
import { attachDma } from './attach.js';

const PAGE = 4096;
const ticketOf = ({ fd, offset, mapping }: ArenaPiece) => ({
  fd,
  offset,
  mapped: mapping.length,
  length: mapping.length,
  address: 0x1000n,
});

describe('an arena', () => {
  it('uses no place of its file twice, even after its last piece was freed', () => {
    const arena = new DmaArena(new ScriptedKernel().system, PAGE);
    const places: number[] = [];
    for (let round = 0; round < 3; round++) {
      const pieces = [arena.allocate(PAGE), arena.allocate(2 * PAGE)];
      places.push(...pieces.map(({ offset }) => offset));
      for (const piece of pieces) arena.free(piece);
    }
    expect(places).toEqual([0, PAGE, 3 * PAGE, 4 * PAGE, 6 * PAGE, 7 * PAGE]);
  });
});

describeLinux('an arena of larger pages than the system’s', () => {
  it('gives pieces that begin at a multiple of them, and shares those alone', () => {
    const system = linux();
    const arena = new DmaArena(system, 1 << 16);
    const pieces = Array.from({ length: 8 }, (_, index) => arena.allocate(1 + (index << 16)));
    for (const { mapping, skipped, size, offset } of pieces) {
      expect((mapping.address + BigInt(skipped)) % 65536n).toBe(0n);
      mapping.bytes.fill(0x11).fill(0x22, skipped, skipped + size);
      const view = attachDma(
        { fd: pieces[0]?.fd ?? -1, offset, mapped: size, length: size, address: 0n },
        { backend: system },
      );
      expect(view.bytes.every((byte) => byte === 0x22)).toBe(true);
      view.close();
    }
    for (const piece of pieces) arena.free(piece);
    arena.close();
  });
});

describeLinux('an arena in memory of Linux', () => {
  it('shows a view of a freed piece zeros for ever: neither sees the other, whatever is allocated later', () => {
    const system = linux();
    const arena = new DmaArena(system, PAGE);
    const first = arena.allocate(PAGE);
    first.mapping.bytes.fill(0xaa);
    const ticket = ticketOf(first);
    const view = attachDma(ticket, { backend: system });
    arena.free(first);
    const later = arena.allocate(PAGE);
    later.mapping.bytes.fill(0x55);
    expect([view.bytes[0], view.bytes[PAGE - 1]]).toEqual([0, 0]);
    view.bytes.fill(0xcc);
    expect(later.mapping.bytes.every((byte) => byte === 0x55)).toBe(true);
    view.close();
    arena.free(later);
    arena.close();
  });
});
