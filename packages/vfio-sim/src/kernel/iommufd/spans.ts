/** Ranges of device addresses, both ends inclusive, and what lies between them. */

export const TOP = (1n << 64n) - 1n;

export interface Span {
  readonly start: bigint;
  readonly last: bigint;
}

export const overlap = (a: Span, b: Span): boolean => a.start <= b.last && b.start <= a.last;

/** What `used` leaves free within a span, in order. */
export function holes(used: readonly Span[], within: Span): Span[] {
  const sorted = used.filter((span) => overlap(span, within)).sort((a, b) => (a.start < b.start ? -1 : 1));
  const free: Span[] = [];
  let from = within.start;
  for (const { start, last } of sorted) {
    if (start > from) free.push({ start: from, last: start - 1n });
    if (last >= from) from = last + 1n;
  }
  if (from <= within.last) free.push({ start: from, last: within.last });
  return free;
}

/** Where `length` bytes find room in one of these spans; the address is `offset` behind a multiple of `alignment`. */
export function roomIn(spans: readonly Span[], length: bigint, alignment: bigint, offset: bigint): bigint | undefined {
  for (const { start, last } of spans) {
    const at = ((start + alignment - 1n) & -alignment) | offset;
    if (at < last && last - at >= length - 1n) return at;
  }
  return undefined;
}
