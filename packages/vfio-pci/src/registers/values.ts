/** Register values and their fields, without a device: decode what was read, compose what is to be written. */

import { VfioError } from 'vfio-core';
import type { FieldDescription, Fields, RegisterDescription, RegisterWidth } from './description.js';

/** What a register of this width reads: numbers are unsigned; 64 bits are a bigint. */
export type RegisterValue<W extends RegisterWidth> = W extends 64 ? bigint : number;

/** What a field takes: a number, or the name of one of its values. */
export type FieldValue<D extends FieldDescription> = number | Extract<keyof D['values'], string>;

/** Values of the fields that can be read. */
export type FieldValues<F extends Fields> = {
  -readonly [K in keyof F as F[K]['mode'] extends 'WO' ? never : K]: number;
};

/** Values for fields that can be written. */
export type FieldSettings<F extends Fields> = {
  readonly [K in keyof F as F[K]['mode'] extends 'RO' ? never : K]?: FieldValue<F[K]>;
};

/** The value of one field inside a register's value. Allocates nothing for numbers. */
export function extract(field: FieldDescription, value: number | bigint): number {
  if (typeof value === 'bigint') return Number(BigInt.asUintN(field.high - field.low + 1, value >> BigInt(field.low)));
  const size = field.high - field.low + 1;
  return size === 32 ? value >>> 0 : (value >>> field.low) & (2 ** size - 1);
}

/** The number that a field's value or name stands for. Throws `ERR_VFIO_ARGUMENT` where it does not fit. */
export function fieldNumber(name: string, field: FieldDescription, value: number | string): number {
  const number = typeof value === 'string' ? field.values[value] : value;
  const limit = 2 ** (field.high - field.low + 1);
  if (number === undefined || !Number.isInteger(number) || number < 0 || number >= limit) {
    const names = Object.keys(field.values);
    throw new VfioError('ERR_VFIO_ARGUMENT', `${name} takes 0 to ${limit - 1}, not ${String(value)}.`, {
      remedy: names.length > 0 ? `Values: ${names.join(', ')}.` : 'Give a whole number in range.',
      details: { field: name, value, least: 0, most: limit - 1, names },
    });
  }
  return number;
}

/** Fields of a register's value, write-only ones left out. Works on any value, with or without a device. */
export function decodeFields<F extends Fields>(
  register: RegisterDescription<RegisterWidth, RegisterDescription['mode'], F>,
  value: number | bigint,
): FieldValues<F> {
  const result: Record<string, number> = {};
  for (const [name, field] of Object.entries(register.fields as Fields)) {
    if (field.mode !== 'WO') result[name] = extract(field, value);
  }
  return result as FieldValues<F>;
}

/**
 * A register's value with the fields given; all other bits 0. Throws `ERR_VFIO_ARGUMENT` for a field that the register
 * does not have, or a value that does not fit. Read-only fields are taken too: a device model composes them.
 */
export function encodeFields<W extends RegisterWidth, F extends Fields>(
  register: RegisterDescription<W, RegisterDescription['mode'], F>,
  values: { readonly [K in keyof F]?: FieldValue<F[K]> },
): RegisterValue<W> {
  let composed = 0n;
  for (const [name, value] of Object.entries(values as Record<string, number | string | undefined>)) {
    const field = (register.fields as Fields)[name];
    if (field === undefined) throw unknownField(name, register);
    if (value !== undefined) composed |= BigInt(fieldNumber(name, field, value)) << BigInt(field.low);
  }
  return (register.width === 64 ? composed : Number(composed)) as RegisterValue<W>;
}

export function unknownField(name: string, register: RegisterDescription): VfioError {
  const names = Object.keys(register.fields as Fields);
  return new VfioError('ERR_VFIO_ARGUMENT', `There is no field ${name}.`, {
    remedy: names.length > 0 ? `Fields: ${names.join(', ')}.` : 'This register has no fields.',
    details: { field: name, fields: names },
  });
}

/** `0x0000001f`, as wide as the register. */
export const hex = (value: number | bigint, width: number): string =>
  `0x${value.toString(16).padStart(width / 4, '0')}`;

/** `BUSY=0 MODE=FAST`: fields of a value in words, low bits first. */
export function describeFields(register: RegisterDescription, value: number | bigint): string {
  return Object.entries(register.fields as Fields)
    .filter(([, field]) => field.mode !== 'WO')
    .sort(([, a], [, b]) => a.low - b.low)
    .map(([name, field]) => `${name}=${valueText(field, extract(field, value))}`)
    .join(' ');
}

/** A field's value by its name where it has one, else in decimal (hexadecimal from 10 on). */
export function valueText(field: FieldDescription, value: number): string {
  for (const [name, number] of Object.entries(field.values)) if (number === value) return name;
  return value < 10 ? String(value) : `0x${value.toString(16)}`;
}
