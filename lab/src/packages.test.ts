import { describe, expect, it } from 'vitest';
import { CannotRun, cannotRunCode, describeCannotRun } from './cannot-run.js';
import { checkMachine, needTools } from './packages.js';

const caught = async (work: () => unknown): Promise<CannotRun> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof CannotRun) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};
const stranger = { program: 'no-such-program-of-the-lab', package: 'no-such-package' };

describe('a machine that cannot run the lab', () => {
  it('is one of another system or architecture', async () => {
    for (const machine of [
      { platform: 'darwin', arch: 'arm64' },
      { platform: 'linux', arch: 'arm64' },
    ]) {
      const { missing } = await caught(() => checkMachine(machine));
      expect(missing).toEqual([expect.stringContaining(`${machine.platform} ${machine.arch}`)]);
    }
  });

  it('is one without a program that only root could install, and is told the command', async () => {
    const said: string[] = [];
    const { missing } = await caught(() => needTools([stranger], (line) => said.push(line), 1000));
    expect(missing).toEqual([
      'no-such-program-of-the-lab (as root: apt-get install --no-install-recommends no-such-package)',
    ]);
    expect(said).toEqual([]);
  });

  it('hears what is missing and that nothing was checked', () => {
    expect(describeCannotRun('disk', new CannotRun(['a', 'b']))).toEqual([
      expect.stringContaining('NOTHING WAS CHECKED'),
      '  - a',
      '  - b',
    ]);
  });

  it('ends with 77, and in CI with 1', () => {
    expect(cannotRunCode({})).toBe(77);
    expect(cannotRunCode({ CI: 'false' })).toBe(77);
    expect(cannotRunCode({ CI: 'true' })).toBe(1);
  });
});
