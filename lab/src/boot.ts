import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { bundleGuest, bundleScript } from './bundle.js';
import { type GuestLine, openChannel } from './channel.js';
import { evaluate, type Observed } from './evaluate.js';
import { prepareInitramfs } from './initramfs.js';
import { type KernelLine, prepareKernel } from './kernel.js';
import { suiteModule, vfioModules } from './modules.js';
import { buildTools, guestTools, needTools } from './packages.js';
import { cacheFolder, checkout, findProgram, suitesFolder } from './paths.js';
import { command } from './process.js';
import { qemuArguments } from './qemu.js';
import type { Mode, Run, RunResult } from './suite.js';

const vfioNames = (mode: Mode, line: KernelLine) => [
  ...(line === '6.1' ? [] : ['iommufd']),
  mode === 'noiommu' ? 'vfio enable_unsafe_noiommu_mode=1' : 'vfio',
  'vfio_iommu_type1',
  'vfio-pci',
];

/** Host folders that the guest's tmpfs would hide or that are not below the checkout. */
function sharedFolders(): string[] {
  const node = dirname(dirname(process.execPath));
  const hidden = /^\/(tmp|run|mnt|var\/tmp)\//.test(`${node}/`) ? [node] : [];
  return [checkout, ...hidden];
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

function startScript(run: Run, folder: string): string {
  const environment: Record<string, string> = {
    PATH: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: '/tmp',
    TMPDIR: '/tmp',
    LANG: 'C.UTF-8',
    LAB_MODE: run.mode,
    LAB_KERNEL: run.kernel ?? '6.1',
    LAB_RUN_NAME: run.name,
    LAB_RUN_FOLDER: folder,
    LAB_RESULTS: '/dev/ttyS1',
    ...run.environment,
  };
  const lines = Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}`);
  return [
    ...lines,
    'stty -F /dev/ttyS1 raw -echo',
    `cd ${quote(checkout)}`,
    `exec ${quote(process.execPath)} --enable-source-maps ${quote(join(folder, 'guest.mjs'))}`,
    '',
  ].join('\n');
}

/** Prepares what one run needs, boots it, and judges what came of it. */
export async function boot(
  suite: string,
  run: Run,
  folder: string,
  say: (line: string) => void,
  options: { readonly refresh?: boolean } = {},
): Promise<RunResult> {
  await needTools(guestTools, say);
  const suiteFolder = join(suitesFolder, suite);
  const kernel = await prepareKernel(run.kernel ?? '6.1', say, options.refresh);
  const built = await vfioModules(kernel, run.mode, say);
  for (const file of run.ownModules ?? []) built.push(await suiteModule(kernel, join(suiteFolder, file), say));
  const vfio = vfioNames(run.mode, kernel.line);
  const initrd = await prepareInitramfs(
    {
      kernel,
      load: [...(run.vfio === false ? [] : vfio), ...(run.modules ?? [])],
      carry: [
        ...(run.vfio === false ? vfio.map((line) => line.split(' ')[0] as string) : []),
        ...(run.carryModules ?? []),
        ...(run.ownModules ?? []).map((file) => basename(file, '.c')),
      ],
      built,
    },
    say,
  );
  mkdirSync(folder, { recursive: true });
  if (run.programs?.length) await needTools(buildTools, say);
  for (const file of run.programs ?? []) {
    const output = join(folder, basename(file, '.c'));
    await command('gcc-12', ['-O1', '-Wall', '-Werror', '-o', output, join(suiteFolder, file)]);
  }
  await bundleGuest(suite, run.guest ?? 'guest.ts', join(folder, 'guest.mjs'));
  for (const file of run.scripts ?? []) {
    await bundleScript(join(suiteFolder, file), join(folder, `${basename(file, '.ts')}.mjs`));
  }
  writeFileSync(join(folder, 'start.sh'), startScript(run, folder));
  const images: Record<string, string> = {};
  for (const { name, bytes } of run.disks ?? []) {
    const path = join(folder, `${name}.img`);
    writeFileSync(path, '');
    truncateSync(path, bytes);
    images[name] = path;
  }
  say(`booting ${kernel.release} (${run.mode}), time limit ${run.seconds ?? 600} s`);
  const observed = await runQemu(run, folder, kernel.image, initrd, images);
  return evaluate(run, observed, folder, images);
}

async function runQemu(
  run: Run,
  folder: string,
  image: string,
  initrd: string,
  images: Readonly<Record<string, string>>,
): Promise<Observed> {
  // Socket paths are limited to 107 characters, so they are not below the cache.
  const sockets = mkdtempSync(join(tmpdir(), 'vfio-lab-'));
  const files = {
    image,
    initrd,
    folder,
    images,
    monitor: join(sockets, 'monitor'),
    results: join(sockets, 'results'),
    shares: [...sharedFolders(), ...(folder.startsWith(checkout) ? [] : [cacheFolder()])],
  };
  const consoleFile = join(folder, 'console.log');
  const args = qemuArguments(run, files);
  writeFileSync(join(folder, 'qemu.txt'), ['qemu-system-x86_64', ...args].map(quote).join(' '));
  const started = performance.now();
  // The kernel ends QEMU too when the lab itself is killed and can no longer watch the time.
  const words = ['--pdeathsig', 'KILL', findProgram('qemu-system-x86_64') as string, ...args];
  const qemu = spawn(findProgram('setpriv') as string, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = () => qemu.kill('SIGKILL');
  process.once('exit', kill);
  const lines: GuestLine[] = [];
  let stopped: Observed['stopped'];
  let stderr = '';
  let lastSign = performance.now();
  const sign = () => {
    lastSign = performance.now();
  };
  qemu.stdout.on('data', (data: Uint8Array) => {
    sign();
    appendFileSync(consoleFile, data);
  });
  qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const watch = setInterval(() => {
    const now = performance.now();
    if (now - started > (run.seconds ?? 600) * 1000) stopped = 'time';
    else if (now - lastSign > (run.silentSeconds ?? 180) * 1000) stopped = 'silence';
    if (stopped) kill();
  }, 250);
  const closed = new Promise<number | null>((resolve) => {
    qemu.once('error', () => resolve(null));
    qemu.once('close', (code) => resolve(code));
  });
  let closeChannel = () => {};
  const paths = { results: files.results, monitor: files.monitor, file: join(folder, 'results.jsonl') };
  const channel = openChannel(paths, (line) => {
    sign();
    lines.push(line);
  });
  channel.then(
    (close) => {
      closeChannel = close;
    },
    () => kill(),
  );
  const exitCode = await closed;
  clearInterval(watch);
  process.off('exit', kill);
  await channel.catch(() => undefined);
  // What QEMU wrote last may still be in the socket.
  await new Promise((resolve) => setTimeout(resolve, 50));
  closeChannel();
  rmSync(sockets, { recursive: true, force: true });
  const read = (name: string) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '');
  return {
    lines,
    console: read('console.log'),
    kernelLog: read('kernel.log'),
    stopped,
    qemu: { exitCode, stderr },
    seconds: (performance.now() - started) / 1000,
  };
}
