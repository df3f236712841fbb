import { defineConfig, type Options } from 'tsup';

/** One build for every library package: ESM, declarations, no bundled dependency. */
export const library = (entry: Record<string, string>, more: Options = {}) =>
  defineConfig({
    entry,
    format: ['esm'],
    target: 'es2022',
    platform: 'neutral',
    sourcemap: true,
    clean: true,
    // tsup still passes `baseUrl`, which TypeScript 6 calls deprecated.
    dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
    external: [/^node:/, /^#/, /^vfio-/],
    ...more,
  });
