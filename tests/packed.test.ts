import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { libraries, published } from './support/packages.js';
import { codeBlocks, promisedOutput, root, run, runTypeScript } from './support/run-program.js';

const bin = (name: string) => join(root, 'node_modules', '.bin', name);
let folder: string;
let tarballs: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vfio-packed-'));
  const packs = join(folder, 'packs');
  await mkdir(packs);
  tarballs = {};
  for (const { name, folder: source, manifest } of published) {
    const { code, stdout, stderr } = await run(bin('pnpm'), ['pack', '--pack-destination', packs], { cwd: source });
    if (code !== 0) throw new Error(`pnpm pack of ${name}: ${stdout}${stderr}`);
    tarballs[name] = join(packs, `${name}-${manifest.version}.tgz`);
  }
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** An empty folder with only the tarballs of `names` installed, by npm, offline. */
async function install(where: string, names: readonly string[]): Promise<string> {
  const target = join(folder, where);
  await mkdir(target);
  await writeFile(join(target, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }));
  const { code, stdout, stderr } = await run(
    'npm',
    [
      'install',
      '--offline',
      '--no-audit',
      '--no-fund',
      '--cache',
      join(folder, 'cache'),
      ...names.map((name) => tarballs[name] as string),
    ],
    { cwd: target, seconds: 120 },
  );
  if (code !== 0) throw new Error(`npm install: ${stdout}${stderr}`);
  return target;
}

/** A library and what it depends on. */
const closure = (name: string): string[] => {
  const { manifest } = libraries.find((library) => library.name === name) ?? {};
  return [...new Set([name, ...Object.keys(manifest?.dependencies ?? {}).flatMap(closure)])];
};

describe('packed tarballs', () => {
  for (const { name, manifest } of libraries) {
    it(`${name} installs offline into an empty folder with what it depends on alone, and every export loads by import and require`, async () => {
      const target = await install(`alone-${name}`, closure(name));
      const installed = JSON.parse(await readFile(join(target, 'node_modules', name, 'package.json'), 'utf8'));
      for (const script of ['preinstall', 'install', 'postinstall'])
        expect(installed.scripts?.[script]).toBeUndefined();
      for (const version of Object.values(installed.dependencies ?? {})) expect(version).toMatch(/^\^\d/);
      for (const entry of Object.keys(manifest.exports).filter((key) => key !== './package.json')) {
        const specifier = entry.replace(/^\./, name);
        await writeFile(
          join(target, 'load.mjs'),
          `const m = await import('${specifier}'); if (Object.keys(m).length === 0) throw new Error('empty');`,
        );
        await writeFile(
          join(target, 'load.cjs'),
          `const m = require('${specifier}'); if (Object.keys(m).length === 0) throw new Error('empty');`,
        );
        for (const file of ['load.mjs', 'load.cjs']) {
          const { code, stderr } = await run(process.execPath, ['--no-warnings', file], { cwd: target });
          expect({ file, code, stderr }).toEqual({ file, code: 0, stderr: '' });
        }
      }
    });

    it(`${name} passes publint and has types that resolve`, async () => {
      const lint = await run(bin('publint'), ['run', tarballs[name] as string, '--strict'], { cwd: root });
      expect(lint.code, lint.stdout + lint.stderr).toBe(0);
      const types = await run(
        bin('attw'),
        [tarballs[name] as string, '--profile', 'esm-only', '--no-emoji', '--no-color'],
        { cwd: root },
      );
      expect(types.code, types.stdout + types.stderr).toBe(0);
    });
  }

  it('the first program of each README runs from the tarballs', async () => {
    const target = await install(
      'all',
      libraries.map(({ name }) => name),
    );
    for (const { name, folder: source } of libraries) {
      const [program] = await codeBlocks(join(source, 'README.md'), 'ts');
      const { code, stdout, stderr } = await runTypeScript(program as string, target, `program-${name}`);
      expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: '' });
      for (const line of promisedOutput(program as string)) expect(stdout).toContain(line);
    }
  }, 120_000);
});
