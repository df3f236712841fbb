/**
 * Walking the two capability lists. What a device says is not trusted: the walks are bounded, and a list that does not
 * hold together is an error that tells how far it went.
 */

import { type RegisterWindow, VfioError } from 'vfio-core';

/** One entry of a list, undecoded. */
export interface ChainEntry {
  readonly id: number;
  readonly offset: number;
  /** The 16 bits after id and pointer (standard), or the 4-bit version (extended). */
  readonly control: number;
}

/** First byte behind the header, and the end of conventional configuration space. */
const first = 0x40;
const conventional = 0x100;
const whole = 0x1000;

const STATUS = 0x06;
const HEADER_TYPE = 0x0e;
const POINTER = 0x34;
const CARDBUS_POINTER = 0x14;
const CAPABILITIES_LIST = 1 << 4;

/** Entries up to the end, or up to where the list breaks. */
export interface Chain {
  readonly entries: readonly ChainEntry[];
  /** Why it does not hold together. */
  readonly broken?: VfioError;
}

/**
 * The standard list, from the pointer at 0x34. Source: PCI Local Bus Specification 3.0, 6.7. The two lowest bits of a pointer are
 * reserved and masked, as the specification asks.
 */
export function walkStandard(window: RegisterWindow): Chain {
  const entries: ChainEntry[] = [];
  if ((window.read16(STATUS) & CAPABILITIES_LIST) === 0) return { entries };
  const cardBus = (window.read8(HEADER_TYPE) & 0x7f) === 2;
  let place = cardBus ? CARDBUS_POINTER : POINTER;
  const seen = new Set<number>();
  for (let pointer = window.read8(place) & ~3; pointer !== 0; pointer = window.read8(place) & ~3) {
    const broken = fault(window, 'capability list', {
      place,
      pointer,
      least: first,
      most: conventional,
      seen,
      entries,
    });
    if (broken !== undefined) return { entries, broken };
    seen.add(pointer);
    const header = window.read32(pointer);
    if ((header & 0xff) === 0xff) {
      return {
        entries,
        broken: malformed('capability list', `0x${hex(pointer)} reads all-ones`, place, pointer, entries),
      };
    }
    entries.push({ id: header & 0xff, offset: pointer, control: header >>> 16 });
    place = pointer + 1;
  }
  return { entries };
}

/**
 * The extended list, from 0x100. Source: PCI Express Base Specification 5.0, 7.6.3. Entries of id 0 are anchors that hold a pointer
 * only ([CFG-51]): they are followed and left out.
 */
export function walkExtended(window: RegisterWindow): Chain {
  const entries: ChainEntry[] = [];
  if (window.length < whole) return { entries };
  const seen = new Set<number>();
  let place = conventional;
  let pointer = conventional;
  while (pointer !== 0) {
    const bounds = { place, pointer, least: conventional, most: whole, seen, entries };
    const broken = fault(window, 'extended capability list', bounds);
    if (broken !== undefined) return { entries, broken };
    seen.add(pointer);
    const header = window.read32(pointer);
    // An empty list: nothing, or nothing that answers.
    if (pointer === conventional && (header === 0 || header === 0xffff_ffff)) return { entries };
    const id = header & 0xffff;
    if (id === 0xffff) {
      const reason = `0x${hex(pointer)} reads all-ones`;
      return { entries, broken: malformed('extended capability list', reason, place, pointer, entries) };
    }
    if (id !== 0) entries.push({ id, offset: pointer, control: (header >>> 16) & 0xf });
    place = pointer;
    pointer = (header >>> 20) & ~3;
  }
  return { entries };
}

interface Step {
  readonly place: number;
  readonly pointer: number;
  readonly least: number;
  readonly most: number;
  readonly seen: ReadonlySet<number>;
  readonly entries: readonly ChainEntry[];
}

function fault(window: RegisterWindow, list: string, step: Step): VfioError | undefined {
  const { place, pointer, least, most, seen, entries } = step;
  const from = `the pointer at 0x${hex(place)} leads to 0x${hex(pointer)}`;
  if (seen.has(pointer))
    return malformed(list, `${from}, where it was before: it runs in a circle`, place, pointer, entries);
  if (pointer < least) return malformed(list, `${from}, below 0x${hex(least)}`, place, pointer, entries);
  if (pointer + 4 > window.length && pointer + 4 <= most) {
    return new VfioError(
      'ERR_VFIO_NOT_SUPPORTED',
      `The ${list} lies beyond the ${window.length} bytes that are here.`,
      {
        remedy: 'Read all of configuration space: the kernel shows only 64 bytes to users other than root.',
        details: { place, pointer, bytes: window.length, entries },
      },
    );
  }
  return undefined;
}

function malformed(
  list: string,
  reason: string,
  place: number,
  pointer: number,
  entries: readonly ChainEntry[],
): VfioError {
  return new VfioError('ERR_VFIO_MALFORMED', `The ${list} does not hold together: ${reason}.`, {
    details: { place, pointer, entries },
  });
}

const hex = (value: number): string => value.toString(16).padStart(2, '0');
