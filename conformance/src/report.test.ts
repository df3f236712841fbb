import { describe, expect, it } from 'vitest';
import { type Item, item, type Section, type Variant } from './item.js';
import type { Version } from './kernel.js';
import { judge, report, type Status, type TargetResult } from './report.js';
import type { Outcome } from './run.js';

const run = () => {};
const plain = item('A-1', 'words', run);

/** What a target answered for each item: right, or what was seen instead. */
const target = (
  kind: 'simulation' | 'kernel',
  answers: Readonly<Record<string, 'right' | string>>,
  version: Version = '6.1',
): TargetResult => ({
  name: `${kind} ${version}`,
  kind,
  version,
  outcomes: Object.entries(answers).map(
    ([id, answer]): Outcome => ({ item: id, variant: 0, ...(answer === 'right' ? {} : { failure: answer }) }),
  ),
});
const both = [target('simulation', { 'A-1': 'right' }), target('kernel', { 'A-1': 'right' })];
const simulated = [target('simulation', { 'A-1': 'right' }), target('kernel', {})];
const real = [target('simulation', {}), target('kernel', { 'A-1': 'right' })];

const given = (more: Partial<Item>, variant: Partial<Variant> = {}): Item => ({
  ...plain,
  variants: [{ run, ...variant }],
  ...more,
});

const verdictOf = (of: Item, results: readonly TargetResult[]) => {
  const { status, reason } = judge(of, results);
  return { status, reason };
};

describe('an item', () => {
  it('agrees where the simulation and a kernel answered as expected, and says who did', () => {
    expect(judge(plain, both)).toMatchObject({
      status: 'agree',
      reason: '',
      seenOn: ['simulation 6.1', 'kernel 6.1'],
      witnessedOnKernel: true,
      byReading: false,
    });
  });

  it('is one where the kernel differs if it says so', () => {
    expect(verdictOf(given({ differs: 'EPERM was seen' }), both)).toEqual({
      status: 'kernelDiffers',
      reason: 'EPERM was seen',
    });
  });

  it('is for the simulation only with the reason that it gives', () => {
    const of = given({}, { simulationOnly: 'no such device in QEMU' });
    expect(verdictOf(of, simulated)).toEqual({ status: 'simulationOnly', reason: 'no such device in QEMU' });
  });

  it('is for the simulation only where no kernel of its versions was run, and then rests on reading', () => {
    const later = given({}, { from: '6.6' });
    const results = [target('simulation', { 'A-1': 'right' }, '6.12'), target('kernel', {}, '6.1')];
    expect(judge(later, results)).toMatchObject({
      status: 'simulationOnly',
      reason: 'no kernel of these versions was run',
      witnessedOnKernel: false,
      byReading: true,
    });
    expect(verdictOf(later, [...results, target('kernel', {}, '6.12')]).status).toBe('failed');
  });

  it('is for kernels only with the reason that it gives', () => {
    const of = given({}, { kernelOnly: 'nothing to simulate' });
    expect(verdictOf(of, real)).toEqual({ status: 'kernelOnly', reason: 'nothing to simulate' });
  });

  it('has failed where a target answered otherwise, with who and what', () => {
    for (const kind of ['simulation', 'kernel'] as const) {
      const other = kind === 'kernel' ? 'simulation' : 'kernel';
      const results = [target(other, { 'A-1': 'right' }), target(kind, { 'A-1': 'EIO, expected 0' })];
      expect(verdictOf(plain, results)).toEqual({ status: 'failed', reason: `${kind} 6.1: EIO, expected 0` });
    }
  });

  it('has failed where it is missing, whatever was seen', () => {
    expect(verdictOf(given({ missing: 'not written' }), both)).toEqual({ status: 'failed', reason: 'not written' });
  });

  it('has failed where one side alone ran it and no reason is given', () => {
    expect(verdictOf(plain, simulated).status).toBe('failed');
    expect(verdictOf(plain, real).status).toBe('failed');
  });

  it('has failed where nobody ran it, whatever it says', () => {
    for (const more of [{}, { differs: 'something' }])
      for (const variant of [{}, { simulationOnly: 'a reason' }, { kernelOnly: 'a reason' }])
        expect(verdictOf(given(more, variant), [target('simulation', {}), target('kernel', {})]).status).toBe('failed');
  });

  it('never counts as anything but failed once some outcome has a failure', () => {
    const answers = [undefined, 'right', 'EIO, expected 0'] as const;
    let checked = 0;
    for (const simulation of answers)
      for (const kernel of answers)
        for (const second of answers) {
          if (![simulation, kernel, second].some((answer) => answer !== undefined && answer !== 'right')) continue;
          const outcome = (answer: string | undefined) => (answer === undefined ? {} : { 'A-1': answer });
          const results = [
            target('simulation', outcome(simulation)),
            target('kernel', outcome(kernel)),
            target('kernel', outcome(second), '6.12'),
          ];
          for (const more of [{}, { differs: 'something' }])
            for (const variant of [{}, { simulationOnly: 'a reason' }, { kernelOnly: 'a reason' }]) {
              expect(judge(given(more, variant), results).status).toBe('failed');
              checked++;
            }
        }
    expect(checked).toBe(19 * 6);
  });
});

describe('a report', () => {
  const items: Readonly<Record<Status, Item>> = {
    agree: given({ id: 'A-1' }),
    kernelDiffers: given({ id: 'A-2', differs: 'differs so' }),
    simulationOnly: given({ id: 'A-3' }, { simulationOnly: 'simulation, since' }),
    kernelOnly: given({ id: 'B-1' }, { kernelOnly: 'kernel, since' }),
    failed: given({ id: 'B-2' }),
  };
  const sections: readonly Section[] = [
    { name: 'A', title: '', size: 3, items: [items.agree, items.kernelDiffers, items.simulationOnly] },
    { name: 'B', title: '', size: 2, items: [items.kernelOnly, items.failed] },
  ];
  const results = [
    target('simulation', { 'A-1': 'right', 'A-2': 'right', 'A-3': 'right', 'B-2': 'right' }),
    target('kernel', { 'A-1': 'right', 'A-2': 'right', 'B-1': 'right', 'B-2': 'ENODEV' }),
  ];
  const { report: made, verdicts } = report(sections, results);

  it('has a verdict for each item, and the reasons by status', () => {
    expect(verdicts.map(({ item: { id }, status }) => [id, status])).toEqual(
      Object.entries(items).map(([status, { id }]) => [id, status]),
    );
    expect(made.kernelDiffers).toEqual([{ item: 'A-2', reason: 'differs so' }]);
    expect(made.simulationOnly).toEqual([{ item: 'A-3', reason: 'simulation, since' }]);
    expect(made.kernelOnly).toEqual([{ item: 'B-1', reason: 'kernel, since' }]);
    expect(made.failed).toEqual([{ item: 'B-2', reason: 'kernel 6.1: ENODEV' }]);
    expect(made.targets).toEqual(['simulation 6.1', 'kernel 6.1']);
  });

  it('counts every item in exactly one of the five, in each section and in all', () => {
    const five = ['agree', 'kernelDiffers', 'simulationOnly', 'kernelOnly', 'failed'] as const;
    for (const counts of [...Object.values(made.sections), made.total])
      expect(five.reduce((sum, status) => sum + counts[status], 0)).toBe(counts.items);
    expect(Object.values(made.sections).map((counts) => counts.items)).toEqual([3, 2]);
    expect(made.total).toEqual({
      items: 5,
      agree: 1,
      kernelDiffers: 1,
      simulationOnly: 1,
      kernelOnly: 1,
      failed: 1,
      witnessedOnKernel: 3,
      byReading: 0,
    });
  });
});
