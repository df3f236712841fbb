import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { remembered } from './cache.js';
import { newestPackage, unpackedPackages } from './packages.js';
import { CommandFailed, command } from './process.js';

/** Tables of the kernel's user interface, keyed by C names. */
export interface Tables {
  readonly structs: Readonly<Record<string, TableStruct>>;
  readonly constants: Readonly<Record<string, number>>;
}

interface TableStruct {
  readonly size: number;
  /** A size of 0 stands for an array of open length: only its offset is compared. */
  readonly fields: Readonly<Record<string, { readonly offset: number; readonly size: number }>>;
}

/** A kernel's own headers, in a folder to give to a compiler. */
export interface Headers {
  readonly release: string;
  readonly root: string;
}

/** Which kernels' headers are compared. The first is the oldest. */
export const headerLines: Readonly<Record<string, RegExp>> = {
  '6.1': /^linux-headers-6\.1\.0-\d+-common$/,
  '6.12': /^linux-headers-6\.12\.\d+\+deb12-common$/,
};

/** Fetches the headers of a line of kernels, or takes those that the cache holds. */
export async function prepareHeaders(line: string, say: (line: string) => void): Promise<Headers> {
  return remembered(`headers-${line}`, false, async () => {
    const name = await newestPackage(`linux-headers-${line}.`, headerLines[line] as RegExp);
    const root = await unpackedPackages([name], say);
    const folder = readdirSync(join(root, 'usr/src')).find((entry) => entry.startsWith('linux-headers-')) as string;
    return { release: folder.replace(/^linux-headers-(.*)-common$/, '$1'), root: join(root, 'usr/src', folder) };
  });
}

/** One expression of C, and what the table says that it is. */
export interface Item {
  /** `vfio_group_status`, `vfio_group_status.flags` or `VFIO_GROUP_GET_STATUS`. */
  readonly name: string;
  readonly kind: 'size' | 'offset' | 'field size' | 'constant';
  readonly code: string;
  readonly table: number;
}

/** Everything in the tables that a compiler can be asked. */
export function itemsOf(tables: Tables): Item[] {
  const items: Item[] = [];
  for (const [tag, { size, fields }] of Object.entries(tables.structs)) {
    items.push({ name: tag, kind: 'size', code: `sizeof(struct ${tag})`, table: size });
    for (const [field, place] of Object.entries(fields)) {
      const name = `${tag}.${field}`;
      items.push({ name, kind: 'offset', code: `offsetof(struct ${tag}, ${field})`, table: place.offset });
      if (place.size === 0) continue;
      items.push({ name, kind: 'field size', code: `sizeof(((struct ${tag} *)0)->${field})`, table: place.size });
    }
  }
  for (const [name, value] of Object.entries(tables.constants)) {
    items.push({ name, kind: 'constant', code: name, table: value });
  }
  return items;
}

/** The headers of the interface. A kernel without one of them knows nothing that is in it. */
const interfaceHeaders = ['vfio.h', 'iommufd.h'];

// One item on each line, so that a compiler's message leads to its item; the headers are on one line, however many there are.
function source(items: readonly Item[], include: string): string {
  const head = `#include <stddef.h>\n#include <stdio.h>\n#include "${include}"\nint main(void) {\n`;
  return `${head}${items.map(({ code }) => `printf("%lld\\n", (long long)(${code}));`).join('\n')}\nreturn 0; }\n`;
}
const firstLine = 5;

/** What a kernel's headers say of each item: a number, or undefined where they do not know it. */
export async function askCompiler(
  items: readonly Item[],
  headers: Headers,
  folder: string,
): Promise<readonly (number | undefined)[]> {
  const base = join(folder, `uapi-${headers.release}`);
  const include = join(base, 'include');
  // Of the kernel's headers only these: types and ioctl numbers are encoded as for any program of this machine.
  await command('mkdir', ['-p', join(include, 'linux')]);
  const own = interfaceHeaders.filter((name) => existsSync(join(headers.root, 'include/uapi/linux', name)));
  for (const name of own) await command('cp', [join(headers.root, 'include/uapi/linux', name), join(include, 'linux')]);
  writeFileSync(join(base, 'interface.h'), own.map((name) => `#include <linux/${name}>\n`).join(''));
  writeFileSync(join(base, 'all.c'), source(items, 'interface.h'));
  // `__user` is a word for the kernel's checkers; an installed header is without it.
  const options = ['-I', include, '-fmax-errors=0', '-D__user='];
  const compile = (...args: readonly string[]) => command('gcc-12', [...options, ...args]);
  const unknown = new Set<number>();
  await compile('-fsyntax-only', join(base, 'all.c')).catch((error: unknown) => {
    if (!(error instanceof CommandFailed)) throw error;
    for (const index of unknownItems(error.output)) unknown.add(index);
  });
  const known = items.filter((_, i) => !unknown.has(i));
  writeFileSync(join(base, 'known.c'), source(known, 'interface.h'));
  await compile('-o', join(base, 'known'), join(base, 'known.c'));
  const values = (await command(join(base, 'known'), [])).trim().split('\n').map(Number);
  if (values.length !== known.length)
    throw new Error(`the C program printed ${values.length} of ${known.length} values`);
  let next = 0;
  return items.map((_, i) => (unknown.has(i) ? undefined : values[next++]));
}

/** The items that a compiler does not know, from its messages; throws for a message of another kind. */
export function unknownItems(output: string): number[] {
  const found: number[] = [];
  for (const line of output.split('\n')) {
    const match = /^[^:]+\.c:(\d+):\d+: error: (.*)$/.exec(line);
    if (!match) continue;
    const what = match[2] as string;
    if (!/undeclared|incomplete type|undefined type|has no member named|invalid use of undefined/.test(what)) {
      throw new Error(`the headers do not compile: ${line}`);
    }
    found.push(Number(match[1]) - firstLine);
  }
  if (found.length === 0) throw new Error(`the compiler failed without naming a line:\n${output}`);
  return [...new Set(found)];
}

/** What the headers of one kernel say. */
export interface Answers {
  readonly release: string;
  readonly values: readonly (number | undefined)[];
}

export interface Comparison {
  /** Entries that disagree with a header. */
  readonly mismatches: readonly string[];
  /** Entries that no header knows. */
  readonly unchecked: readonly string[];
  /** Structures that a later kernel made longer at their end; the table has the size of the first that knows them. */
  readonly grown: readonly string[];
  /** How many entries at least one header confirmed. */
  readonly confirmed: number;
}

/** Compares the tables with the headers of kernels, the oldest first. */
export function compare(items: readonly Item[], kernels: readonly Answers[]): Comparison {
  const mismatches: string[] = [];
  const unchecked: string[] = [];
  const grown: string[] = [];
  const knownStructs = new Set<string>();
  for (const { values } of kernels) {
    items.forEach(({ kind, name }, i) => {
      if (kind === 'size' && values[i] !== undefined) knownStructs.add(name);
    });
  }
  let confirmed = 0;
  items.forEach((item, i) => {
    const known = kernels.flatMap(({ release, values }) => {
      const value = values[i];
      return value === undefined ? [] : [{ release, value }];
    });
    const shown = `${item.name} (${item.kind})`;
    const [first, ...later] = known;
    if (!first) {
      const tag = item.name.split('.')[0] as string;
      if (item.kind !== 'constant' && item.kind !== 'size' && knownStructs.has(tag)) {
        mismatches.push(`${shown}: the structure has no such field in any header`);
      } else unchecked.push(shown);
      return;
    }
    let agrees = true;
    const differs = ({ release, value }: typeof first) => {
      agrees = false;
      mismatches.push(`${shown}: ${item.table} in the table, ${value} in ${release}`);
    };
    const same = (value: number) => BigInt.asUintN(64, BigInt(value)) === BigInt.asUintN(64, BigInt(item.table));
    if (!same(first.value)) differs(first);
    for (const answer of later) {
      if (same(answer.value)) continue;
      if (item.kind === 'size' && same(first.value) && answer.value > item.table) {
        grown.push(`${item.name}: ${item.table} bytes in ${first.release}, ${answer.value} in ${answer.release}`);
      } else differs(answer);
    }
    if (agrees) confirmed++;
  });
  return { mismatches, unchecked, grown, confirmed };
}
