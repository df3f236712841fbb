/** docs/errors.md is made from the table of codes, and the table is that of the sources: `npx vitest run tests/bad-input -u` writes the page anew. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'vfio-cli';
import { type ErrorKind, errorKinds } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { root } from '../support/run-program.js';

const sections: Record<ErrorKind['meaning'], readonly [title: string, text: string]> = {
  configuration: [
    'Setting the machine up',
    'The program is fine, the machine is not ready for it: `isConfiguration(error)`. `npx vfio doctor` looks for most of these at once.',
  ],
  gone: ['The device is gone', '`isDeviceGone(error)`. What was open on it can still be closed.'],
  retry: ['Later may work', 'Trying the same again later may work: `isRetryable(error)`.'],
  program: ['The program asked for something that cannot be', 'A mistake of the caller.'],
  device: ['The device said no', 'The device, or the kernel for it, refused or answered something that does not fit.'],
};

const cell = (text: string) => text.replaceAll('|', '\\|');

function page(): string {
  const lines = [
    '---',
    'title: Errors',
    '---',
    '',
    '# Errors',
    '',
    'Every error that the packages throw on purpose is a `VfioError`. Recognise it with `isVfioError(error)`, which also works where two copies of a package are installed. It has a `code`, which its message starts with; `summary`, what happened; `remedy`, what to do; `details`, the facts as data; and, where the kernel refused, `errno`, `errnoName`, `syscall`, `request` and `path`.',
    '',
    'The remedies below are the general ones. An error that knows more says more: which members of the group, which driver, how many bytes and which limit.',
  ];
  for (const [meaning, [title, text]] of Object.entries(sections)) {
    lines.push('', `## ${title}`, '', text, '', '| code | when | what to do |', '| --- | --- | --- |');
    for (const [code, kind] of Object.entries<ErrorKind>(errorKinds))
      if (kind.meaning === meaning) lines.push(`| \`${code}\` | ${cell(kind.when)} | ${cell(kind.remedy)} |`);
  }
  return `${lines.join('\n')}\n`;
}

/** Codes that the sources of the packages name, by file; tests and the table itself left out. */
function named(): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(join(root, 'packages'))) {
    const folder = join(root, 'packages', name, 'src');
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts') || file.endsWith('errors/codes.ts')) continue;
      if (file.split('/').includes('testing')) continue;
      // Comments may name a code that nothing throws.
      const text = readFileSync(join(folder, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
      for (const [code] of text.matchAll(/\bERR_(?:VFIO|NVME)_[A-Z0-9_]+/g)) found.set(code, `${name}/src/${file}`);
    }
  }
  return found;
}

describe('the codes of errors', () => {
  it('docs/errors.md lists each with its meaning and its remedy, as the table has them', async () => {
    await expect(page()).toMatchFileSnapshot(join(root, 'docs', 'errors.md'));
  });

  it('each code stands once on the page, in one section', () => {
    const listed = [...page().matchAll(/^\| `(ERR_[A-Z0-9_]+)`/gm)].map(([, code]) => code);
    expect(listed.sort()).toEqual(Object.keys(errorKinds).sort());
  });

  it('the sources name no code that the table lacks, and the table has none that no source names', () => {
    const codes = [...named().keys()];
    expect(codes.filter((code) => !(code in errorKinds))).toEqual([]);
    expect(Object.keys(errorKinds).filter((code) => !codes.includes(code))).toEqual([]);
  });

  it('a remedy names no command that vfio does not have', async () => {
    const lines: string[] = [];
    const output = { out: (text: string) => void lines.push(text), err: (text: string) => void lines.push(text) };
    await run(['--help'], { output });
    const commands = [...lines.join('\n').matchAll(/^ {2}([a-z]+) .*/gm)].map(([, name]) => name);
    const asked = [...page().matchAll(/(?<!\/)\bvfio ([a-z]+)/g)].map(([, name]) => name);
    expect(asked.length).toBeGreaterThan(2);
    expect(asked.filter((name) => !commands.includes(name))).toEqual([]);
  });

  it('meaning and remedy are sentences', () => {
    for (const [code, { when, remedy }] of Object.entries(errorKinds))
      for (const text of [when, remedy]) expect(text, code).toMatch(/^[A-Z/].{10,}\.$/);
  });
});
