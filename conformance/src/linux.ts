/** A real kernel as target: the process runs as root on a machine that has the devices of `machine`. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { linux } from 'vfio-core/linux';
import type { Rights } from './item.js';
import { versionOf } from './kernel.js';
import type { Target } from './run.js';
import { World } from './world.js';

/** A page of this very program's file: readable, not writable, and its first word is what every program begins with. */
function readOnlyAddress(): number {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((text) => text.includes(' r--p 00000000 ') && text.endsWith(process.execPath));
  if (line === undefined) throw new Error('no read-only mapping of the program itself');
  return Number.parseInt(line, 16);
}

const locked = (): number => Number(/VmLck:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;

function run(name: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

const openElsewhere = (path: string): number =>
  Number(
    run(
      process.execPath,
      '-e',
      `try { console.log(fs.openSync(${JSON.stringify(path)}, 'r+')) } catch (error) { console.log(error.errno) }`,
    ),
  );

const limit = (bytes: number | 'unlimited'): string => run('prlimit', `--pid=${process.pid}`, `--memlock=${bytes}`);

/** `rights` are those that this process has. */
export function linuxTarget(mode: 'iommu' | 'noiommu', rights: Rights): Target {
  const version = versionOf(release());
  const system = linux();
  const address = readOnlyAddress();
  return {
    name: `kernel ${version}`,
    kind: 'kernel',
    version,
    modes: [mode],
    rights: [rights],
    world: ({ memlock }) => {
      limit(memlock ?? 'unlimited');
      const name = `kernel ${release()}`;
      return new World(system, { version, name, readOnlyAddress: address, locked, openElsewhere });
    },
  };
}
