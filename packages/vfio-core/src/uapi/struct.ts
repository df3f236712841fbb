/** A C structure as a table, and the two functions that work on any such table. */

import { VfioError } from '../errors/error.js';

/** How a field is stored, little-endian. `u64` is a bigint; the others are numbers. */
export type FieldKind = 'u8' | 'u16' | 'u32' | 's32' | 'u64';

/** One field. */
export interface Field {
  /** Bytes from the structure's start. */
  readonly offset: number;
  /** Bytes; 0 for an array of open length at the structure's end. */
  readonly size: number;
  /** Not there for nested structures and arrays, which their own tables describe. */
  readonly kind?: FieldKind;
}

/** One structure. */
export interface Struct {
  /** `sizeof` in C. */
  readonly size: number;
  /** Smallest `argsz` that every kernel takes; the size where not given. */
  readonly minimum?: number;
  readonly fields: Readonly<Record<string, Field>>;
}

/** The type of a field's value: bigint for 64 bits, number for fewer. */
export type FieldValueOf<F> = F extends { readonly kind: 'u64' }
  ? bigint
  : F extends { readonly kind: FieldKind }
    ? number
    : never;

/** What {@link decode} gives: the plain fields by name. */
export type StructValues<S extends Struct> = {
  readonly [K in keyof S['fields'] as S['fields'][K] extends { readonly kind: FieldKind } ? K : never]: FieldValueOf<
    S['fields'][K]
  >;
};

const bytesOf: Record<FieldKind, number> = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 };

/** A plain field at `offset`. */
export const field = <const O extends number, const K extends FieldKind>(offset: O, kind: K) => ({
  offset,
  size: bytesOf[kind],
  kind,
});

/**
 * The structure's bytes: fields not given are 0, and a first field that tells the length (`argsz`, `size`) does so unless given.
 * Throws `ERR_VFIO_ARGUMENT` for a value that does not fit its field.
 * @param length total bytes, for structures with an array behind; the structure's size by default
 */
export function encode<S extends Struct>(
  struct: S,
  values: Partial<StructValues<S>> = {},
  length: number = struct.size,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const given: Record<string, number | bigint | undefined> = values;
  for (const name in struct.fields) {
    const { offset, kind } = struct.fields[name] as Field;
    const value = given[name] ?? (tellsLength(name, offset) ? length : undefined);
    if (value !== undefined && kind !== undefined) store(view, offset, kind, value, name);
  }
  return bytes;
}

/**
 * The plain fields of a structure.
 * Throws `ERR_VFIO_MALFORMED` where the bytes end before the structure does.
 * @param at where it starts
 */
export function decode<S extends Struct>(struct: S, bytes: Uint8Array, at = 0): StructValues<S> {
  if (!Number.isSafeInteger(at) || at < 0 || at + struct.size > bytes.length) {
    throw new VfioError(
      'ERR_VFIO_MALFORMED',
      `${struct.size} bytes at ${at} are not inside a reply of ${bytes.length}.`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const values: Record<string, number | bigint> = {};
  for (const name in struct.fields) {
    const { offset, kind } = struct.fields[name] as Field;
    if (kind !== undefined) values[name] = load(view, at + offset, kind);
  }
  return values as StructValues<S>;
}

/** The bytes of a structure, made once for a call that is made often: to make them anew costs more than such a call. */
export class StructBytes<S extends Struct> {
  private readonly struct: S;
  private readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly view: DataView;

  /** @param values of the fields that stay */
  constructor(struct: S, values: Partial<StructValues<S>> = {}) {
    this.struct = struct;
    this.bytes = encode(struct, values);
    this.view = new DataView(this.bytes.buffer);
  }

  /**
   * Sets fields. Throws as {@link encode}.
   * @returns the bytes, good until the next time
   */
  set(values: Partial<StructValues<S>>): Uint8Array<ArrayBuffer> {
    const given = values as Readonly<Record<string, number | bigint>>;
    for (const name in given) {
      const { offset, kind } = this.struct.fields[name] as Field;
      if (kind !== undefined) store(this.view, offset, kind, given[name] as number | bigint, name);
    }
    return this.bytes;
  }

  get<K extends keyof StructValues<S> & string>(name: K): StructValues<S>[K] {
    const { offset, kind } = this.struct.fields[name] as Field;
    return load(this.view, offset, kind as FieldKind) as StructValues<S>[K];
  }
}

const tellsLength = (name: string, offset: number): boolean => offset === 0 && (name === 'argsz' || name === 'size');

function load(view: DataView, offset: number, kind: FieldKind): number | bigint {
  switch (kind) {
    case 'u8':
      return view.getUint8(offset);
    case 'u16':
      return view.getUint16(offset, true);
    case 'u32':
      return view.getUint32(offset, true);
    case 's32':
      return view.getInt32(offset, true);
    case 'u64':
      return view.getBigUint64(offset, true);
  }
}

function store(view: DataView, offset: number, kind: FieldKind, value: number | bigint, name: string): void {
  if (kind === 'u64') {
    const wide = typeof value === 'bigint' ? value : Number.isSafeInteger(value) ? BigInt(value) : -1n;
    if (wide !== BigInt.asUintN(64, wide)) unfit(name, kind, value);
    view.setBigUint64(offset, wide, true);
    return;
  }
  const bits = 8 * bytesOf[kind];
  const low = kind === 's32' ? -(2 ** 31) : 0;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value >= low + 2 ** bits) {
    unfit(name, kind, value);
  }
  if (kind === 'u8') view.setUint8(offset, value);
  else if (kind === 'u16') view.setUint16(offset, value, true);
  else if (kind === 'u32') view.setUint32(offset, value, true);
  else view.setInt32(offset, value, true);
}

function unfit(name: string, kind: FieldKind, value: unknown): never {
  throw new VfioError('ERR_VFIO_ARGUMENT', `${String(value)} does not fit the ${kind} field ${name}.`, {
    details: { field: name, kind, value },
  });
}
