import * as fc from 'fast-check';
import { MappedWindow } from 'vfio-core';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  bindRegisters,
  bit,
  bits,
  decodeFields,
  encodeFields,
  reg8,
  reg16,
  reg32,
  reg64,
  registers,
  repeat,
} from './index.js';

const EDU = registers('edu', {
  FACTORIAL: reg32(0x08, 'RW'),
  STATUS: reg32(0x20, 'RW', { BUSY: bit(0, 'RO'), RAISE_IRQ: bit(7, 'RW') }),
  IRQ_ACK: reg32(0x64, 'WO'),
  DMA_SRC: reg64(0x80, 'RW', { access: 64 }),
});

const MIXED = registers('mixed', {
  CONTROL: reg32(0x00, 'RW', {
    ENABLE: bit(0, 'RW'),
    MODE: bits(3, 1, 'RW', { values: { SLOW: 0, FAST: 5 } }),
    GO: bit(8, 'WO'),
    ERROR: bit(9, 'RW1C'),
    VERSION: bits(31, 24, 'RO'),
  }),
  EVENTS: reg16(0x04, 'RW1C', { DONE: bit(0, 'RW1C'), FAILED: bit(1, 'RW1C') }),
  SMALL: reg8(0x06, 'RW'),
  FIFO: reg8(0x07, 'RO', { readHasEffect: true }),
  CAP: reg64(0x08, 'RO', { LOW: bits(15, 0, 'RO'), HIGH: bits(63, 12 + 4, 'RO') }),
  HALVES: reg64(0x10, 'RW', { access: 'low-first' }),
  BACKWARDS: reg64(0x18, 'RW', { access: 'high-first' }),
  DOOR: repeat(4, 8, reg32(0, 'WO'), { offset: 0x20 }),
  ENTRY: repeat(2, 16, { ADDRESS: reg32(0, 'RW'), MASK: reg32(12, 'RW', { MASKED: bit(0, 'RW') }) }, { offset: 0x40 }),
  COMMAND: reg32(0x60, 'WO', { RUN: bit(0, 'WO'), STOP: bit(1, 'WO') }),
});

const log: string[] = [];
class LoggedWindow extends MappedWindow {
  override read32(offset: number): number {
    log.push(`r32@${offset}`);
    return super.read32(offset);
  }
  override write32(offset: number, value: number): void {
    log.push(`w32@${offset}`);
    super.write32(offset, value);
  }
}

function bound(size = 256) {
  const bytes = new Uint8Array(size);
  log.length = 0;
  return { bytes, view: new DataView(bytes.buffer), regs: bindRegisters(new LoggedWindow(bytes), MIXED) };
}

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('a register table', () => {
  it.each([
    ['overlap', () => registers('t', { A: reg32(0, 'RW'), B: reg16(2, 'RW') })],
    ['overlap, in any order', () => registers('t', { B: reg64(8, 'RW'), A: reg32(12, 'RW') })],
    ['a repetition over a register', () => registers('t', { A: repeat(4, 4, reg32(0, 'RW')), B: reg8(13, 'RW') })],
    [
      'a copy longer than its stride',
      () => registers('t', { A: repeat(2, 4, reg64(0, 'RW', { access: 'low-first' })) }),
    ],
    ['an offset that is not aligned', () => registers('t', { A: reg32(2, 'RW') })],
    ['an offset below 0', () => registers('t', { A: reg32(-4, 'RW') })],
    ['a field outside its register', () => registers('t', { A: reg8(0, 'RW', { F: bit(8, 'RW') }) })],
    ['fields that overlap', () => registers('t', { A: reg8(0, 'RW', { F: bits(4, 2, 'RW'), G: bit(3, 'RO') }) })],
    [
      'a field that can be written in a register that cannot',
      () => registers('t', { A: reg8(0, 'RO', { F: bit(0, 'RW') }) }),
    ],
    [
      'a field that can be read in a register that cannot',
      () => registers('t', { A: reg8(0, 'WO', { F: bit(0, 'RO') }) }),
    ],
    ['a name in small letters', () => registers('t', { read: reg8(0, 'RW') })],
    ['a field named like a method', () => registers('t', { A: reg8(0, 'RW', { write: bit(0, 'RW') }) })],
    ['a repetition of 0', () => registers('t', { A: repeat(0, 4, reg32(0, 'RW')) })],
    ['bits upside down', () => bits(2, 5, 'RW')],
    ['a field of more than 53 bits', () => bits(63, 0, 'RW')],
    ['a value that does not fit its field', () => bits(1, 0, 'RW', { values: { BIG: 4 } })],
  ])('refuses %s', (_, make) => {
    expect(make).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it('takes a read-only and a write-only register at one place, and a 64-bit register in halves at 4 modulo 8', () => {
    const table = registers('uart', {
      RECEIVE: reg8(0, 'RO'),
      SEND: reg8(0, 'WO'),
      PAIR: reg64(4, 'RW', { access: 'low-first' }),
    });
    expect([table.size, table.alignment]).toEqual([12, 4]);
  });

  it('knows its size with repetitions', () => {
    expect(MIXED.size).toBe(0x64);
  });
});

describe('registers on a window', () => {
  it('read and write with one access of the window each', () => {
    const { regs, view } = bound();
    regs.CONTROL.write(0x1234);
    expect(view.getUint32(0, true)).toBe(0x1234);
    expect(regs.CONTROL.read()).toBe(0x1234);
    regs.DOOR.at(2).write(7);
    expect(view.getUint32(0x30, true)).toBe(7);
    expect(log).toEqual(['w32@0', 'r32@0', 'w32@48']);
  });

  it('change one field and leave the others, without clearing or starting anything by the way', () => {
    const { regs, view } = bound();
    view.setUint32(0, 0xab00_0201 | 0x40, true); // ERROR and ENABLE set, a bit of no field too
    regs.CONTROL.MODE.write('FAST');
    expect(view.getUint32(0, true)).toBe(0xab00_004b);
    expect(regs.CONTROL.MODE.text()).toBe('FAST');
    regs.CONTROL.update({ ENABLE: 0, GO: 1 });
    expect(view.getUint32(0, true)).toBe(0xab00_014a);
    regs.CONTROL.set({ ERROR: 1 });
    expect(view.getUint32(0, true)).toBe(0x200);
    expect(regs.CONTROL.fields()).toEqual({ ENABLE: 0, MODE: 0, ERROR: 1, VERSION: 0 });
  });

  it('write the one bit alone where writing 1 clears', () => {
    const { regs, view } = bound();
    view.setUint16(4, 3, true);
    regs.EVENTS.DONE.write(1);
    expect(view.getUint16(4, true)).toBe(1); // what was written: no hardware clears here
    view.setUint16(4, 2, true);
    regs.EVENTS.clear();
    expect(view.getUint16(4, true)).toBe(2);
  });

  it('are written blind where they cannot be read', () => {
    const { regs } = bound();
    regs.COMMAND.STOP.write(1);
    expect(log).toEqual(['w32@96']);
  });

  it('of 64 bits are accessed as the table says', () => {
    const { regs, view } = bound();
    regs.HALVES.write(0x1122_3344_5566_7788n);
    regs.BACKWARDS.write(0x1122_3344_5566_7788n);
    expect(view.getBigUint64(0x10, true)).toBe(0x1122_3344_5566_7788n);
    expect([regs.HALVES.read(), regs.BACKWARDS.read()]).toEqual([0x1122_3344_5566_7788n, 0x1122_3344_5566_7788n]);
    expect(log).toEqual(['w32@16', 'w32@20', 'w32@28', 'w32@24', 'r32@16', 'r32@20', 'r32@28', 'r32@24']);
    view.setBigUint64(8, 0xffff_ffff_ffff_1234n, true);
    expect(regs.CAP.fields()).toEqual({ LOW: 0x1234, HIGH: 2 ** 48 - 1 });
    expect(regs.CAP.LOW.read()).toBe(0x1234);
  });

  it('throw ERR_VFIO_REGISTER_ACCESS against their mode', () => {
    const { regs } = bound();
    const loose = regs as unknown as Record<string, Record<string, (value?: unknown) => void>>;
    const field = (regs.CONTROL as unknown as Record<string, Record<string, (value?: unknown) => void>>).VERSION;
    expect(() => loose.CAP?.write?.(1n)).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
    expect(() => loose.COMMAND?.read?.()).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
    expect(() => loose.COMMAND?.update?.({})).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
    expect(() => loose.CONTROL?.clear?.()).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
    expect(() => loose.CONTROL?.set?.({ VERSION: 1 })).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
    expect(() => field?.write?.(1)).toThrow(code('ERR_VFIO_REGISTER_ACCESS'));
  });

  it('throw ERR_VFIO_ARGUMENT for values that do not fit', () => {
    const { regs } = bound();
    for (const value of [256, -1, 1.5, Number.NaN, '1', 1n]) {
      expect(() => regs.SMALL.write(value as number)).toThrow(code('ERR_VFIO_ARGUMENT'));
    }
    for (const value of [2 ** 32, -(2 ** 31) - 1, 0.5, Number.NaN, 1n]) {
      expect(() => regs.CONTROL.write(value as number)).toThrow(code('ERR_VFIO_ARGUMENT'));
    }
    expect(() => regs.HALVES.write(1n << 64n)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => regs.HALVES.write(1 as unknown as bigint)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => regs.CONTROL.MODE.write(8)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => regs.CONTROL.MODE.write('QUICK' as 'FAST')).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => regs.CONTROL.update({ ENABEL: 1 } as never)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => regs.DOOR.at(4)).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it('of 32 bits take what | and ~ give', () => {
    const { regs } = bound();
    regs.CONTROL.write(~0);
    expect(regs.CONTROL.read()).toBe(0xffff_ffff);
  });

  it('throw ERR_VFIO_WINDOW_RANGE where the table does not fit or lies unaligned', () => {
    expect(() => bindRegisters(new MappedWindow(new Uint8Array(8)), MIXED)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    const window = new MappedWindow(new Uint8Array(512));
    for (const offset of [4, 504, -8, 0.5]) {
      expect(() => bindRegisters(window, MIXED, { offset })).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    }
  });

  it('show themselves without reading what reading changes', () => {
    const { regs, view } = bound();
    view.setUint32(0, 0x0100_000b, true);
    expect(String(regs.CONTROL)).toBe('CONTROL @0x0 = 0x0100000b  ENABLE=1 MODE=FAST ERROR=0 VERSION=1');
    const all = regs.toString();
    expect(all).toContain('FIFO @0x7 (not read: reading has an effect)');
    expect(all).toContain('COMMAND @0x60 (write only)');
    expect(all).toContain('ENTRY[1].MASK @0x5c = 0x00000000  MASKED=0');
    expect(Object.keys(regs)).toContain('ENTRY');
    expect(Object.keys(regs.CONTROL)).toEqual(['ENABLE', 'MODE', 'GO', 'ERROR', 'VERSION']);
  });

  it('have no method for the compiler that their mode forbids', () => {
    const regs = bindRegisters(new MappedWindow(new Uint8Array(256)), EDU);
    regs.STATUS.RAISE_IRQ.write(1);
    expectTypeOf(regs.FACTORIAL.read()).toEqualTypeOf<number>();
    expectTypeOf(regs.DMA_SRC.read()).toEqualTypeOf<bigint>();
    expectTypeOf(regs.IRQ_ACK).not.toHaveProperty('read');
    expectTypeOf(regs.STATUS.BUSY).not.toHaveProperty('write');
    expectTypeOf(regs.STATUS).toHaveProperty('update');
    expect(regs.STATUS.read()).toBe(0x80);
  });
});

describe('values without a device', () => {
  it('decode what they encode, for any fields', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 7 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 255 }),
        (mode, on, version) => {
          const values = { ENABLE: Number(on), MODE: mode, ERROR: 0, VERSION: version };
          const { CONTROL } = MIXED.entries;
          expect(decodeFields(CONTROL, encodeFields(CONTROL, values))).toEqual(values);
        },
      ),
    );
  });

  it('throw ERR_VFIO_ARGUMENT for a field that is not there', () => {
    expect(() => encodeFields(MIXED.entries.CONTROL, { NOTHING: 1 } as never)).toThrow(code('ERR_VFIO_ARGUMENT'));
  });
});
