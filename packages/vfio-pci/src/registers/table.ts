/** A register table: named registers, checked when it is made. */

import { VfioError } from 'vfio-core';
import {
  type Fields,
  isRegister,
  type RegisterDescription,
  type RegisterEntries,
  type RegisterEntry,
  type RepeatDescription,
} from './description.js';

/** Made by {@link registers}; bound to a window by `region.registers(table)` or `bindRegisters(window, table)`. */
export interface RegisterTable<E extends RegisterEntries = RegisterEntries> {
  readonly name: string;
  readonly entries: E;
  /** Bytes from offset 0 to the end of the last register. */
  readonly size: number;
  /** Bytes to which the table's start must be aligned: the widest access in it. */
  readonly alignment: number;
}

/** Where one register lies, for checks and listings. */
interface Span {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly register: RegisterDescription;
}

const nameRule = /^[A-Z][A-Za-z0-9_]*$/;

/**
 * Makes a register table and checks it: names start with a capital letter (small letters are for methods), offsets are
 * whole multiples of the access width, no two registers overlap (save a read-only and a write-only one on the same
 * bytes), fields lie inside their register, do not overlap and agree with its mode. The order of entries is free.
 * Throws `ERR_VFIO_ARGUMENT` with the table's and the register's name.
 *
 * ```ts
 * const EDU = registers('edu', {
 *   FACTORIAL: reg32(0x08, 'RW'),
 *   STATUS: reg32(0x20, 'RW', { BUSY: bit(0, 'RO'), RAISE_IRQ: bit(7, 'RW') }),
 * });
 * ```
 */
export function registers<const E extends RegisterEntries>(name: string, entries: E): RegisterTable<E> {
  const spans: Span[] = [];
  for (const [key, entry] of Object.entries(entries)) collect(name, key, entry, spans);
  const sorted = [...spans].sort((a, b) => a.start - b.start);
  checkOverlap(name, sorted);
  return Object.freeze({
    name,
    entries: Object.freeze(entries),
    size: spans.reduce((size, span) => Math.max(size, span.end), 0),
    alignment: spans.reduce((most, span) => Math.max(most, accessBytes(span.register)), 1),
  });
}

/** Bytes of the widest access that a register needs. */
export const accessBytes = (register: RegisterDescription): number =>
  register.width === 64 && register.access !== 64 ? 4 : register.width / 8;

function collect(table: string, name: string, entry: RegisterEntry, spans: Span[]): void {
  checkName(table, name);
  if (entry.kind === 'register') {
    spans.push(span(table, name, entry, 0));
    return;
  }
  checkRepeat(table, name, entry);
  const group = isRegister(entry.entry) ? { '': entry.entry } : entry.entry;
  for (const [inner, register] of Object.entries(group)) {
    if (inner !== '') checkName(table, inner);
    if (register.offset + register.width / 8 > entry.stride && entry.count > 1) {
      refuse(table, name, `reaches past its stride of ${entry.stride} bytes`);
    }
    for (let index = 0; index < entry.count; index++) {
      const place = `${name}[${index}]${inner === '' ? '' : `.${inner}`}`;
      spans.push(span(table, place, register, entry.offset + index * entry.stride));
    }
  }
}

function span(table: string, name: string, register: RegisterDescription, base: number): Span {
  const start = base + register.offset;
  if (!Number.isSafeInteger(register.offset) || register.offset < 0) {
    refuse(table, name, `has no offset: ${register.offset}`);
  }
  if (start % accessBytes(register) !== 0) {
    refuse(table, name, `at 0x${start.toString(16)} is not aligned to ${accessBytes(register)} bytes`);
  }
  checkFields(table, name, register);
  return { name, start, end: start + register.width / 8, register };
}

function checkOverlap(table: string, sorted: readonly Span[]): void {
  // An open list is needed, and not just the neighbour: two registers may share bytes as a read-only and a write-only face.
  let open: Span[] = [];
  for (const next of sorted) {
    open = open.filter((earlier) => earlier.end > next.start);
    for (const earlier of open) {
      const modes = `${earlier.register.mode} ${next.register.mode}`;
      const twoFaces = modes === 'RO WO' || modes === 'WO RO';
      if (!twoFaces) refuse(table, next.name, `overlaps ${earlier.name} at 0x${next.start.toString(16)}`);
    }
    open.push(next);
  }
}

function checkFields(table: string, name: string, register: RegisterDescription): void {
  const fields = Object.entries(register.fields as Fields);
  let previous: { name: string; high: number } | undefined;
  for (const [key, field] of fields.sort(([, a], [, b]) => a.low - b.low)) {
    checkName(table, key);
    if (field.high >= register.width) {
      refuse(table, `${name}.${key}`, `has bit ${field.high}, but the register has ${register.width} bits`);
    }
    if (previous !== undefined && previous.high >= field.low) {
      refuse(table, `${name}.${key}`, `overlaps ${previous.name} at bit ${field.low}`);
    }
    const fits =
      register.mode === 'RW' || field.mode === register.mode || (register.mode === 'RW1C' && field.mode === 'RO');
    if (!fits) refuse(table, `${name}.${key}`, `is ${field.mode}, but its register is ${register.mode}`);
    previous = { name: key, high: field.high };
  }
}

function checkRepeat(table: string, name: string, entry: RepeatDescription): void {
  if (!Number.isSafeInteger(entry.count) || entry.count < 1 || entry.count > 65_536) {
    refuse(table, name, `cannot be repeated ${entry.count} times (1 to 65536)`);
  }
  if (!Number.isSafeInteger(entry.stride) || entry.stride < 1) refuse(table, name, `has no stride: ${entry.stride}`);
  if (!Number.isSafeInteger(entry.offset) || entry.offset < 0) refuse(table, name, `has no offset: ${entry.offset}`);
}

function checkName(table: string, name: string): void {
  if (!nameRule.test(name)) refuse(table, name, 'must start with a capital letter, then letters, digits and _');
}

function refuse(table: string, register: string, reason: string): never {
  throw new VfioError('ERR_VFIO_ARGUMENT', `Register table ${table}: ${register} ${reason}.`, {
    remedy: 'Correct the table.',
    details: { table, register, reason },
  });
}
