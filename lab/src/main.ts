import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { boot } from './boot.js';
import { recordsFolder } from './cache.js';
import { CannotRun, cannotRunCode, describeCannotRun } from './cannot-run.js';
import { checkMachine, needTools } from './packages.js';
import { suitesFolder } from './paths.js';
import { describeRun, describeTests, good, makeReport, mergeRuns, type Report } from './report.js';
import type { Plan, RunResult, TestResult } from './suite.js';

const usage = `npm run lab -- SUITE... [--json] [--run NAME] [--keep] [--refresh]
npm run lab -- --list

  --json     the last line of each suite is one JSON object
  --run      only the runs of this name
  --keep     keep the disk images of the runs
  --refresh  look for newer kernel packages`;

interface Options {
  readonly suites: readonly string[];
  readonly json: boolean;
  readonly list: boolean;
  readonly keep: boolean;
  readonly refresh: boolean;
  readonly run: string | undefined;
}

function readArguments(words: readonly string[]): Options | undefined {
  const known = new Set(['--json', '--list', '--keep', '--refresh', '--run']);
  const at = words.indexOf('--run');
  const run = at < 0 ? undefined : words[at + 1];
  const suites = words.filter((word, i) => !word.startsWith('--') && (at < 0 || i !== at + 1));
  if (words.some((word) => word.startsWith('--') && !known.has(word)) || (at >= 0 && !run)) return undefined;
  const has = (word: string) => words.includes(word);
  if (suites.length === 0 && !has('--list')) return undefined;
  return { suites, run, json: has('--json'), list: has('--list'), keep: has('--keep'), refresh: has('--refresh') };
}

const suiteNames = () =>
  readdirSync(suitesFolder)
    .filter((name) => existsSync(join(suitesFolder, name, 'plan.ts')))
    .sort();

async function loadPlan(name: string): Promise<Plan> {
  const module = (await import(pathToFileURL(join(suitesFolder, name, 'plan.ts')).href)) as { readonly default: Plan };
  return module.default;
}

const print = (line: string) => process.stdout.write(`${line}\n`);
const say = (line: string) => process.stderr.write(`lab: ${line}\n`);

async function runSuite(name: string, options: Options): Promise<Report> {
  const plan = await loadPlan(name);
  await needTools(plan.tools ?? [], say);
  const records = recordsFolder(name);
  print(`${name}: ${plan.title}`);
  if ('host' in plan) {
    const { kernels, tests, fields } = await plan.host({ say, folder: records });
    for (const line of describeTests(tests)) print(line);
    return makeReport(name, kernels, tests, [], fields);
  }
  const results: RunResult[] = [];
  const chosen = plan.runs.filter((run) => options.run === undefined || run.name === options.run);
  if (chosen.length === 0) throw new Error(`suite ${name} has no run named ${options.run}`);
  const waiting = [...chosen];
  const worker = async () => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      const { name: title } = run;
      const result = await boot(name, run, join(records, title), (line) => say(`${title}: ${line}`), options);
      results.push(result);
      for (const line of describeRun(result)) print(line);
    }
  };
  await Promise.all(Array.from({ length: plan.sideBySide ?? 1 }, worker));
  results.sort((a, b) => chosen.indexOf(a.run) - chosen.indexOf(b.run));
  const { report, judgement } = await mergeRuns(name, plan, results);
  for (const line of describeTests(judgement.tests ?? [])) print(line);
  if (!options.keep) {
    for (const path of results.flatMap(({ images }) => Object.values(images))) rmSync(path, { force: true });
  }
  return report;
}

/** Ends with 0 when all is in order, 1 when not, 2 for wrong arguments, 77 when this machine cannot run the lab. */
async function main(): Promise<number> {
  const options = readArguments(process.argv.slice(2));
  if (!options) {
    process.stderr.write(`${usage}\n`);
    return 2;
  }
  if (options.list) {
    for (const name of suiteNames()) print(`${name.padEnd(14)} ${(await loadPlan(name)).title}`);
    return 0;
  }
  const unknown = options.suites.filter((name) => !suiteNames().includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no such suite: ${unknown.join(', ')}; there are: ${suiteNames().join(', ')}\n`);
    return 2;
  }
  let code = 0;
  for (const name of options.suites) {
    try {
      checkMachine();
      const report = await runSuite(name, options);
      const { passed, failed, skipped, unexpectedKernelMessages: messages } = report;
      print(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${messages.length} unexpected messages`);
      if (options.json) print(JSON.stringify(report));
      if (!good(report)) code = 1;
    } catch (error) {
      if (!(error instanceof CannotRun)) {
        code = 1;
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        const failed: TestResult = { status: 'failed', title: 'the suite can be prepared and judged', message };
        for (const line of describeTests([failed])) print(line);
        if (options.json) print(JSON.stringify(makeReport(name, [], [failed], [], { error: message })));
        continue;
      }
      for (const line of describeCannotRun(name, error)) print(line);
      return cannotRunCode(process.env);
    }
  }
  return code;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main();
