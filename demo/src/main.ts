import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { isVfioError } from 'vfio-core';
import { Nvme } from 'vfio-drivers-example';
import { exercise, type PassResult } from './exercise.js';
import { type DemoReport, describe, render } from './report.js';
import { realTarget, simulatedTarget, type Target } from './target.js';

interface Options {
  device?: string;
  destroyData?: boolean;
  unsafeNoiommu?: boolean;
  json?: boolean;
  mib: number;
}

const mib = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number of MiB, 1 or more');
  return value;
};

const command = new Command('npm run demo --')
  .description(
    'Runs the NVMe driver: finds the controller, writes, flushes, reads back, verifies; once with interrupts, once polled.',
  )
  .option('--device <address>', 'a real controller, bound to vfio-pci (default: a simulated one)')
  .option('--destroy-data', 'also write to the real disk: its contents are lost')
  .option('--unsafe-noiommu', 'open the device without an IOMMU: it can then read and write all memory of this machine')
  .option('--mib <n>', 'MiB of each namespace to use', mib, 64)
  .option('--json', 'print one JSON object on the last line')
  .allowExcessArguments(false);

async function run(target: Target, options: Options): Promise<DemoReport> {
  const bytes = options.mib * 2 ** 20;
  const seed = 0x5eed;
  const bar =
    process.stderr.isTTY && !options.json
      ? new SingleBar({
          format: '{mode} [{bar}] {percentage}% | {value}/{total} MiB',
          hideCursor: true,
          stream: process.stderr,
        })
      : undefined;
  let identity: ReturnType<typeof describe> | undefined;

  const pass = async (polled: boolean, expected?: Record<number, string>): Promise<PassResult> => {
    const nvme = await Nvme.open(await target.open(), { interrupts: polled ? 'polled' : 'auto' });
    try {
      identity ??= describe(nvme);
      const perNamespace = nvme.namespaces.reduce((sum, ns) => sum + Math.min(bytes, Number(ns.bytes)), 0);
      bar?.start((perNamespace * (target.writable ? 2 : 1)) / 2 ** 20, 0, {
        mode: polled ? 'polled    ' : 'interrupts',
      });
      return await exercise(nvme, {
        bytes,
        write: target.writable,
        seed: polled ? seed + 1 : seed,
        onProgress: (done) => bar?.increment(done / 2 ** 20),
        ...(expected === undefined ? {} : { expected }),
      });
    } finally {
      bar?.stop();
      await nvme[Symbol.asyncDispose]();
    }
  };

  const interrupts = await pass(false);
  const polled = await pass(true, target.writable ? undefined : interrupts.checksums);
  return {
    backend: target.backend.name,
    device: target.address,
    ...(identity as ReturnType<typeof describe>),
    readOnly: !target.writable,
    bytesWritten: interrupts.bytesWritten + polled.bytesWritten,
    bytesRead: interrupts.bytesRead + polled.bytesRead,
    // A pass that moved nothing has verified nothing.
    verified: interrupts.verified && polled.verified && interrupts.bytesRead > 0 && polled.bytesRead > 0,
    interrupts,
    polled,
  };
}

async function main(): Promise<void> {
  const options = command.parse().opts<Options>();
  try {
    if (options.device === undefined && options.destroyData) command.error('--destroy-data goes with --device');
    const target =
      options.device === undefined
        ? simulatedTarget()
        : realTarget(options.device, {
            destroyData: options.destroyData ?? false,
            unsafe: options.unsafeNoiommu ?? false,
          });
    const report = await run(target, options);
    console.log(render(report));
    if (options.json) console.log(JSON.stringify(report));
    if (!report.verified) process.exitCode = 1;
  } catch (error) {
    if (!isVfioError(error)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

void main();
