import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { layers } from '../scripts/layers.mjs';
import { root, run } from './support/run-program.js';

let copy: string;

beforeEach(async () => {
  copy = await mkdtemp(join(tmpdir(), 'vfio-graph-'));
  for (const folder of Object.keys(layers)) {
    await cp(join(root, folder, 'src'), join(copy, folder, 'src'), { recursive: true });
    await cp(join(root, folder, 'package.json'), join(copy, folder, 'package.json'));
  }
});
afterEach(() => rm(copy, { recursive: true, force: true }));

const check = () => run(process.execPath, ['scripts/import-graph.mjs', copy], { cwd: root });

describe('import graph check', () => {
  it('passes the sources as they are', async () => {
    expect(await check()).toMatchObject({ code: 0 });
  });

  const planted: [string, string, string, string][] = [
    [
      'a sideways import',
      'packages/vfio-irq/src/x.ts',
      "import { devices } from 'vfio-pci';\nexport { devices };",
      'vfio-irq may not import vfio-pci',
    ],
    [
      'unsafe mode in a library',
      'packages/drivers-example/src/x.ts',
      "export * from 'vfio-noiommu';",
      'vfio-drivers-example may not import vfio-noiommu',
    ],
    [
      'a node: module in portable code',
      'packages/vfio-sim/src/x.ts',
      "import { readFileSync } from 'node:fs';\nexport { readFileSync };",
      'portable code imports node:fs',
    ],
    [
      'Buffer in portable code',
      'packages/vfio-core/src/x.ts',
      'export const x = () => Buffer.alloc(1);',
      'portable code uses Buffer.',
    ],
    [
      'a path into another package',
      'packages/vfio-pci/src/x.ts',
      "export * from '../../vfio-core/src/index.js';",
      'leaves its package',
    ],
    [
      'a third-party dependency',
      'packages/vfio-pci/src/x.ts',
      "import x from 'left-pad';\nexport { x };",
      'vfio-pci may not import left-pad',
    ],
  ];
  for (const [title, file, text, message] of planted)
    it(`reports ${title}`, async () => {
      await writeFile(join(copy, file), text);
      const { code, stdout } = await check();
      expect(code).toBe(1);
      expect(stdout).toContain(message);
    });
});
