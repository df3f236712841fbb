/** Times of repetitions, and what they come to. */

import { field, note } from '../guest.js';

/** Nanoseconds of each repetition, by who did it. */
export type Times = Record<string, number[]>;

export interface Row {
  readonly what: string;
  readonly who: string;
  readonly repetitions: number;
  /** Microseconds a call. */
  readonly median: number;
  readonly p99: number;
  /** Median, microseconds a page of 4 KiB; of mappings. */
  readonly perPage?: number;
  /** Median, as a multiple of that of C. */
  readonly timesC: number;
}

const rows: Row[] = [];

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
const round = (value: number, digits: number): number => Number(value.toPrecision(digits));

/** Adds a row for each who, `c` among them, and reports all that there are. */
export function report(what: string, times: Times, pages?: number): void {
  const medianOf = (who: string) =>
    at(
      [...(times[who] as number[])].sort((a, b) => a - b),
      0.5,
    );
  for (const [who, list] of Object.entries(times)) {
    const sorted = [...list].sort((a, b) => a - b);
    const median = at(sorted, 0.5) / 1000;
    const p99 = at(sorted, 0.99) / 1000;
    const timesC = medianOf(who) / medianOf('c');
    const perPage = pages === undefined ? {} : { perPage: round(median / pages, 3) };
    rows.push({
      what,
      who,
      repetitions: list.length,
      median: round(median, 4),
      p99: round(p99, 4),
      ...perPage,
      timesC: round(timesC, 3),
    });
    note(
      `${what.padEnd(34)} ${who.padEnd(6)} ${median.toFixed(1).padStart(10)} µs, p99 ${p99.toFixed(1).padStart(10)} µs, ` +
        `${timesC.toFixed(2).padStart(6)} times C, +${((medianOf(who) - medianOf('c')) / 1000).toFixed(1)} µs` +
        `${pages === undefined ? '' : `, ${(median / pages).toFixed(3)} µs a page`} (${list.length})`,
    );
  }
  field('rows', rows);
}

/** What one turn brought for each of the measured things. */
export type Turn = Readonly<Record<string, readonly number[]>>;

/**
 * Lets all take turns, `rounds` times, each time another one first, so that what changes over time meets all alike. The first round is
 * for warming up. Gives the times of each measured thing by who.
 */
export async function turns(
  rounds: number,
  who: Readonly<Record<string, () => Turn | Promise<Turn>>>,
): Promise<Readonly<Record<string, Times>>> {
  const names = Object.keys(who);
  const all: Record<string, Times> = {};
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length] as string;
      const turn = await (who[name] as () => Turn | Promise<Turn>)();
      if (round === 0) continue;
      for (const [thing, list] of Object.entries(turn)) {
        all[thing] ??= Object.fromEntries(names.map((each) => [each, []]));
        (all[thing][name] as number[]).push(...list);
      }
    }
  }
  return all;
}
