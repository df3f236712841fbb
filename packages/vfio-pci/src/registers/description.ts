/** Registers as data: what a register table is made of. */

import { VfioError } from 'vfio-core';

/**
 * How software may use a register or a field.
 * - `RO` read only
 * - `RW` read and write
 * - `WO` write only: what it reads means nothing
 * - `RW1C` reads; writing 1 clears, writing 0 does nothing
 */
export type Mode = 'RO' | 'RW' | 'WO' | 'RW1C';

/** Bits of a register. */
export type RegisterWidth = 8 | 16 | 32 | 64;

/** Names of a field's values: `{ OFF: 0, ON: 1 }`. */
export type ValueNames = Readonly<Record<string, number>>;

/** What {@link bit} and {@link bits} take beside the place. */
export interface FieldOptions<V extends ValueNames = ValueNames> {
  /** Names for values; `write` takes them, `text()` shows them. */
  readonly values?: V;
  /** What one step of the value is: `500 ms`, `4 KiB`. */
  readonly unit?: string;
  /** One sentence of what it is. */
  readonly text?: string;
}

/** A field of a register: bits `high` down to `low`. */
export interface FieldDescription<M extends Mode = Mode, V extends ValueNames = ValueNames> {
  readonly kind: 'field';
  readonly high: number;
  readonly low: number;
  readonly mode: M;
  readonly values: V;
  readonly unit?: string;
  readonly text?: string;
}

export type Fields = Readonly<Record<string, FieldDescription>>;
export type NoFields = Record<never, never>;

/** How a 64-bit register may be accessed: in one, or in two halves in the order given. */
export type Access64 = 64 | 'low-first' | 'high-first';

export interface RegisterOptions {
  /** What one step of the value is: `ms`, `4 KiB`. */
  readonly unit?: string;
  /** Where the specification describes it: `NVMe 1.4, 3.1.1`. */
  readonly spec?: string;
  /** One sentence of what it is. */
  readonly text?: string;
  /** Reading it changes the device (a FIFO, a clear-on-read status): `toString()` leaves it out. */
  readonly readHasEffect?: boolean;
}

export interface Register64Options extends RegisterOptions {
  /** 64 by default. Some devices drop a store to one half, others take halves only, in one order. */
  readonly access?: Access64;
}

/** A register: offset in bytes from the table's start, width in bits, mode, fields. */
export interface RegisterDescription<
  W extends RegisterWidth = RegisterWidth,
  M extends Mode = Mode,
  F extends Fields = Fields,
> extends Register64Options {
  readonly kind: 'register';
  readonly width: W;
  readonly offset: number;
  readonly mode: M;
  readonly fields: F;
  readonly access: Access64;
}

/** `count` copies of a register or of a group of registers, `stride` bytes apart. Offsets inside count from each copy's start. */
export interface RepeatDescription<E extends RepeatedEntry = RepeatedEntry> {
  readonly kind: 'repeat';
  readonly offset: number;
  readonly count: number;
  readonly stride: number;
  readonly entry: E;
}

export type RegisterGroup = { readonly [name: string]: RegisterDescription };
export type RepeatedEntry = RegisterDescription | RegisterGroup;
export type RegisterEntry = RegisterDescription | RepeatDescription;
export type RegisterEntries = { readonly [name: string]: RegisterEntry };

const bad = (message: string, details: Record<string, unknown>) =>
  new VfioError('ERR_VFIO_ARGUMENT', message, { details });

/**
 * Bit `n` of a register.
 * @param n 0 to 63
 */
export const bit = <M extends Mode, const V extends ValueNames = NoFields>(
  n: number,
  mode: M,
  options: FieldOptions<V> = {},
): FieldDescription<M, V> => bits(n, n, mode, options);

/**
 * Bits `high` down to `low`, both inclusive, at most 53 of them (values are numbers; a wider thing is a whole register).
 * Throws `ERR_VFIO_ARGUMENT` for a place that cannot be.
 */
export function bits<M extends Mode, const V extends ValueNames = NoFields>(
  high: number,
  low: number,
  mode: M,
  options: FieldOptions<V> = {},
): FieldDescription<M, V> {
  const whole = Number.isInteger(high) && Number.isInteger(low);
  if (!whole || low < 0 || high < low || high > 63 || high - low >= 53) {
    throw bad(`bits ${high}..${low} are no field: 63 >= high >= low >= 0, at most 53 bits.`, { high, low });
  }
  const limit = 2 ** (high - low + 1);
  for (const [name, value] of Object.entries(options.values ?? {})) {
    if (!Number.isInteger(value) || value < 0 || value >= limit) {
      throw bad(`The value ${name} = ${value} does not fit in bits ${high}..${low}.`, { high, low, name, value });
    }
  }
  return Object.freeze({ ...options, kind: 'field', high, low, mode, values: (options.values ?? {}) as V });
}

const isField = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'field';

function register<W extends RegisterWidth, M extends Mode, F extends Fields>(
  width: W,
  offset: number,
  mode: M,
  fieldsOrOptions: F | Register64Options = {},
  more: Register64Options = {},
): RegisterDescription<W, M, F> {
  const given = Object.values(fieldsOrOptions);
  const isFields = given.some(isField);
  const fields = (isFields ? fieldsOrOptions : {}) as F;
  const options = isFields ? more : { ...(fieldsOrOptions as Register64Options), ...more };
  return Object.freeze({
    access: 64,
    ...options,
    kind: 'register',
    width,
    offset,
    mode,
    fields: Object.freeze(fields),
  });
}

/** The makers share one shape: `reg32(offset, mode)`, `reg32(offset, mode, options)`, `reg32(offset, mode, fields, options?)`. */
export interface RegisterMaker<W extends RegisterWidth, O> {
  <M extends Mode>(offset: number, mode: M, options?: O): RegisterDescription<W, M, NoFields>;
  <M extends Mode, const F extends Fields>(
    offset: number,
    mode: M,
    fields: F,
    options?: O,
  ): RegisterDescription<W, M, F>;
}

const maker = <W extends RegisterWidth, O extends Register64Options>(width: W) =>
  ((offset: number, mode: Mode, fieldsOrOptions?: Fields | O, options?: O) =>
    register(width, offset, mode, fieldsOrOptions, options)) as RegisterMaker<W, O>;

/** An 8-bit register. */
export const reg8: RegisterMaker<8, RegisterOptions> = /* @__PURE__ */ maker(8);
/** A 16-bit register at an offset that is a multiple of 2. */
export const reg16: RegisterMaker<16, RegisterOptions> = /* @__PURE__ */ maker(16);
/** A 32-bit register at an offset that is a multiple of 4. */
export const reg32: RegisterMaker<32, RegisterOptions> = /* @__PURE__ */ maker(32);
/** A 64-bit register at an offset that is a multiple of 8 (of 4 where it is accessed in halves). Values are bigints. */
export const reg64: RegisterMaker<64, Register64Options> = /* @__PURE__ */ maker(64);

/**
 * `count` copies, `stride` bytes apart, of one register or of a group of registers. The first copy starts at `offset`
 * (0 by default); offsets inside count from the copy's start.
 *
 * ```ts
 * const MSIX_TABLE = registers('MSI-X table', {
 *   VECTOR: repeat(8, 16, { ADDRESS_LOW: reg32(0, 'RW'), ADDRESS_HIGH: reg32(4, 'RW'), DATA: reg32(8, 'RW'), CONTROL: reg32(12, 'RW') }),
 * });
 * regs.VECTOR.at(3).DATA.write(0x41);
 * ```
 */
export function repeat<const E extends RepeatedEntry>(
  count: number,
  stride: number,
  entry: E,
  options: { readonly offset?: number } = {},
): RepeatDescription<E> {
  return Object.freeze({ kind: 'repeat', offset: options.offset ?? 0, count, stride, entry });
}

/** Whether an entry of {@link repeat} is one register (else a group). */
export const isRegister = (entry: RepeatedEntry | RegisterEntry): entry is RegisterDescription =>
  (entry as RegisterDescription).kind === 'register' && typeof (entry as RegisterDescription).width === 'number';
