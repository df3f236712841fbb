/** The plain read and write of one register: functions over a window, one for each width. */

import { type RegisterWindow, VfioError } from 'vfio-core';
import type { RegisterDescription } from './description.js';

/** One register's accesses, whatever its mode. */
export interface RegisterAccess {
  readonly read: () => number | bigint;
  readonly write: (value: number | bigint) => void;
}

/**
 * Makes the accesses of one register. Values that do not fit throw `ERR_VFIO_ARGUMENT`. A 32-bit register also takes a
 * negative 32-bit number, which is what `|` and `~` give in JavaScript.
 */
export function registerAccess(
  window: RegisterWindow,
  name: string,
  offset: number,
  register: RegisterDescription,
): RegisterAccess {
  switch (register.width) {
    case 8:
      return {
        read: () => window.read8(offset),
        write: (value) => {
          if (typeof value !== 'number' || (value & 0xff) !== value) tooWide(name, 8, value);
          window.write8(offset, value);
        },
      };
    case 16:
      return {
        read: () => window.read16(offset),
        write: (value) => {
          if (typeof value !== 'number' || (value & 0xffff) !== value) tooWide(name, 16, value);
          window.write16(offset, value);
        },
      };
    case 32:
      return {
        read: () => window.read32(offset),
        write: (value) => {
          if (typeof value !== 'number' || (value >>> 0 !== value && (value | 0) !== value)) tooWide(name, 32, value);
          window.write32(offset, value >>> 0);
        },
      };
    default:
      return access64(window, name, offset, register);
  }
}

function access64(window: RegisterWindow, name: string, offset: number, register: RegisterDescription): RegisterAccess {
  const check = (value: number | bigint): bigint => {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) tooWide(name, 64, value);
    return value;
  };
  if (register.access === 64) {
    return { read: () => window.read64(offset), write: (value) => window.write64(offset, check(value)) };
  }
  const [first, second] = register.access === 'low-first' ? [0, 4] : [4, 0];
  return {
    read: () => {
      const one = BigInt(window.read32(offset + first));
      const two = BigInt(window.read32(offset + second));
      return first === 0 ? one | (two << 32n) : two | (one << 32n);
    },
    write: (value) => {
      const checked = check(value);
      const half = (at: number) => Number((checked >> BigInt(at * 8)) & 0xffff_ffffn);
      window.write32(offset + first, half(first));
      window.write32(offset + second, half(second));
    },
  };
}

function tooWide(name: string, width: number, value: unknown): never {
  const wanted = width === 64 ? 'a bigint of 64 bits' : `a whole number of ${width} bits`;
  throw new VfioError('ERR_VFIO_ARGUMENT', `${name} takes ${wanted}, not ${String(value)} (${typeof value}).`, {
    remedy: 'Give an unsigned value that fits.',
    details: { register: name, width, value },
  });
}
