import type { GuestPlan, Judgement, RunResult, TestResult } from './suite.js';

/** The JSON object of a suite: these fields, then the suite's own. */
export interface Report {
  readonly suite: string;
  readonly kernels: readonly string[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly unexpectedKernelMessages: readonly string[];
  readonly [own: string]: unknown;
}

export const count = (tests: readonly TestResult[], status: TestResult['status']): number =>
  tests.filter((test) => test.status === status).length;

/** Adds up what the runs of a suite brought. */
export async function mergeRuns(
  suite: string,
  plan: GuestPlan,
  runs: readonly RunResult[],
): Promise<{
  readonly report: Report;
  readonly judgement: Judgement;
}> {
  const judgement = plan.judge
    ? await plan.judge(runs)
    : { fields: { modes: Object.fromEntries(runs.map(({ run, fields }) => [run.name, fields])) } };
  const tests = [...runs.flatMap((run) => run.tests), ...(judgement.tests ?? [])];
  const kernels = [...new Set(runs.map(({ release }) => release).filter((release) => release !== undefined))];
  const unexpected = runs.flatMap(({ run, unexpected: messages }) => messages.map((text) => `${run.name}: ${text}`));
  return { judgement, report: makeReport(suite, kernels, tests, unexpected, judgement.fields ?? {}) };
}

/** The report of one suite. The lab's own fields win over a suite's of the same name. */
export function makeReport(
  suite: string,
  kernels: readonly string[],
  tests: readonly TestResult[],
  unexpected: readonly string[],
  fields: Readonly<Record<string, unknown>>,
): Report {
  return {
    ...fields,
    suite,
    kernels,
    passed: count(tests, 'passed'),
    failed: count(tests, 'failed'),
    skipped: count(tests, 'skipped'),
    unexpectedKernelMessages: unexpected,
  };
}

/** Whether a suite is in order: something passed, nothing failed, the kernel said nothing unexpected. */
export const good = (report: Report): boolean =>
  report.passed > 0 && report.failed === 0 && report.unexpectedKernelMessages.length === 0;

const indent = (text: string) => text.replaceAll('\n', '\n        ');

/** The lines of a readable report on one list of tests. */
export function describeTests(tests: readonly TestResult[]): string[] {
  return tests.map((test) => {
    if (test.status === 'passed') {
      return `    ok    ${test.title}${test.milliseconds === undefined ? '' : ` (${test.milliseconds} ms)`}`;
    }
    const word = test.status === 'failed' ? 'FAIL' : 'skip';
    return `    ${word}  ${test.title}: ${indent(test.message)}`;
  });
}

/** The lines of a readable report on one boot. */
export function describeRun(result: RunResult): string[] {
  const { run, release, seconds, unexpected, folder } = result;
  return [
    `  ${run.name}: ${release ?? 'the guest did not report its kernel'}, ${seconds.toFixed(1)} s, records in ${folder}`,
    ...describeTests(result.tests),
    ...unexpected.map((text) => `    FAIL  unexpected kernel message: ${text}`),
    ...Object.entries(result.fields).map(([name, value]) => `    ${name}: ${JSON.stringify(value)}`),
  ];
}
