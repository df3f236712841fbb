import { describe, expect, it } from 'vitest';
import { good, makeReport, mergeRuns } from './report.js';
import type { GuestPlan, RunResult, TestResult } from './suite.js';

const passed: TestResult = { status: 'passed', title: 'p' };
const failed: TestResult = { status: 'failed', title: 'f', message: 'm' };
const skipped: TestResult = { status: 'skipped', title: 's', message: 'm' };
const result = (name: string, tests: readonly TestResult[], more: Partial<RunResult> = {}): RunResult => ({
  run: { name, mode: 'iommu' },
  release: '6.1.0-1-amd64',
  tests,
  fields: {},
  unexpected: [],
  seconds: 1,
  folder: '/x',
  images: {},
  ...more,
});
const plan: GuestPlan = { title: 't', runs: [] };

describe('merging the runs of a suite', () => {
  it('adds up tests, lists each kernel once and keeps the fields of each run under its name', async () => {
    const runs = [
      result('iommu', [passed, skipped], { fields: { bytes: 1 } }),
      result('noiommu', [passed, failed], { fields: { bytes: 2 }, unexpected: ['[1.0] x'] }),
    ];
    const { report } = await mergeRuns('disk', plan, runs);
    expect(report).toEqual({
      suite: 'disk',
      kernels: ['6.1.0-1-amd64'],
      passed: 2,
      failed: 1,
      skipped: 1,
      unexpectedKernelMessages: ['noiommu: [1.0] x'],
      modes: { iommu: { bytes: 1 }, noiommu: { bytes: 2 } },
    });
  });

  it("counts the judge's tests and takes its fields, but not over the lab's own", async () => {
    const judge = () => ({ tests: [failed], fields: { verdict: 'no', failed: 0 } });
    const { report } = await mergeRuns('disk', { ...plan, judge }, [result('iommu', [passed])]);
    expect(report).toMatchObject({ passed: 1, failed: 1, verdict: 'no' });
    expect(report).not.toHaveProperty('modes');
  });
});

describe('the verdict', () => {
  it('is good only when something passed, nothing failed and the kernel said nothing unexpected', () => {
    const report = (tests: readonly TestResult[], messages: readonly string[] = []) =>
      good(makeReport('x', [], tests, messages, {}));
    expect(report([passed, skipped])).toBe(true);
    expect(report([passed, failed])).toBe(false);
    expect(report([passed], ['odd'])).toBe(false);
    expect(report([skipped])).toBe(false);
    expect(report([])).toBe(false);
  });
});
