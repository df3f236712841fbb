// `npm test`: the static checks, then every test that this machine can run. Ends with "N passed, N failed, N skipped".
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const report = join(root, '.cache', 'test-report.json');
const counts = { passed: 0, failed: 0, skipped: 0 };

function step(title, command, args) {
  process.stdout.write(`\n--- ${title}\n`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: 15 * 60_000,
  });
  if (error) process.stdout.write(`${error.message}\n`);
  return status === 0;
}

const checks = [
  ['types', bin('tsc'), ['--noEmit', '-p', 'tsconfig.json']],
  ['lint and format', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['import graph', process.execPath, ['scripts/import-graph.mjs']],
];
for (const check of checks) {
  if (step(...check)) counts.passed++;
  else counts.failed++;
}

mkdirSync(join(root, '.cache'), { recursive: true });
rmSync(report, { force: true });
const extra = process.argv.slice(2);
const green = step('tests', bin('vitest'), [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...extra,
]);
try {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  counts.passed += result.numPassedTests;
  counts.failed += result.numFailedTests;
  counts.skipped += result.numPendingTests + result.numTodoTests;
  // A file that did not even load has failed, though it has no test to count.
  if (!green && result.numFailedTests === 0) counts.failed += Math.max(1, result.numFailedTestSuites);
} catch (error) {
  process.stdout.write(`no test report: ${error.message}\n`);
  counts.failed++;
}
process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
