import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Seconds after which the command is killed. Default 600. */
  readonly seconds?: number;
}

/** A command that ended badly, with the end of what it printed. */
export class CommandFailed extends Error {
  readonly output: string;
  constructor(command: string, how: string, output: string) {
    super(`${command}: ${how}\n${output.slice(-3000)}`);
    this.name = 'CommandFailed';
    this.output = output;
  }
}

/** Runs a command without a shell and returns what it printed on standard output. */
export async function command(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const seconds = options.seconds ?? 600;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let all = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    all += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    all += text;
  });
  const shown = [program, ...args].join(' ').slice(0, 200);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new CommandFailed(shown, error.message, all));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(out);
      else
        reject(new CommandFailed(shown, signal ? `ended by ${signal} (limit ${seconds} s)` : `exit code ${code}`, all));
    });
  });
}
