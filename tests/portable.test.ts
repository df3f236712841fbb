import { join } from 'node:path';
import vm from 'node:vm';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { root } from './support/run-program.js';

/** What every browser, worker and runtime offers. Nothing of Node is among them. */
const webStandard = {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  queueMicrotask,
  structuredClone,
  MessageChannel,
  AbortController,
  AbortSignal,
  TextEncoder,
  TextDecoder,
  console,
};

async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'bundle',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['browser', 'default'],
    target: 'es2022',
    tsconfigRaw: {},
  });
  return outputFiles[0]!.text;
}

describe('portability', () => {
  it('an NVMe round trip on the simulation runs with web-standard globals only', async () => {
    const code = await bundle(join(root, 'tests/portable/roundtrip.ts'));
    const context = vm.createContext({ ...webStandard });
    expect(vm.runInContext('typeof process + typeof Buffer + typeof require', context)).toBe(
      'undefinedundefinedundefined',
    );
    vm.runInContext(`${code}; globalThis.result = bundle.roundtrip();`, context);
    await expect(context.result).resolves.toBe('msix: 65536 bytes match');
  });

  it('the default backend outside Node is refused in words', async () => {
    const code = await bundle(join(root, 'tests/portable/default-backend.ts'));
    const context = vm.createContext({ ...webStandard });
    vm.runInContext(`${code}; globalThis.result = bundle.attempt();`, context);
    expect(context.result).toMatch(/^ERR_VFIO_NO_BACKEND: /);
  });
});
