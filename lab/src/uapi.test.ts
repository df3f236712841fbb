import { describe, expect, it } from 'vitest';
import { compare, type Item, itemsOf, type Tables, unknownItems } from './uapi.js';

const tables: Tables = {
  structs: {
    known: { size: 20, fields: { flags: { offset: 4, size: 4 }, data: { offset: 20, size: 0 } } },
    novel: { size: 8, fields: { id: { offset: 0, size: 8 } } },
  },
  constants: { A_NUMBER: 15214, A_STRANGER: 1 },
};
const items = itemsOf(tables);
const answers = (values: Readonly<Record<string, number>>) => items.map(({ code }) => values[code]);
const right = {
  'sizeof(struct known)': 20,
  'offsetof(struct known, flags)': 4,
  'sizeof(((struct known *)0)->flags)': 4,
  'offsetof(struct known, data)': 20,
  A_NUMBER: 15214,
};
const novel = { 'sizeof(struct novel)': 8, 'offsetof(struct novel, id)': 0, 'sizeof(((struct novel *)0)->id)': 8 };
const check = (old: Readonly<Record<string, number>>, later: Readonly<Record<string, number>> = right) =>
  compare(items, [
    { release: 'old', values: answers(old) },
    { release: 'new', values: answers(later) },
  ]);

describe('comparing the tables with headers', () => {
  it('asks for the size of each structure, the offset and size of each field, and each constant', () => {
    expect(items.map(({ name, kind }: Item) => `${name} ${kind}`)).toEqual([
      'known size',
      'known.flags offset',
      'known.flags field size',
      'known.data offset',
      'novel size',
      'novel.id offset',
      'novel.id field size',
      'A_NUMBER constant',
      'A_STRANGER constant',
    ]);
  });

  it('confirms what agrees and lists what no header knows as unchecked', () => {
    expect(check(right, { ...right, ...novel })).toEqual({
      mismatches: [],
      unchecked: ['A_STRANGER (constant)'],
      grown: [],
      confirmed: 8,
    });
    expect(check(right).unchecked).toHaveLength(4);
  });

  it('reports a wrong entry of each kind', () => {
    for (const code of Object.keys(right)) {
      expect(check({ ...right, [code]: 3 }).mismatches, code).toHaveLength(1);
      expect(check(right, { ...right, [code]: 3 }).mismatches, code).toHaveLength(1);
    }
  });

  it('reports a field that a known structure does not have in any header', () => {
    const { 'offsetof(struct known, flags)': _, ...without } = right;
    expect(check(without, without).mismatches).toEqual([
      'known.flags (offset): the structure has no such field in any header',
    ]);
  });

  it('takes a structure that only grew at its end in a later kernel, but not one of another size in the first', () => {
    const longer = { ...right, 'sizeof(struct known)': 24 };
    expect(check(right, longer)).toMatchObject({ mismatches: [], grown: ['known: 20 bytes in old, 24 in new'] });
    expect(check(longer, longer).mismatches).toHaveLength(2);
  });
});

describe("reading the compiler's messages", () => {
  it('finds the items that it does not know', () => {
    const output = [
      "/x/all.c: In function 'main':",
      "/x/all.c:7:30: error: 'A_STRANGER' undeclared (first use in this function)",
      '/x/all.c:9:30: error: invalid application of ‘sizeof’ to incomplete type ‘struct novel’',
    ];
    expect(unknownItems(output.join('\n'))).toEqual([2, 4]);
  });

  it('does not take another error for a missing name', () => {
    expect(() => unknownItems("/x/all.c:7:30: error: expected ';' before '}'")).toThrow(/do not compile/);
    expect(() => unknownItems('gcc: fatal error: no input files')).toThrow(/without naming a line/);
  });
});
