/** Which device addresses can be used at all, and which of them are the window for what does not stay. In pages. */

import type { AddressRange } from './dma.js';

/** Pages, the end exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Messages written to this window are interrupts on x86 and never reach memory ([T1-14]). Inclusive. */
export const msiWindow: AddressRange = { start: 0xfee0_0000n, end: 0xfeef_ffffn };

/** Device addresses stay below this, so that drivers compute with them as exact numbers. */
const ceiling = 2n ** 53n;

/** Nothing usable crosses it: what lies below is for devices that reach 32 bits. */
const line = Number(msiWindow.start);
const GiB = 2 ** 30;
const largestWindow = 64 * GiB;

/** Sorted, disjoint, not touching: what the ranges hold in whole pages below 2^53, without page 0 and without the MSI window. */
export function usableSpans(ranges: readonly AddressRange[], page: number): Span[] {
  const sorted = ranges
    .map(({ start, end }) => ({ start: Number(start), end: end + 1n < ceiling ? Number(end + 1n) : Number(ceiling) }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start);
  const joined: { start: number; end: number }[] = [];
  for (const span of sorted) {
    const last = joined.at(-1);
    if (last === undefined || span.start > last.end) joined.push(span);
    else if (span.end > last.end) last.end = span.end;
  }
  const msi = { start: Math.floor(line / page), end: Math.ceil(Number(msiWindow.end + 1n) / page) };
  return joined
    .map(({ start, end }) => ({ start: Math.ceil(start / page), end: Math.floor(end / page) }))
    .flatMap((span) => without(span, { start: 0, end: 1 }))
    .flatMap((span) => without(span, msi))
    .filter(({ start, end }) => start < end);
}

/** A span less another: none, one or two spans. */
function without(span: Span, hole: Span): Span[] {
  if (hole.end <= span.start || hole.start >= span.end) return [span];
  return [
    { start: span.start, end: hole.start },
    { start: hole.end, end: span.end },
  ].filter(({ start, end }) => start < end);
}

/**
 * The window for what does not stay, sorted: the top eighth of the largest span, at most 64 GiB; and, for devices that reach 32 bits,
 * the same of the largest below the MSI window. They begin on a round address, so that the rest ends on one.
 */
export function shortLivedSpans(usable: readonly Span[], page: number): Span[] {
  const low = topEighth(largest(usable.filter(({ end }) => end <= line / page)), page);
  const high = topEighth(largest(usable), page);
  if (high === undefined) return [];
  return low === undefined || low.start === high.start ? [high] : [low, high];
}

const largest = (spans: readonly Span[]): Span | undefined =>
  spans.reduce<Span | undefined>(
    (best, span) => (best === undefined || span.end - span.start > best.end - best.start ? span : best),
    undefined,
  );

function topEighth(span: Span | undefined, page: number): Span | undefined {
  if (span === undefined) return undefined;
  const size = Math.min(Math.floor((span.end - span.start) / 8), largestWindow / page);
  if (size < 1) return undefined;
  const round = Math.min(2 ** Math.floor(Math.log2(size)), GiB / page);
  const start = Math.ceil((span.end - size) / round) * round;
  return start < span.end ? { start, end: span.end } : undefined;
}

/** A usable span, or the part of one that is on one side of the window's border. */
export interface Piece extends Span {
  /** Bit 0: above the MSI window. Bit 1: for what does not stay. */
  readonly area: number;
}

/** The usable spans cut at the borders of the window. Sorted; pieces of one span touch. */
export function cut(usable: readonly Span[], windows: readonly Span[], page: number): Piece[] {
  return usable.flatMap((span) => {
    const side = span.start >= line / page ? 1 : 0;
    // A window is the upper part of its span.
    const window = windows.find(({ end }) => end === span.end);
    if (window === undefined) return [{ ...span, area: side }];
    return [
      { start: span.start, end: window.start, area: side },
      { ...window, area: 2 + side },
    ];
  });
}
