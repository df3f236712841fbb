import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { published } from './support/packages.js';
import { codeBlocks, promisedOutput, root, runTypeScript } from './support/run-program.js';

const scratch = join(root, 'tests', 'node_modules', '.programs');

describe('READMEs', () => {
  for (const { name, folder } of published) {
    it(`the first program of ${name} runs and prints what it says`, async () => {
      await mkdir(scratch, { recursive: true });
      const [program] = await codeBlocks(join(folder, 'README.md'), 'ts');
      expect(program, 'the README has a ```ts block').toBeDefined();
      const promised = promisedOutput(program as string);
      expect(promised.length, 'the program says what it prints').toBeGreaterThan(0);
      const { code, stdout, stderr } = await runTypeScript(program as string, scratch, `readme-${name}`);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      for (const line of promised) expect(stdout).toContain(line);
    });
  }
});
