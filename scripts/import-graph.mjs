// Checks the sources against the layers: no import against an arrow, no dependency beyond it, no Node in portable code.
//   node scripts/import-graph.mjs [ROOT]
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { layers, nodeAllowed } from './layers.mjs';

const root = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url));
const problems = [];

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts')) yield path;
  }
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s*['"]([^'"]+)['"]|(?:^|[^.\w])import\s*\(\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;
const isTest = (path) => /\.test\.ts$|\/testing\//.test(path);
const withoutComments = (text) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/[^\n]*/g, '$1');

for (const [folder, { name, imports }] of Object.entries(layers)) {
  const allowed = new Set([name, ...imports]);
  for (const path of sources(join(root, folder, 'src'))) {
    const file = relative(root, path);
    if (isTest(file)) continue;
    const text = withoutComments(readFileSync(path, 'utf8'));
    const portable = !nodeAllowed.some((prefix) => file.startsWith(prefix));
    for (const match of text.matchAll(importPattern)) {
      const target = match[1] ?? match[2] ?? match[3];
      if (target.startsWith('.')) {
        const reached = relative(root, join(path, '..', target));
        if (!reached.startsWith(`${folder}/`)) problems.push(`${file}: '${target}' leaves its package`);
        if (/\/testing\//.test(reached)) problems.push(`${file}: shipped code imports test code '${target}'`);
        continue;
      }
      if (target.startsWith('#')) continue;
      if (target.startsWith('node:')) {
        if (portable) problems.push(`${file}: portable code imports ${target}`);
        continue;
      }
      const bare = target.split('/')[0];
      if (bare.startsWith('vfio-') ? !allowed.has(bare) : name !== 'vfio-cli')
        problems.push(`${file}: ${name} may not import ${target}`);
    }
    if (portable) {
      for (const [global] of text.matchAll(
        /(?<![.\w'"`-])(?:process\.\w|Buffer\.\w|require\(|__dirname|setImmediate)/g,
      ))
        problems.push(`${file}: portable code uses ${global}`);
    }
  }
  const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    if (!imports.includes(dependency) && name !== 'vfio-cli')
      problems.push(`${folder}/package.json: ${name} may not depend on ${dependency}`);
  }
  if (manifest.scripts?.install ?? manifest.scripts?.postinstall ?? manifest.scripts?.preinstall)
    problems.push(`${folder}/package.json: has an install script`);
}

for (const problem of problems) process.stdout.write(`${problem}\n`);
process.stdout.write(problems.length === 0 ? 'every import follows the layers\n' : `${problems.length} problems\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
