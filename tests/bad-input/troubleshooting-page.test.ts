/** docs/troubleshooting.md is made from the table of codes, and the table is that of the sources: `npx vitest run tests/bad-input -u` writes the page anew. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'vfio-cli';
import { type ErrorCode, type ErrorKind, errorKinds } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { openingSteps } from '../../packages/vfio-core/src/errors/opening-steps.js';
import { troubleshooting } from '../../packages/vfio-core/src/errors/troubleshooting.js';
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
const anchor = (code: string) => code.toLowerCase();
const codesOf = (meaning: string) =>
  Object.entries<ErrorKind>(errorKinds).filter(([, kind]) => kind.meaning === meaning) as [ErrorCode, ErrorKind][];
/** Commands stand in code, sentences as they are. */
const cure = (text: string) => (/^[a-z]+( |$)/.test(text) && !/[^.][.;:]$/.test(text) ? `\`${text}\`` : text);

function page(): string {
  const lines = [
    '---',
    'title: Troubleshooting',
    '---',
    '',
    '# Troubleshooting',
    '',
    'Every error that the packages throw on purpose is a `VfioError`. Recognise it with `isVfioError(error)`, which also works where two copies of a package are installed. It has a `code`, which its message starts with; `summary`, what happened; `remedy`, what to do; `details`, the facts as data; and, where the kernel refused, `errno`, `errnoName`, `syscall`, `request` and `path`.',
    '',
    'Start with `npx vfio doctor`, or `npx vfio doctor ADDRESS` for one device: it changes nothing, and says of each finding which command cures it. An error that knows more than this page says more: which members of the group, which driver, how many bytes and which limit. Commands that change the machine want root. In commands, `ADDRESS` is written like `0000:01:00.0`, and `GROUP` is the number of the IOMMU group.',
    '',
    '| code | when | what to do |',
    '| --- | --- | --- |',
  ];
  for (const meaning of Object.keys(sections))
    for (const [code, { when, remedy }] of codesOf(meaning))
      lines.push(`| [\`${code}\`](#${anchor(code)}) | ${cell(when)} | ${cell(remedy)} |`);
  for (const [meaning, [title, text]] of Object.entries(sections)) {
    lines.push('', `## ${title}`, '', text);
    for (const [code, kind] of codesOf(meaning)) lines.push(...entry(code, kind));
  }
  lines.push(
    '',
    '## Where it failed: the steps to a device',
    '',
    'Which way a space took, and why, is in `device.dma.way`; `openDevice(address, { way })` asks for one. What the kernel may answer to each step, in their order:',
  );
  for (const [way, steps] of Object.entries(openingSteps)) {
    lines.push(
      '',
      `### By way of \`${way}\``,
      '',
      '| step | the kernel | code | it means |',
      '| --- | --- | --- | --- |',
    );
    for (const { call, answers } of steps)
      for (const [said, code, means] of answers)
        lines.push(`| \`${call}\` | ${said} | [\`${code}\`](#${anchor(code)}) | ${cell(means)} |`);
  }
  return `${lines.join('\n')}\n`;
}

function entry(code: ErrorCode, { when, remedy }: ErrorKind): string[] {
  const { saw, why, check = [], cure: cures } = troubleshooting[code];
  return [
    '',
    `### ${code}`,
    '',
    `${when} ${remedy}`,
    '',
    '```text',
    `${code}: ${saw}`,
    '```',
    '',
    'Why:',
    '',
    ...why.map((one) => `- ${one}`),
    ...(check.length === 0 ? [] : ['', 'What to check:', '']),
    ...check.map(([command, tells]) => `- ${command.startsWith('`') ? command : `\`${command}\``}: ${tells}`),
    '',
    'What cures it:',
    '',
    ...cures.map((one) => `- ${cure(one)}`),
  ];
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
  it('docs/troubleshooting.md explains each: when, why, what to check and what cures it', async () => {
    await expect(page()).toMatchFileSnapshot(join(root, 'docs', 'troubleshooting.md'));
  });

  it('each code stands once in the list of the page, and has one section, to which the list leads', () => {
    const all = Object.keys(errorKinds).sort();
    expect([...page().matchAll(/^\| \[`(ERR_[A-Z0-9_]+)`\]/gm)].map(([, code]) => code).sort()).toEqual(all);
    expect([...page().matchAll(/^### (ERR_[A-Z0-9_]+)$/gm)].map(([, code]) => code).sort()).toEqual(all);
    const targets = new Set([...page().matchAll(/\]\(#([a-z0-9_]+)\)/g)].map(([, target]) => target));
    expect([...targets].sort()).toEqual(all.map(anchor).sort());
  });

  it('each code has a cause and a cure, and what is said of it is sentences', () => {
    for (const [code, { saw, why, cure: cures }] of Object.entries(troubleshooting)) {
      expect([why.length > 0, cures.length > 0], code).toEqual([true, true]);
      for (const text of [saw, ...why]) expect(text, code).toMatch(/.{10,}\.$/);
    }
  });

  it('vfio bind and unbind act in a remedy: with --yes', () => {
    const commands = [...page().matchAll(/vfio (?:un)?bind [A-Z0-9:.\s]*(--yes)?/g)];
    expect(commands.length).toBeGreaterThan(3);
    expect(commands.filter(([, yes]) => yes === undefined).map(([text]) => text)).toEqual([]);
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
