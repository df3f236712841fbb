/** Runs a small program in a process of its own, for what a test's own process would not survive. */

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { addonPath } from '../linux/addon.js';

/** How a program ended. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const prelude = `
import { linux } from './dist/linux/index.js';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import * as fs from 'node:fs';
const system = linux();
const addonPath = ${JSON.stringify(addonPath())};
const folder = process.env.PROGRAM_FOLDER;
/** Starts this program again as a Worker. */
const worker = (data) => new Worker(new URL(import.meta.url), { workerData: data });
const text = (string) => new TextEncoder().encode(string);
/** A new file of so many bytes. */
function file(name, bytes) {
  const fd = system.open(folder + '/' + name, 2 | 0o100, 0o600);
  system.truncate(fd, bytes);
  return fd;
}
`;

/** The package as it is installed: built, with its addon beside. TypeScript loaders do not reach into Workers. */
async function layOut(home: string): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL('../linux/index.ts', import.meta.url))],
    outfile: join(home, 'dist', 'linux', 'index.js'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    logLevel: 'error',
  });
  writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
  symlinkSync(dirname(dirname(addonPath())), join(home, 'prebuilds'));
}

/**
 * Runs the body of a module, JavaScript, after a prelude that gives `system` (the Linux backend), `worker`, `fs`, `file`,
 * `text`, and `folder`, which is empty at first and removed at the end.
 * @param look is given that folder once the program has ended
 */
export async function runProgram(body: string, look: (folder: string) => void = () => {}): Promise<Ended> {
  const home = mkdtempSync(join(tmpdir(), 'vfio-core-'));
  try {
    const folder = join(home, 'folder');
    mkdirSync(folder);
    await layOut(home);
    const path = join(home, 'program.mjs');
    writeFileSync(path, prelude + body);
    const child = spawn(process.execPath, [path], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 20_000,
      killSignal: 'SIGKILL',
      env: { ...process.env, PROGRAM_FOLDER: folder, NODE_OPTIONS: '' },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const ended = await new Promise<Ended>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
    });
    look(folder);
    return ended;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
