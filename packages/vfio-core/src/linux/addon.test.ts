import { describe, expect, it } from 'vitest';
import { isVfioError } from '../errors/error.js';
import { defaultBackend } from '../no-backend.js';
import { describeLinux } from '../testing/describe-linux.js';
import { runProgram } from '../testing/program.js';

describeLinux('the addon', () => {
  it('is loaded by the first call that needs it, and not by the import, files, time or sleep', async () => {
    const ended = await runProgram(`
      const loaded = () => fs.readFileSync('/proc/self/maps', 'utf8').includes('vfio-core.node');
      const before = loaded();
      system.readFile('/proc/version');
      system.list('/sys');
      system.now();
      await system.sleep(1);
      console.log(before, loaded());
      system.close(system.eventfd(0));
      console.log(loaded());`);
    expect(ended).toMatchObject({ status: 0, stdout: 'false false\ntrue\n', stderr: '' });
  });

  const refusal = `
    try {
      system.eventfd(0);
    } catch (error) {
      console.log(error.code, error.message.includes(expected), error.remedy.includes('simulation('));
    }
    console.log(system.readFile('/proc/version').length > 0);`;

  it('that is missing is said with what to do, and files are read all the same', async () => {
    const ended = await runProgram(`
      fs.unlinkSync(new URL('./prebuilds', import.meta.url));
      const expected = 'is missing';${refusal}`);
    expect(ended).toMatchObject({ status: 0, stdout: 'ERR_VFIO_NO_BACKEND true true\ntrue\n', stderr: '' });
  });

  it('that cannot be loaded is said with what to do', async () => {
    const ended = await runProgram(`
      fs.unlinkSync(new URL('./prebuilds', import.meta.url));
      const there = addonPath.replace(/.*(?=prebuilds)/, folder + '/../');
      fs.mkdirSync(there.replace(/[^/]*$/, ''), { recursive: true });
      fs.writeFileSync(there, 'no addon');
      const expected = 'did not load';${refusal}`);
    expect(ended).toMatchObject({ status: 0, stdout: 'ERR_VFIO_NO_BACKEND true true\ntrue\n', stderr: '' });
  });

  it('is not looked for on another system than Linux', async () => {
    const ended = await runProgram(`
      Object.defineProperty(process, 'platform', { value: 'darwin' });
      const expected = 'VFIO is part of Linux, and this is darwin';${refusal}`);
    expect(ended).toMatchObject({ status: 0, stdout: 'ERR_VFIO_NO_BACKEND true true\ntrue\n', stderr: '' });
  });
});

describe('without a backend', () => {
  it('the default one throws ERR_VFIO_NO_BACKEND and says to pass one', () => {
    let thrown: unknown;
    try {
      defaultBackend();
    } catch (error) {
      thrown = error;
    }
    expect(isVfioError(thrown) && thrown.code).toBe('ERR_VFIO_NO_BACKEND');
    expect(isVfioError(thrown) && thrown.remedy).toContain('{ backend: simulation(');
  });
});
