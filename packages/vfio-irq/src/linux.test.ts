/** With the eventfds of a real kernel: the event loop, a blocked thread, and a Worker. */

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { linux } from 'vfio-core/linux';
import { expect, it } from 'vitest';
import { addonPath } from '../../vfio-core/src/linux/addon.js';
import { describeLinux } from '../../vfio-core/src/testing/describe-linux.js';
import { interrupts } from './interrupts.js';
import { FakeDevice, type FakeSystem } from './testing/fake.js';

const MSI = 1;

/** A device of a few lines, whose eventfds are the kernel's. */
function open() {
  const system = linux();
  const fake = new FakeDevice({ system: Object.assign(Object.create(system), { calls: system }) as FakeSystem });
  return { fake, system };
}

/** This package and the backend as one file, since TypeScript loaders do not reach into Workers. */
async function layOut(): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), 'vfio-irq-'));
  await build({
    stdin: {
      contents: `
        import { parentPort, workerData } from 'node:worker_threads';
        import { Interrupt } from ${JSON.stringify(fileURLToPath(new URL('./index.ts', import.meta.url)))};
        import { linux } from 'vfio-core/linux';
        const irq = Interrupt.attach(workerData, { backend: linux() });
        parentPort.postMessage('attached');
        try {
          for (;;) parentPort.postMessage(irq.wait(Number.POSITIVE_INFINITY));
        } catch (error) {
          parentPort.postMessage(error.code);
        }
      `,
      resolveDir: dirname(fileURLToPath(import.meta.url)),
    },
    outfile: join(home, 'dist', 'linux', 'worker.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    logLevel: 'error',
    tsconfig: fileURLToPath(new URL('../../../tsconfig.json', import.meta.url)),
  });
  writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
  symlinkSync(dirname(dirname(addonPath())), join(home, 'prebuilds'));
  return home;
}

describeLinux('interrupts over real eventfds', () => {
  it('arrive in the event loop, summed, and none is lost between two waits', async () => {
    const { fake } = open();
    const set = await interrupts(fake.device).enable('msi', 2);
    fake.raise(MSI, 0, 3);
    expect(await set[0].once()).toBe(3);
    const waiting = set[0].once();
    fake.raise(MSI);
    expect(await waiting).toBe(1);
    fake.raise(MSI);
    await new Promise((resolve) => setTimeout(resolve, 20));
    fake.raise(MSI);
    expect(await set[0].once()).toBe(2);
    fake.raise(MSI);
    let seen = 0;
    for await (const count of set[0]) {
      seen += count;
      if (seen === 100) break;
      fake.raise(MSI);
    }
    expect(seen).toBe(100);
    fake.close();
  }, 10_000);

  it('wake a Worker that is blocked, and the owner closing ends its wait', async () => {
    const { fake, system } = open();
    const home = await layOut();
    try {
      const set = await interrupts(fake.device).enable('msi', 1);
      const { fd } = set[0];
      const worker = new Worker(join(home, 'dist', 'linux', 'worker.mjs'), { workerData: set[0].share() });
      const inbox: unknown[] = [];
      let wake = (): void => {};
      worker.on('message', (message) => {
        inbox.push(message);
        wake();
      });
      worker.on('error', (error) => {
        inbox.push(error);
        wake();
      });
      const next = async () => {
        while (inbox.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        return inbox.shift();
      };
      expect(await next()).toBe('attached');
      for (let round = 0; round < 20; round++) {
        fake.raise(MSI);
        expect(await next()).toBe(1);
      }
      fake.close();
      expect(await next()).toBe('ERR_VFIO_CLOSED');
      await worker.terminate();
      expect(system.eventfdRead(fd)).toBe(-9);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }, 20_000);
});
