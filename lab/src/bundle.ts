import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { CannotRun } from './cannot-run.js';
import { checkout, suitesFolder } from './paths.js';

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

/** The built file behind `name` or `name/sub` of one of the checkout's packages, or undefined if it is none of them. */
export function builtFile(specifier: string): string | undefined {
  const packages = join(checkout, 'packages');
  for (const entry of existsSync(packages) ? readdirSync(packages) : []) {
    const file = join(packages, entry, 'package.json');
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
    if (specifier !== manifest.name && !specifier.startsWith(`${manifest.name}/`)) continue;
    const target = manifest.exports?.[`.${specifier.slice(manifest.name.length)}`];
    const path = typeof target === 'string' ? target : (target?.import ?? target?.node ?? target?.default);
    if (!path) throw new CannotRun([`an export for ${specifier} in packages/${entry}/package.json`]);
    return join(packages, entry, path);
  }
  return undefined;
}

// The packages stay outside the bundle, so that the guest runs the files that are shipped.
const packagesStayOutside: Plugin = {
  name: 'packages-stay-outside',
  setup(builder) {
    builder.onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
      if (kind === 'entry-point' || path.startsWith('node:')) return undefined;
      const file = builtFile(path);
      if (!file) return undefined;
      if (!existsSync(file)) throw new CannotRun([`${file} (build the packages first: npm run build)`]);
      return { path: file, external: true };
    });
  },
};

/** Bundles a suite's guest program, with the part of the lab that runs and reports its tests, into one file. */
export const bundleGuest = (suite: string, program: string, outfile: string): Promise<void> =>
  bundle(outfile, {
    stdin: {
      contents: [
        `import { finish } from '../guest.js';`,
        `await import('./${program.replace(/\.ts$/, '.js')}');`,
        'await finish();',
      ].join('\n'),
      resolveDir: join(suitesFolder, suite),
      sourcefile: 'entry.ts',
      loader: 'ts',
    },
  });

/** Bundles a program that a suite's guest starts by itself, as a process or a Worker. */
export const bundleScript = (file: string, outfile: string): Promise<void> => bundle(outfile, { entryPoints: [file] });

async function bundle(outfile: string, entry: BuildOptions): Promise<void> {
  const missing: string[] = [];
  await build({
    ...entry,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    sourcemap: 'inline',
    logLevel: 'silent',
    plugins: [packagesStayOutside],
    banner: {
      js: "import { createRequire as labRequire } from 'node:module'; const require = labRequire(import.meta.url);",
    },
  }).catch((error: { errors?: readonly { text: string; detail?: unknown }[] }) => {
    for (const { detail } of error.errors ?? []) if (detail instanceof CannotRun) missing.push(...detail.missing);
    if (missing.length > 0) throw new CannotRun(missing);
    throw error;
  });
}
