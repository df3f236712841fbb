import type { GuestLine } from './channel.js';
import { endMark, findTrouble, readConsole, readRawLog, sortExpected } from './console.js';
import type { Run, RunResult, TestResult } from './suite.js';

/** Everything that a boot left behind. */
export interface Observed {
  readonly lines: readonly GuestLine[];
  readonly console: string;
  /** What `dmesg -r` said at the end; empty when the guest did not get there. */
  readonly kernelLog: string;
  /** Why the lab ended the guest, if it did. */
  readonly stopped: 'time' | 'silence' | undefined;
  readonly qemu: { readonly exitCode: number | null; readonly stderr: string };
  readonly seconds: number;
}

const last = <T>(values: readonly T[]): T | undefined => values[values.length - 1];

/** Turns what a boot left behind into its result. */
export function evaluate(
  run: Run,
  observed: Observed,
  folder: string,
  images: Readonly<Record<string, string>> = {},
): RunResult {
  const { lines } = observed;
  const tests: TestResult[] = [];
  const fields: Record<string, unknown> = {};
  for (const line of lines) {
    if (line.kind === 'passed') tests.push({ status: 'passed', title: line.title, milliseconds: line.milliseconds });
    else if (line.kind === 'failed' || line.kind === 'skipped') {
      tests.push({ status: line.kind, title: line.title, message: line.message });
    } else if (line.kind === 'field') fields[line.name] = line.value;
  }
  const log = observed.kernelLog === '' ? readConsole(observed.console) : readRawLog(observed.kernelLog);
  const { unexpected, missing } = sortExpected(findTrouble(log), log, run.expected ?? []);
  const fail = (title: string, message: string) => tests.push({ status: 'failed', title, message });

  const ending = howItEnded(
    run,
    observed,
    log.map(({ text }) => text),
  );
  if (ending) fail('the guest runs to its end', ending);
  else if (!tests.some(({ status }) => status === 'passed' || status === 'failed')) {
    fail('the guest runs at least one test', 'it reported none');
  }
  for (const { pattern, reason } of missing) fail(`the kernel logs ${pattern}`, `it did not, though: ${reason}`);
  const begin = lines.find((line) => line.kind === 'begin');
  const release = begin?.kind === 'begin' ? begin.release : undefined;
  const result = { run, release, tests, fields, unexpected, seconds: observed.seconds, folder, images };
  return run.plants ? planted(result, run.plants) : result;
}

/** What kept the guest from a regular end, or undefined. */
function howItEnded(run: Run, observed: Observed, log: readonly string[]): string | undefined {
  const { lines, stopped, qemu } = observed;
  const running = lastRunning(lines);
  const during = running ? `, during the test "${running}"` : '';
  if (stopped === 'time') return `it hung: not ended after ${run.seconds ?? 600} s${during}`;
  if (stopped === 'silence') return `it hung: no sign of life for ${run.silentSeconds ?? 180} s${during}`;
  const panic = log.find((text) => text.includes('Kernel panic'));
  if (panic) return `it panicked: ${panic}${during}`;
  if (qemu.exitCode !== 0) return `QEMU ended with code ${qemu.exitCode}: ${qemu.stderr.trim().slice(-1000)}`;
  const end = last(log.map((text) => endMark.exec(text)).filter((match) => match !== null));
  if (!end) {
    const why = last(log.filter((text) => text.startsWith('lab: ')));
    return `it stopped before its end${during} (${why ?? 'the console has the rest'})`;
  }
  const ended = lines.find((line) => line.kind === 'end');
  const failed = lines.some((line) => line.kind === 'failed');
  if (!ended) return `its program ended with code ${end[1]} before its last test${during}`;
  if (!failed && end[1] !== '0') return `its program ended with code ${end[1]}`;
  return undefined;
}

function lastRunning(lines: readonly GuestLine[]): string | undefined {
  const open = new Set<string>();
  for (const line of lines) {
    if (line.kind === 'test') open.add(line.title);
    else if (line.kind === 'passed' || line.kind === 'failed') open.delete(line.title);
  }
  return last([...open]);
}

/** Turns the result of a run that plants a failure around: it passes only when the failure was reported. */
function planted(result: RunResult, pattern: RegExp): RunResult {
  const failures = result.tests.filter((test) => test.status === 'failed');
  const reports = [...failures.map(({ title, message }) => `${title}: ${message}`), ...result.unexpected];
  const title = `a run with a planted failure is reported as failed (${result.run.name})`;
  const seen = reports.find((text) => pattern.test(text));
  const test: TestResult = seen
    ? { status: 'passed', title }
    : {
        status: 'failed',
        title,
        message: `no report matches ${pattern}; reported: ${reports.join(' | ') || 'nothing'}`,
      };
  return { ...result, tests: [test], unexpected: [], fields: { ...result.fields, reported: reports.slice(0, 20) } };
}
