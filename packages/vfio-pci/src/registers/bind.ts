/** A register table on a window: objects made once, each access one call of the window. */

import { type RegisterWindow, VfioError } from 'vfio-core';
import { registerAccess } from './access.js';
import {
  type FieldDescription,
  type Fields,
  isRegister,
  type Mode,
  type RegisterDescription,
  type RegisterEntries,
  type RegisterGroup,
  type RegisterWidth,
  type RepeatDescription,
} from './description.js';
import type { RegisterTable } from './table.js';
import {
  decodeFields,
  describeFields,
  encodeFields,
  extract,
  type FieldSettings,
  type FieldValue,
  type FieldValues,
  fieldNumber,
  hex,
  type RegisterValue,
  unknownField,
  valueText,
} from './values.js';

/** What every register on a window has. */
export interface RegisterBase<D extends RegisterDescription> {
  /** As in the table; `VECTOR[3].DATA` inside a repetition. */
  readonly name: string;
  /** Bytes from the window's start. */
  readonly offset: number;
  readonly description: D;
  toString(): string;
}

export interface ReadableRegister<W extends RegisterWidth, F extends Fields> {
  /** One read of the register's width. Unsigned; a bigint for 64 bits. */
  read(): RegisterValue<W>;
  /** One read, decoded: `{ BUSY: 0, MODE: 2 }`. */
  fields(): FieldValues<F>;
}

export interface WritableRegister<W extends RegisterWidth, F extends Fields> {
  /** One write of the register's width. Throws `ERR_VFIO_ARGUMENT` for a value that does not fit. */
  write(value: RegisterValue<W>): void;
  /** One write with the fields given and every other bit 0; nothing is read. */
  set(fields: FieldSettings<F>): void;
}

export interface UpdatableRegister<F extends Fields> {
  /**
   * One read, the fields given changed, one write. Bits of no field are written back as read; write-one-to-clear and
   * write-only fields that are not given are written as 0, so that nothing is cleared or started by the way.
   */
  update(fields: FieldSettings<F>): void;
}

export interface ClearableRegister {
  /** Clears what is set: reads, and writes the same ones back. */
  clear(): void;
}

/** A field on a window. */
export interface FieldBase<D extends FieldDescription> {
  readonly name: string;
  readonly description: D;
}

export interface ReadableField {
  /** Reads the register; the field's bits, shifted down. */
  read(): number;
  /** Reads; the name of the value where it has one, else the number in words. */
  text(): string;
}

export interface WritableField<D extends FieldDescription> {
  /**
   * Changes this field alone: reads the register, merges, writes (see `update`). Fields of a write-only or
   * write-one-to-clear register are written without a read, all other bits 0.
   */
  write(value: FieldValue<D>): void;
}

/** No methods of this kind: the mode does not have them. */
export type None = unknown;

export type BoundField<D extends FieldDescription> = FieldBase<D> &
  (D['mode'] extends 'WO' ? None : ReadableField) &
  (D['mode'] extends 'RO' ? None : WritableField<D>);

/** A register on a window: what its mode does not allow is not there for the compiler, and throws `ERR_VFIO_REGISTER_ACCESS` at run time. */
export type BoundRegister<D extends RegisterDescription> =
  D extends RegisterDescription<infer W, infer M, infer F>
    ? RegisterBase<D> &
        (M extends 'WO' ? None : ReadableRegister<W, F>) &
        (M extends 'RO' ? None : WritableRegister<W, F>) &
        (M extends 'RW' ? UpdatableRegister<F> : None) &
        (M extends 'RW1C' ? ClearableRegister : None) & { readonly [K in keyof F]: BoundField<F[K]> }
    : never;

/** Copies of a register or group. */
export interface BoundRepeat<T> extends Iterable<T> {
  readonly length: number;
  /** Throws `ERR_VFIO_ARGUMENT` outside 0 to `length - 1`. */
  at(index: number): T;
}

export type BoundGroup<G extends RegisterGroup> = { readonly [K in keyof G]: BoundRegister<G[K]> };

export type BoundEntry<E> = E extends RegisterDescription
  ? BoundRegister<E>
  : E extends RepeatDescription<infer R>
    ? R extends RegisterDescription
      ? BoundRepeat<BoundRegister<R>>
      : R extends RegisterGroup
        ? BoundRepeat<BoundGroup<R>>
        : never
    : never;

/** The table's registers by name, on a window. `toString()` reads and shows them all. */
export type RegistersOf<T extends RegisterTable> = {
  readonly [K in keyof T['entries']]: BoundEntry<T['entries'][K]>;
} & { toString(): string };

/** What a REPL calls to show an object. */
const inspect: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

/**
 * Binds a table to a window. The objects are made here, once; afterwards a `read()` or `write()` is one call of the window.
 * Throws `ERR_VFIO_WINDOW_RANGE` where the table does not fit or would lie unaligned.
 * @param options.offset bytes from the window's start to the table's; 0 by default
 */
export function bindRegisters<T extends RegisterTable>(
  window: RegisterWindow,
  table: T,
  options: { readonly offset?: number } = {},
): RegistersOf<T> {
  const base = options.offset ?? 0;
  if (!Number.isSafeInteger(base) || base < 0 || base + table.size > window.length || base % table.alignment !== 0) {
    throw new VfioError(
      'ERR_VFIO_WINDOW_RANGE',
      `Table ${table.name} (${table.size} bytes, aligned to ${table.alignment}) does not fit at offset ${base} of a window of ${window.length} bytes.`,
      {
        remedy: 'Take a longer window, or a table for this device.',
        details: {
          table: table.name,
          size: table.size,
          alignment: table.alignment,
          offset: base,
          window: window.length,
        },
      },
    );
  }
  return new BoundTable(window, table, base) as unknown as RegistersOf<T>;
}

class BoundTable {
  constructor(window: RegisterWindow, table: RegisterTable, base: number) {
    const title = table.name;
    hide(this, 'toString', () => `${title}\n${linesOf(this as Record<string, unknown>).join('\n')}`);
    hide(this, inspect, () => this.toString());
    bindAll(this as Record<string, unknown>, window, table.entries, base);
    Object.freeze(this);
  }
}

/** A register's or table's methods are kept out of its listing, so that the names at a REPL are those of the table. */
function hide(target: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: false });
}

function linesOf(set: Record<string, unknown>): string[] {
  return Object.values(set).flatMap((item) => (item instanceof Repeated ? item.lines() : [`  ${String(item)}`]));
}

function bindAll(
  target: Record<string, unknown>,
  window: RegisterWindow,
  entries: RegisterEntries,
  base: number,
): void {
  for (const [name, entry] of Object.entries(entries)) {
    target[name] =
      entry.kind === 'register' ? new Bound(window, name, entry, base) : repeated(window, name, entry, base);
  }
}

function repeated(window: RegisterWindow, name: string, repeat: RepeatDescription, base: number): Repeated {
  const { entry, offset, stride } = repeat;
  return new Repeated(
    name,
    Array.from({ length: repeat.count }, (_, index) => {
      const start = base + offset + index * stride;
      const place = `${name}[${index}]`;
      if (isRegister(entry)) return new Bound(window, place, entry, start);
      const group: Record<string, unknown> = {};
      for (const [inner, one] of Object.entries(entry))
        group[inner] = new Bound(window, `${place}.${inner}`, one, start);
      return Object.freeze(group);
    }),
  );
}

/** Copies shown by `toString()`; a table of 2048 vectors would bury the rest. */
const shownCopies = 8;

class Repeated {
  readonly length: number;

  constructor(
    private readonly name: string,
    private readonly items: readonly unknown[],
  ) {
    this.length = items.length;
    hide(this, 'items', items);
  }

  at(index: number): unknown {
    const item = this.items[index];
    if (item === undefined) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `${this.name} has 0 to ${this.length - 1}, not ${index}.`, {
        details: { register: this.name, index, length: this.length },
      });
    }
    return item;
  }

  [Symbol.iterator](): Iterator<unknown> {
    return this.items[Symbol.iterator]();
  }

  lines(): string[] {
    const shown = this.items
      .slice(0, shownCopies)
      .flatMap((item) => (item instanceof Bound ? [`  ${item}`] : linesOf(item as Record<string, unknown>)));
    return this.length > shownCopies ? [...shown, `  ... ${this.length - shownCopies} more`] : shown;
  }

  toString(): string {
    return this.lines().join('\n');
  }

  [inspect](): string {
    return this.toString();
  }
}

type Read = () => number | bigint;
type Write = (value: number | bigint) => void;

/**
 * A register on a window. `read` and `write` are functions of this one register, made here: shared methods would meet a
 * different object shape per register (each has its own fields) and so lose the engine's inline caches.
 */
class Bound {
  readonly name: string;
  readonly offset: number;
  readonly description: RegisterDescription;
  declare readonly read: Read;
  declare readonly write: Write;

  constructor(window: RegisterWindow, name: string, description: RegisterDescription, base: number) {
    this.name = name;
    this.offset = base + description.offset;
    this.description = description;
    const { mode } = description;
    const access = registerAccess(window, name, this.offset, description);
    const read: Read = mode === 'WO' ? () => refuse(name, mode, 'read') : access.read;
    const write: Write = mode === 'RO' ? () => refuse(name, mode, 'written') : access.write;
    const merge = (values: FieldSettings<Fields>): number | bigint => merged(name, description, access.read(), values);
    hide(this, 'read', read);
    hide(this, 'write', write);
    hide(this, 'fields', () => decodeFields(description, read()));
    hide(this, 'set', (values: FieldSettings<Fields>) => {
      checkWritable(name, description, values);
      write(encodeFields(description, values));
    });
    hide(this, 'update', (values: FieldSettings<Fields>) => {
      if (mode !== 'RW') refuse(name, mode, 'updated');
      write(merge(values));
    });
    hide(this, 'clear', () => {
      if (mode !== 'RW1C') refuse(name, mode, 'cleared');
      write(read());
    });
    for (const [field, one] of Object.entries(description.fields as Fields)) {
      (this as unknown as Record<string, unknown>)[field] = boundField(
        `${name}.${field}`,
        field,
        one,
        description,
        access,
      );
    }
    for (const key of ['name', 'offset', 'description'] as const) hide(this, key, this[key]);
    Object.freeze(this);
  }

  toString(): string {
    const { description } = this;
    const place = `${this.name} @0x${this.offset.toString(16)}`;
    if (description.mode === 'WO') return `${place} (write only)`;
    if (description.readHasEffect === true) return `${place} (not read: reading has an effect)`;
    const value = this.read();
    const unit = description.unit === undefined ? '' : ` ${description.unit}`;
    const fields = describeFields(description, value);
    return `${place} = ${hex(value, description.width)}${unit}${fields === '' ? '' : `  ${fields}`}`;
  }

  [inspect](): string {
    return this.toString();
  }
}

function boundField(
  place: string,
  name: string,
  field: FieldDescription,
  register: RegisterDescription,
  access: { readonly read: Read; readonly write: Write },
): object {
  const { mode } = field;
  const blind = register.mode === 'WO' || register.mode === 'RW1C';
  const read =
    mode === 'WO' || register.mode === 'WO'
      ? () => refuse(place, 'WO', 'read')
      : fieldRead(field, register, access.read);
  const write =
    mode === 'RO'
      ? () => refuse(place, mode, 'written')
      : (value: number | string) => {
          const settings = { [name]: value };
          access.write(
            blind ? encodeFields(register, settings as never) : merged(place, register, access.read(), settings),
          );
        };
  const result = {
    read,
    write,
    text: () => valueText(field, read()),
    toString: () => `${place} = ${valueText(field, read())}`,
  };
  hide(result, 'name', place);
  hide(result, 'description', field);
  hide(result, inspect, result.toString);
  return Object.freeze(result);
}

/** Reads a field; for registers of up to 32 bits in plain number arithmetic. */
function fieldRead(field: FieldDescription, register: RegisterDescription, read: Read): () => number {
  if (register.width === 64) return () => extract(field, read());
  const { low } = field;
  const mask = 2 ** (field.high - low + 1) - 1;
  return () => (((read() as number) >>> low) & mask) >>> 0;
}

/** The value that an update writes. */
function merged(
  place: string,
  register: RegisterDescription,
  current: number | bigint,
  values: Readonly<Record<string, number | string | undefined>>,
): number | bigint {
  checkWritable(place, register, values);
  let value = BigInt(current);
  for (const [name, field] of Object.entries(register.fields as Fields)) {
    const given = values[name];
    if (given === undefined && field.mode !== 'RW1C' && field.mode !== 'WO') continue;
    const mask = ((1n << BigInt(field.high - field.low + 1)) - 1n) << BigInt(field.low);
    const number = given === undefined ? 0 : fieldNumber(name, field, given);
    value = (value & ~mask) | (BigInt(number) << BigInt(field.low));
  }
  return register.width === 64 ? value : Number(value);
}

function checkWritable(place: string, register: RegisterDescription, values: object): void {
  for (const name of Object.keys(values)) {
    const field = (register.fields as Fields)[name];
    if (field === undefined) throw unknownField(name, register);
    if (field.mode === 'RO') refuse(`${place}.${name}`, 'RO', 'written');
  }
}

function refuse(name: string, mode: Mode, verb: string): never {
  throw new VfioError('ERR_VFIO_REGISTER_ACCESS', `${name} is ${mode} and cannot be ${verb}.`, {
    details: { register: name, mode, verb },
  });
}
