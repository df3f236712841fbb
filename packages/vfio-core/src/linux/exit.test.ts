/** What happens when no JavaScript runs any more: at process exit, at a Worker's end, with watches and mappings left. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeLinux } from '../testing/describe-linux.js';
import { runProgram } from '../testing/program.js';

/** Registers a step in each of three phases, out of order, that together write `abcd`. */
const steps = `
function register() {
  const fd = file('out', 0);
  fs.writeFileSync(folder + '/leftover', 'x');
  // Within a phase the last registered is first: d overwrites nothing, c is written over it.
  system.onExit(2, { call: 'pwrite', fd, bytes: text('cd'), offset: 2 });
  system.onExit(2, { call: 'pwrite', fd, bytes: text('XX'), offset: 2 });
  system.onExit(9, { call: 'close', fd });
  system.onExit(5, { call: 'unlink', path: folder + '/leftover' });
  system.onExit(1, { call: 'pwrite', fd, bytes: text('XXXX'), offset: 0 });
  system.onExit(3, { call: 'pwrite', fd, bytes: text('ab'), offset: 0 });
  system.cancelExit(system.onExit(4, { call: 'pwrite', fd, bytes: text('cancelled'), offset: 0 }));
  system.onExit(8, { call: 'close', fd: 4242 });
}
`;

const played = (folder: string): void => {
  expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('abcd');
  expect(existsSync(join(folder, 'leftover'))).toBe(false);
};

describeLinux('at the end of a process the exit steps are played, by phase,', () => {
  it('when nothing is left to do', async () => {
    const ended = await runProgram(`${steps} register();`, played);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
  });

  it('on process.exit()', async () => {
    const ended = await runProgram(`${steps} register(); process.exit(3);`, played);
    expect(ended).toMatchObject({ status: 3, stderr: '' });
  });

  it('after an uncaught exception', async () => {
    const ended = await runProgram(`${steps} register(); setTimeout(() => { throw new Error('planted'); });`, played);
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain('planted');
  });

  it('after an exception in the callback of a watch', async () => {
    const ended = await runProgram(
      `${steps} register();
      const fd = system.eventfd(1);
      system.watch(fd, () => { throw new Error('planted'); }).ref();`,
      played,
    );
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain('planted');
  });

  it('those of a Worker too, when the process exits under it', async () => {
    const ended = await runProgram(
      `${steps}
      if (isMainThread) worker('').on('message', () => process.exit(0));
      else { register(); parentPort.postMessage('registered'); setInterval(() => {}, 1000); }`,
      played,
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
  });
});

describeLinux('at the end of a Worker', () => {
  const inWorker = (body: string, end: string) => `${steps}
    if (isMainThread) {
      const thread = worker('');
      thread.on('message', (message) => { if (message === 'ready') { ${end} } });
      const code = await new Promise((resolve) => thread.on('exit', resolve));
      console.log('ended', fs.readFileSync(folder + '/out', 'utf8'), fs.existsSync(folder + '/leftover'));
      console.log('maps', fs.readFileSync('/proc/self/maps', 'utf8').includes('memfd:of-the-worker'));
      const open = fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } });
      console.log('descriptors', open.some((path) => path.includes('/out')), open.filter((path) => path.includes('eventfd')).length - before);
    } else { register(); ${body}; parentPort.postMessage('ready'); }`;
  const count = `const before = fs.readdirSync('/proc/self/fd').filter((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd).includes('eventfd'); } catch { return false; } }).length;`;

  it('its exit steps are played when it has nothing left to do, and its mappings end', async () => {
    const ended = await runProgram(
      count +
        inWorker(
          `const fd = system.memfd('of-the-worker'); system.truncate(fd, 4096);
           globalThis.kept = system.memory({ kind: 'file', fd, offset: 0, length: 4096 }); system.close(fd)`,
          '',
        ),
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toBe('ended abcd false\nmaps false\ndescriptors false 0\n');
  });

  it('terminated with a live watch, the watch ends with it and no descriptor is left', async () => {
    const ended = await runProgram(
      count +
        inWorker(
          `const fd = system.eventfd(0);
           system.watch(fd, () => {}).ref();
           system.onExit(9, { call: 'close', fd })`,
          'thread.terminate();',
        ),
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toBe('ended abcd false\nmaps false\ndescriptors false 0\n');
  });

  it('terminated while it waits in poll, it ends and its steps are played', async () => {
    const ended = await runProgram(
      count +
        inWorker(
          `const fd = system.eventfd(0);
           system.onExit(9, { call: 'close', fd });
           parentPort.postMessage('ready');
           system.poll(fd, -1)`,
          'thread.terminate();',
        ),
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toBe('ended abcd false\nmaps false\ndescriptors false 0\n');
  });

  it('terminated with an ioctl on its way, nothing of it is touched any more', async () => {
    const ended = await runProgram(
      count +
        inWorker(
          `for (let i = 0; i < 200; i++) system.ioctlAsync(0, 0x3b64, new Uint8Array(100_000))`,
          'thread.terminate();',
        ),
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toBe('ended abcd false\nmaps false\ndescriptors false 0\n');
  });

  it('an exit step to unmap ends a mapping before the steps of later phases', async () => {
    const ended = await runProgram(
      `if (isMainThread) {
        await new Promise((resolve) => worker('').on('exit', resolve));
        console.log(fs.readFileSync('/proc/self/maps', 'utf8').includes('memfd:of-the-worker'));
      } else {
        const fd = system.memfd('of-the-worker');
        system.truncate(fd, 8192);
        const mapping = system.mapDevice(fd, 0, 8192, 3);
        system.onExit(1, { call: 'munmap', address: mapping.address, length: mapping.length });
        system.onExit(1, { call: 'munmap', address: mapping.address, length: mapping.length });
        system.onExit(2, { call: 'close', fd });
      }`,
    );
    expect(ended).toMatchObject({ status: 0, stderr: '', stdout: 'false\n' });
  });
});

describeLinux('a watch', () => {
  it('does not keep the process alive unless it is asked to', async () => {
    const ended = await runProgram(`
      const fd = system.eventfd(0);
      const watch = system.watch(fd, () => console.log('called'));
      watch.ref();
      watch.unref();`);
    expect(ended).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  it('keeps the process alive after ref, until what it waits for came', async () => {
    const ended = await runProgram(`
      const fd = system.eventfd(0);
      const watch = system.watch(fd, (count) => { console.log('called', count); watch.unref(); });
      watch.ref();
      setTimeout(() => system.eventfdWrite(fd, 2), 50).unref();`);
    expect(ended).toMatchObject({ status: 0, stdout: 'called 2\n', stderr: '' });
  });

  it('goes on after a callback that threw, and does not call it twice for one event', async () => {
    const ended = await runProgram(`
      process.on('uncaughtException', (error) => console.log('uncaught', error.message));
      const fd = system.eventfd(1);
      const watch = system.watch(fd, (count) => {
        if (count === 1) throw new Error('planted');
        console.log('called', count);
        watch.close();
      });
      watch.ref();
      setTimeout(() => system.eventfdWrite(fd, 2), 50);`);
    expect(ended).toMatchObject({ status: 0, stdout: 'uncaught planted\ncalled 2\n', stderr: '' });
  });

  it('belongs to its thread: an event is served in the Worker’s own loop while the main thread is busy', async () => {
    const ended = await runProgram(`
      if (isMainThread) {
        const flag = new Int32Array(new SharedArrayBuffer(4));
        const fd = system.eventfd(0);
        const thread = worker({ fd, flag });
        await new Promise((resolve) => thread.once('message', resolve));
        system.eventfdWrite(fd, 6);
        console.log(Atomics.wait(flag, 0, 0, 10_000), flag[0]);
        thread.terminate();
      } else {
        system.watch(workerData.fd, (count) => {
          Atomics.store(workerData.flag, 0, count);
          Atomics.notify(workerData.flag, 0);
        }).ref();
        parentPort.postMessage('ready');
      }`);
    expect(ended.stderr).toBe('');
    expect(ended.stdout).toMatch(/^(ok|not-equal) 6\n$/);
    expect(ended.status).toBe(0);
  });
});

describeLinux('nothing is left behind', () => {
  it('in descriptors and mappings, after every kind of call was made many times', async () => {
    const ended = await runProgram(`
      const look = () => [fs.readdirSync('/proc/self/fd').length, fs.readFileSync('/proc/self/maps', 'utf8').match(/memfd:leak/g)?.length ?? 0];
      async function round() {
        const fd = system.memfd('leak');
        system.truncate(fd, 8192);
        const memory = system.memory({ kind: 'file', fd, offset: 0, length: 8192 });
        const device = system.mapDevice(fd, 4096, 4096, 3);
        const event = system.eventfd(0);
        const watches = [system.watch(event, () => {}), system.watch(event, () => {})];
        await system.ioctlAsync(event, 1, new Uint8Array(2000));
        system.memory({ kind: 'file', fd, offset: 1, length: 4096 });
        system.mapDevice(event, 0, 4096, 3);
        system.watch(-1, () => {});
        system.cancelExit(system.onExit(1, { call: 'close', fd }));
        for (const watch of watches) watch.close();
        memory.unmap();
        device.unmap();
        system.close(event);
        system.close(fd);
      }
      await round();
      const before = look();
      for (let i = 0; i < 300; i++) await round();
      console.log(JSON.stringify(before) === JSON.stringify(look()) ? 'same' : [before, look()]);`);
    expect(ended).toMatchObject({ status: 0, stdout: 'same\n', stderr: '' });
  });

  it('after many Workers that ended with watches and mappings open', async () => {
    const ended = await runProgram(`
      if (isMainThread) {
        const look = () => [fs.readdirSync('/proc/self/fd').length, fs.readFileSync('/proc/self/maps', 'utf8').match(/memfd:leak/g)?.length ?? 0];
        const one = () => new Promise((resolve) => worker('').on('exit', resolve));
        await one();
        const before = look();
        for (let i = 0; i < 8; i++) await one();
        console.log(JSON.stringify(before) === JSON.stringify(look()) ? 'same' : [before, look()]);
      } else {
        const fd = system.memfd('leak');
        system.truncate(fd, 1 << 20);
        system.memory({ kind: 'file', fd, offset: 0, length: 1 << 20 });
        const event = system.eventfd(0);
        system.watch(event, () => {});
        system.close(event);
        system.close(fd);
        process.exit(0);
      }`);
    expect(ended).toMatchObject({ status: 0, stdout: 'same\n', stderr: '' });
  });
});
