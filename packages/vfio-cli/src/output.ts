import Table from 'cli-table3';
import type { VfioError } from 'vfio-core';

/** Where a command prints: the program's streams, or a test's strings. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

const plain = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Columns of text under a heading, without lines, so that it can be cut and searched. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: [...head],
    chars: plain,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) made.push([...row]);
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** JSON with addresses and sizes (bigint) as numbers where they fit and as hexadecimal text where not. */
export function json(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'bigint') return item;
    return item <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(item) : `0x${item.toString(16)}`;
  });
}

/** What `--json` shows of an error. */
export const errorFacts = ({ code, summary, remedy, errnoName, syscall, request, path, details }: VfioError) => ({
  code,
  summary,
  remedy,
  errno: errnoName,
  syscall,
  request,
  path,
  details,
});

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `16 KiB`. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

export const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
