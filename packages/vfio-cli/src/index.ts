/** The `vfio` command as a function, for tests and for programs that embed it. */

import { Command, CommanderError } from 'commander';
import { defaultBackend, isVfioError, type SystemCalls } from 'vfio-core';
import { bindCommand, unbindCommand } from './commands/bind.js';
import { doctor } from './commands/doctor.js';
import { info } from './commands/info.js';
import { list } from './commands/list.js';
import { errorFacts, json, type Output } from './output.js';

export { type Check, type CheckStatus, type Diagnosis, diagnose } from './doctor/index.js';
export type { Output } from './output.js';

/** What {@link run} needs beside the words of the command line. */
export interface RunOptions {
  /** Default: this machine's kernel. */
  readonly backend?: SystemCalls;
  readonly output: Output;
}

/**
 * Runs one command line.
 * @param args the words after `vfio`
 * @returns the exit code: 0 done, 1 the command failed or found a fault, 2 wrong usage
 */
export async function run(args: readonly string[], { backend, output }: RunOptions): Promise<number> {
  let code = 0;
  const system = () => backend ?? defaultBackend();
  const program = new Command('vfio')
    .description('PCI devices for userspace drivers: what is there, what stands in the way, and handing devices over.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.err(text.trimEnd()),
    });

  const withJson = (command: Command) => command.option('--json', 'print JSON');

  withJson(program.command('list').description('list the PCI functions of this machine (no privilege needed)'))
    .option('--bound', 'only those bound to vfio-pci')
    .action((options) => {
      code = list(system(), output, options);
    });
  withJson(program.command('info').description('show one function: regions, interrupts, capabilities, its IOMMU group'))
    .argument('<address>', 'such as 0000:01:00.0')
    .action(async (address: string, options) => {
      code = await info(system(), output, address, options);
    });
  withJson(
    program.command('bind').description('hand functions over to vfio-pci (says what it would do; --yes does it)'),
  )
    .argument('<address...>')
    .option('--driver <name>', 'another driver than vfio-pci')
    .option('--yes', 'do it')
    .action((addresses: string[], options) => {
      code = bindCommand(system(), output, addresses, options);
    });
  withJson(
    program
      .command('unbind')
      .description('give functions back to their former driver (says what it would do; --yes does it)'),
  )
    .argument('<address...>')
    .option('--to <driver>', 'this driver instead of the former one')
    .option('--yes', 'do it')
    .action((addresses: string[], options) => {
      code = unbindCommand(system(), output, addresses, options);
    });
  withJson(
    program
      .command('doctor')
      .description('check this machine for userspace drivers, with the command that cures each finding'),
  )
    .argument('[address]', 'check this device too')
    .action((address: string | undefined, options) => {
      code = doctor(system(), output, address, options);
    });

  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!isVfioError(error)) throw error;
    if (args.includes('--json')) output.out(json({ error: errorFacts(error) }));
    else output.err(error.message);
    return 1;
  }
}
