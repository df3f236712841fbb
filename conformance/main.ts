/**
 * Runs the numbered behaviours on all targets and compares item by item.
 *   npm run conformance -- [--json] [--simulation] [--docs]
 */

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { versionOf } from './src/kernel.js';
import { conformancePage } from './src/page.js';
import { type Reason, report, type TargetResult } from './src/report.js';
import { type Outcome, runSections } from './src/run.js';
import { sections } from './src/sections.js';
import { simulatedKernels, simulationTarget } from './src/simulation.js';

const usage = `npm run conformance -- [--json] [--simulation] [--docs]

  --json        the last line is one JSON object
  --simulation  only the simulated kernels: nothing is witnessed then
  --docs        write docs/conformance.md, from a run with kernels`;

const root = fileURLToPath(new URL('..', import.meta.url));

interface LabReport {
  readonly passed: number;
  readonly failed: number;
  readonly unexpectedKernelMessages: readonly string[];
  readonly modes: Readonly<Record<string, { readonly kernel?: string; readonly outcomes?: readonly Outcome[] }>>;
}

/** What the lab's kernels answer. Each run of the suite is one boot; those of one kernel are one target. */
async function kernels(): Promise<{ readonly results: readonly TargetResult[]; readonly healthy: boolean }> {
  const child = spawn('npx', ['tsx', 'lab/src/main.ts', 'conformance', '--json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let line = '';
  createInterface({ input: child.stdout }).on('line', (text) => {
    if (!text.startsWith('{')) process.stderr.write(`${text}\n`);
    line = text;
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  if (!line.startsWith('{')) throw new Error(`the lab brought no report (exit ${code})`);
  const lab = JSON.parse(line) as LabReport;
  for (const message of lab.unexpectedKernelMessages) process.stderr.write(`unexpected kernel message: ${message}\n`);
  const byKernel = new Map<string, Outcome[]>();
  for (const { kernel = '', outcomes = [] } of Object.values(lab.modes)) {
    const version = versionOf(kernel);
    if (version === undefined) throw new Error('a boot did not say which kernel it is: it broke off');
    byKernel.set(version, [...(byKernel.get(version) ?? []), ...outcomes]);
  }
  const results = [...byKernel].map(
    ([version, outcomes]): TargetResult => ({
      name: `kernel ${version}`,
      kind: 'kernel',
      version: versionOf(version),
      outcomes,
    }),
  );
  return { results, healthy: lab.unexpectedKernelMessages.length === 0 };
}

async function simulations(): Promise<TargetResult[]> {
  const results: TargetResult[] = [];
  for (const kernel of simulatedKernels) {
    const { name, kind, version, ...rest } = simulationTarget(kernel);
    const outcomes = await runSections(sections, { name, kind, version, ...rest });
    results.push({ name, kind, version, outcomes });
  }
  return results;
}

const words = process.argv.slice(2);
if (words.some((word) => !['--json', '--simulation', '--docs'].includes(word))) {
  process.stderr.write(`${usage}\n`);
  process.exit(2);
}
const simulated = await simulations();
const real = words.includes('--simulation') ? { results: [], healthy: true } : await kernels();
const { report: result, verdicts } = report(sections, [...simulated, ...real.results]);

console.log(`targets: ${result.targets.join(', ')}`);
for (const [name, counts] of Object.entries({ ...result.sections, total: result.total })) {
  const { items, agree, kernelDiffers, simulationOnly, kernelOnly, failed, witnessedOnKernel, byReading } = counts;
  console.log(
    `${name.padEnd(6)} ${items} items: ${agree} agree, ${kernelDiffers} kernel differs, ${simulationOnly} simulation only, ` +
      `${kernelOnly} kernel only, ${failed} failed; ${witnessedOnKernel} witnessed on a kernel, ${byReading} with a variant by reading`,
  );
}
const list = (title: string, reasons: readonly Reason[]) => {
  for (const { item, reason } of reasons) console.log(`${title}  [${item}] ${reason}`);
};
list('kernel differs ', result.kernelDiffers);
list('simulation only', result.simulationOnly);
list('kernel only    ', result.kernelOnly);
list('FAILED         ', result.failed);
if (words.includes('--docs')) writeFileSync(`${root}docs/conformance.md`, conformancePage(sections, verdicts, result));
if (words.includes('--json')) console.log(JSON.stringify(result));
if (result.total.failed > 0 || !real.healthy) process.exitCode = 1;
