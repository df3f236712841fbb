/** SIGBUS, which a file that was cut short raises just as a device that went away does. */

import { expect, it } from 'vitest';
import { describeLinux } from '../testing/describe-linux.js';
import { runProgram } from '../testing/program.js';

describeLinux('a touch of a mapping behind which nothing is any more', () => {
  it('reads all-ones, page by page, and marks the mapping and no other', async () => {
    const ended = await runProgram(`
      const fd = file('bar', 8192);
      const other = file('other', 4096);
      const bar = system.mapDevice(fd, 0, 8192, 3);
      const left = system.mapDevice(other, 0, 4096, 3);
      bar.window.write32(4096, 7);
      left.window.write32(0, 8);
      console.log(bar.window.read32(4096), bar.faulted);
      system.truncate(fd, 4096);
      console.log(bar.window.read32(0), bar.faulted);
      console.log(bar.window.read32(4100), bar.window.read8(8191), bar.faulted);
      system.truncate(fd, 0);
      console.log(bar.window.read64(8), left.window.read32(0), left.faulted);
      bar.unmap();
      console.log(bar.faulted, fs.readFileSync('/proc/self/maps', 'utf8').includes('/bar'));
      const again = system.mapDevice(other, 0, 4096, 3);
      console.log(again.faulted, again.window.read32(0));`);
    expect(ended.stderr).toBe('');
    expect(ended.stdout.split('\n')).toEqual([
      '7 false',
      '0 false',
      '4294967295 255 true',
      '18446744073709551615n 8 false',
      'true false',
      'false 8',
      '',
    ]);
    expect(ended.status).toBe(0);
  });

  it('swallows a store, and is marked by it too', async () => {
    const ended = await runProgram(`
      const fd = file('bar', 4096);
      const bar = system.mapDevice(fd, 0, 4096, 3);
      system.truncate(fd, 0);
      bar.window.write32(16, 1);
      console.log(bar.faulted, bar.window.read32(20));`);
    expect(ended).toMatchObject({ status: 0, stdout: 'true 4294967295\n', stderr: '' });
  });

  it('is answered in the middle of a compiled polling loop', async () => {
    const ended = await runProgram(`
      if (isMainThread) {
        const fd = file('bar', 4096);
        const { window } = system.mapDevice(fd, 0, 4096, 3);
        const thread = worker(fd);
        const poll = (times) => { let i = 0; while (i < times && window.read32(0) === 0) i++; return i; };
        poll(1e6);
        thread.postMessage('');
        let polls = 0;
        while (window.read32(0) === 0) polls += poll(1e6);
        console.log(window.read32(0));
        process.exit(0);
      } else {
        parentPort.once('message', () => setTimeout(() => system.truncate(workerData, 0), 50));
      }`);
    expect(ended).toMatchObject({ status: 0, stdout: '4294967295\n', stderr: '' });
  });

  it('is answered in a Worker, and in the next one after the addon was left by the last', async () => {
    const ended = await runProgram(`
      if (isMainThread) {
        for (let i = 0; i < 3; i++) {
          const thread = worker(i);
          thread.on('message', (message) => console.log(message));
          await new Promise((resolve) => thread.on('exit', resolve));
        }
      } else {
        const fd = file('bar', 4096);
        const bar = system.mapDevice(fd, 0, 4096, 3);
        system.truncate(fd, 0);
        parentPort.postMessage([bar.window.read32(0), bar.faulted].join());
      }`);
    expect(ended.stdout).toBe('4294967295,true\n4294967295,true\n4294967295,true\n');
    expect(ended).toMatchObject({ status: 0, stderr: '' });
  });

  it('is answered by the copy of the addon that made the mapping, where two are loaded', async () => {
    const ended = await runProgram(`
      import { createRequire } from 'node:module';
      fs.copyFileSync(addonPath, folder + '/copy.node');
      const addons = [addonPath, folder + '/copy.node'].map((path) => createRequire(import.meta.url)(path));
      const maps = addons.map((addon, i) => {
        const fd = file('bar' + i, 4096);
        const { buffer, handle } = addon.mapDevice(fd, 0, 4096, 3);
        system.truncate(fd, 0);
        return { addon, handle, registers: new Uint32Array(buffer) };
      });
      const marks = () => maps.map(({ addon, handle }) => addon.faulted(handle)).join();
      console.log(marks());
      console.log(maps[0].registers[3], marks());
      console.log(maps[1].registers[3], marks());`);
    expect(ended).toMatchObject({
      status: 0,
      stdout: 'false,false\n4294967295 true,false\n4294967295 true,true\n',
      stderr: '',
    });
  });

  it('is undone at the same address, and leaves no more maps than before', async () => {
    const ended = await runProgram(`
      const fd = file('bar', 3 * 4096);
      const bar = system.mapDevice(fd, 4096, 8192, 3);
      const maps = () => fs.readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('/bar')).join();
      const before = maps();
      const seen = new Set();
      for (let round = 0; round < 20; round++) {
        system.truncate(fd, 4096);
        seen.add([bar.window.read32(4096), bar.faulted].join());
        system.truncate(fd, 3 * 4096);
        system.pwrite(fd, Uint8Array.of(round, 1), 2 * 4096);
        if (bar.remap() !== 0 || bar.faulted || bar.window.read16(4096) !== 256 + round) console.log('round', round);
      }
      bar.window.write8(5, 9);
      const back = new Uint8Array(1);
      system.pread(fd, back, 4096 + 5);
      console.log([...seen].join(' '), maps() === before, back[0]);
      bar.unmap();
      console.log(maps() === '');`);
    expect(ended).toMatchObject({ status: 0, stdout: '4294967295,true true 9\ntrue\n', stderr: '' });
  });

  it('stays as it is where the device can no longer be mapped: all-ones, and marked', async () => {
    const ended = await runProgram(`
      const fd = file('bar', 4096);
      const bar = system.mapDevice(fd, 0, 4096, 3);
      system.truncate(fd, 0);
      console.log(bar.window.read32(0), bar.faulted);
      system.close(fd);
      console.log(bar.remap(), bar.window.read32(0), bar.faulted);`);
    expect(ended).toMatchObject({ status: 0, stdout: '4294967295 true\n-9 4294967295 true\n', stderr: '' });
  });

  it('is answered for more mappings than the first block of the table holds', async () => {
    const ended = await runProgram(`
      const fd = file('bar', 4096);
      const bars = Array.from({ length: 300 }, () => system.mapDevice(fd, 0, 4096, 3));
      for (const bar of bars.slice(0, 100)) bar.unmap();
      system.truncate(fd, 0);
      const rest = bars.slice(100);
      console.log(rest.every((bar) => !bar.faulted && bar.window.read32(0) === 0xffffffff && bar.faulted));
      for (const bar of rest) bar.unmap();`);
    expect(ended).toMatchObject({ status: 0, stdout: 'true\n', stderr: '' });
  });
});

describeLinux('any other SIGBUS', () => {
  const guarded = `
    const other = file('other', 4096);
    const bar = system.mapDevice(other, 0, 4096, 3);`;

  it('goes to who had it before: a touch of memory that is no device’s ends the process', async () => {
    const ended = await runProgram(`${guarded}
      const fd = file('memory', 4096);
      const memory = system.memory({ kind: 'file', fd, offset: 0, length: 4096 });
      system.truncate(fd, 0);
      console.log('before');
      console.log(memory.bytes[0]);`);
    expect(ended).toMatchObject({ status: null, signal: 'SIGBUS', stdout: 'before\n' });
  });

  it('goes to who had it before: one sent by kill ends the process', async () => {
    const ended = await runProgram(`${guarded}
      setInterval(() => {}, 1000);
      process.kill(process.pid, 'SIGBUS');`);
    expect(ended).toMatchObject({ status: null, signal: 'SIGBUS' });
  });

  it('goes to who had it before: a listener of the program hears one sent by kill', async () => {
    const ended = await runProgram(`
      process.on('SIGBUS', () => { console.log('heard'); process.exit(0); });
      ${guarded}
      setInterval(() => {}, 1000);
      process.kill(process.pid, 'SIGBUS');`);
    expect(ended).toMatchObject({ status: 0, stdout: 'heard\n', stderr: '' });
  });
});
