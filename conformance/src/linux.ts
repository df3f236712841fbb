/** A real kernel as target: the process runs as root on a machine that has the devices of `machine`. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { linux } from 'vfio-core/linux';
import { duringReset, killHolder, linkError, settle, unbindElsewhere } from './elsewhere.js';
import type { Mode, Rights } from './item.js';
import { versionOf } from './kernel.js';
import type { Target } from './run.js';
import { type Heir, machine, type RealSurroundings, World, words } from './world.js';

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

/** What the machine brings for those items that system calls of this process cannot show. */
export interface Helpers {
  /** The program of heir.c. */
  readonly heir: string;
  readonly loadModule: (name: string, ...parameters: readonly string[]) => void;
}

/** Runs heir.c with `fds` as its descriptors 0, 3, 4...: the number that it prints. */
function runHeir(before: readonly string[], heir: string, fds: readonly number[], ...args: readonly string[]): number {
  const [first = 'ignore', ...others] = fds;
  const all = [...before, heir, ...args];
  const { stdout, stderr, error } = spawnSync(all[0] as string, all.slice(1), {
    stdio: [first, 'pipe', 'pipe', ...others],
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (!/^-?\d+\n$/.test(stdout)) throw new Error(`${args.join(' ')} in another process: ${error?.message ?? stderr}`);
  return Number(stdout);
}

const hexOf = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

function heirOf(program: string): Heir {
  const dropped = ['setpriv', '--bounding-set=-sys_rawio', '--inh-caps=-sys_rawio'];
  return {
    open: (path) => runHeir(dropped, program, [], 'open', path),
    ioctl: (fd, request, argument = 0) => {
      const number = String(request);
      if (typeof argument === 'number') return runHeir(dropped, program, [fd], 'ioctl', number, 'value', `${argument}`);
      if (argument instanceof Uint8Array)
        return runHeir(dropped, program, [fd], 'ioctl', number, 'bytes', hexOf(argument));
      return runHeir(dropped, program, [fd, argument.fd], 'ioctl', number, 'bytes', hexOf(words(3)));
    },
  };
}

const realOf = (program: string): RealSurroundings => ({
  command: run,
  call: (fd, name, ...numbers) => runHeir([], program, [fd], name, ...numbers.map(String)),
});

/** Loads or unloads the type1 module. */
function haveType1(wanted: boolean, { loadModule }: Helpers): void {
  if (existsSync('/sys/module/vfio_iommu_type1') === wanted) return;
  if (wanted) loadModule('vfio_iommu_type1');
  else run('rmmod', 'vfio_iommu_type1');
}

/** Loads vfio-pci anew; nothing may have its devices open. Without `parameters`, as it was at the start. */
function reloadVfioPci(parameters: Readonly<Record<string, string>>, { loadModule }: Helpers): void {
  run('rmmod', 'vfio_pci');
  // What was bound by driver_override would be bound again.
  for (const address of [machine.edu, ...machine.pair, machine.nvme])
    writeFileSync(`/sys/bus/pci/devices/${address}/driver_override`, '\n');
  loadModule('vfio-pci', ...Object.entries(parameters).map(([name, value]) => `${name}=${value}`));
}

/** `rights` are those that this process has. */
export function linuxTarget(mode: Mode, rights: Rights, helpers: Helpers): Target {
  const version = versionOf(release());
  const system = linux();
  const address = readOnlyAddress();
  return {
    name: `kernel ${version}`,
    kind: 'kernel',
    version,
    modes: [mode],
    rights: [rights],
    has: existsSync('/dev/iommu') ? ['iommufd'] : [],
    world: ({ memlock, withoutType1, vfioPci }) => {
      // Without that right no limit can be raised, and a variant without it has no limit of its own.
      if (rights !== 'no CAP_SYS_RESOURCE') limit(memlock ?? 'unlimited');
      haveType1(!withoutType1, helpers);
      if (vfioPci !== undefined) reloadVfioPci(vfioPci, helpers);
      return new World(system, {
        version,
        name: `kernel ${release()}`,
        readOnlyAddress: address,
        locked,
        limitLocked: limit,
        openElsewhere,
        heir: heirOf(helpers.heir),
        log: () => run('dmesg').split('\n'),
        real: realOf(helpers.heir),
        unbindElsewhere,
        killHolder,
        duringReset,
        linkError: (function_, fatal) => {
          helpers.loadModule('aer_inject');
          linkError(function_, fatal);
        },
        settle: () => {
          settle();
          if (vfioPci !== undefined) reloadVfioPci({}, helpers);
        },
      });
    },
  };
}
