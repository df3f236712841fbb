import { describe, expect, it } from 'vitest';
import type { GuestLine } from './channel.js';
import { evaluate, type Observed } from './evaluate.js';
import type { Run } from './suite.js';

const run: Run = { name: 'iommu', mode: 'iommu' };
const start = '<12>[    3.000000] lab: the program starts\n';
const end = (code: number) => `<12>[    9.000000] lab: the program ended with code ${code}\n`;
const passing: readonly GuestLine[] = [
  { kind: 'begin', release: '6.1.0-1-amd64', node: 'v20' },
  { kind: 'test', title: 'one' },
  { kind: 'passed', title: 'one', milliseconds: 5 },
  { kind: 'field', name: 'bytes', value: 7 },
  { kind: 'end', tests: 1 },
];

const observe = (more: Partial<Observed> = {}): Observed => ({
  lines: passing,
  console: '',
  kernelLog: start + end(0),
  stopped: undefined,
  qemu: { exitCode: 0, stderr: '' },
  seconds: 10,
  ...more,
});

const failures = (observed: Observed, of: Run = run) =>
  evaluate(of, observed, '/x').tests.flatMap((test) =>
    test.status === 'failed' ? [`${test.title}: ${test.message}`] : [],
  );

describe('evaluating a boot', () => {
  it('takes tests, fields and the kernel from what the guest reported', () => {
    const result = evaluate(run, observe(), '/x');
    expect(result.tests).toEqual([{ status: 'passed', title: 'one', milliseconds: 5 }]);
    expect(result.fields).toEqual({ bytes: 7 });
    expect(result.release).toBe('6.1.0-1-amd64');
    expect(result.unexpected).toEqual([]);
  });

  it('passes on a failed test without blaming the end as well', () => {
    const lines: GuestLine[] = [
      { kind: 'failed', title: 'one', message: 'no' },
      { kind: 'end', tests: 1 },
    ];
    expect(failures(observe({ lines, kernelLog: start + end(1) }))).toEqual(['one: no']);
  });

  it('fails when the guest was stopped by the time limit or for its silence, and names the running test', () => {
    const lines = passing.slice(0, 2);
    expect(failures(observe({ lines, stopped: 'time', kernelLog: '' }))[0]).toMatch(/hung: not ended.*"one"/);
    expect(failures(observe({ lines, stopped: 'silence', kernelLog: '' }))[0]).toMatch(/hung: no sign.*"one"/);
  });

  it('fails on a panic that only the console shows', () => {
    const result = evaluate(
      run,
      observe({
        lines: passing.slice(0, 2),
        kernelLog: '',
        console: '[    4.000000] Kernel panic - not syncing: x\r\n',
      }),
      '/x',
    );
    expect(result.tests).toMatchObject([{ status: 'failed', message: expect.stringContaining('panicked') }]);
    expect(result.unexpected).toEqual(['[4.000000] Kernel panic - not syncing: x']);
  });

  it('fails when the program ended early, ended badly, or the guest stopped before it', () => {
    expect(failures(observe({ lines: passing.slice(0, 4) }))[0]).toMatch(/code 0 before its last test/);
    expect(failures(observe({ kernelLog: start + end(139) }))[0]).toMatch(/ended with code 139/);
    const stopped = '<12>[    2.000000] lab: the module x did not load\n';
    expect(failures(observe({ lines: [], kernelLog: '', console: stopped.slice(4) }))[0]).toMatch(/x did not load/);
  });

  it('fails when QEMU itself ended badly', () => {
    expect(failures(observe({ qemu: { exitCode: 1, stderr: 'no such device' } }))[0]).toMatch(/no such device/);
  });

  it('fails when no test ran: skipped ones do not count', () => {
    const lines: GuestLine[] = [
      { kind: 'skipped', title: 'one', message: 'because' },
      { kind: 'end', tests: 1 },
    ];
    expect(failures(observe({ lines }))).toEqual(['the guest runs at least one test: it reported none']);
  });

  it('reports unexpected kernel messages beside passing tests', () => {
    const kernelLog = `${start}<4>[    5.000000] odd\n${end(0)}`;
    expect(evaluate(run, observe({ kernelLog }), '/x').unexpected).toEqual(['[5.000000] odd']);
    const expected = [{ pattern: /odd/, reason: 'planned' }];
    expect(evaluate({ ...run, expected }, observe({ kernelLog }), '/x').unexpected).toEqual([]);
  });
});

describe('a run that plants a failure', () => {
  const planted: Run = { ...run, plants: /fault addr 0x1000/ };
  const kernelLog = `${start}<3>[    5.000000] DMAR: fault addr 0x1000\n${end(0)}`;

  it('passes when the failure was reported, and hands on no unexpected message', () => {
    const result = evaluate(planted, observe({ kernelLog }), '/x');
    expect(result.tests.map(({ status }) => status)).toEqual(['passed']);
    expect(result.unexpected).toEqual([]);
  });

  it('fails when it was not, though everything else passed', () => {
    expect(failures(observe(), planted)[0]).toMatch(/no report matches/);
  });
});
