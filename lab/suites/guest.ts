/**
 * What a suite's guest program uses. A test is registered with {@link test} and runs, in order, when the program's
 * module has been evaluated. Every result goes at once over the second serial line to the host, so that it survives
 * whatever happens next.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import { ReadStream } from 'node:tty';

type Line = Readonly<Record<string, unknown>> & { readonly kind: string };

interface Entry {
  readonly title: string;
  readonly seconds: number;
  readonly body: () => unknown;
}

const resultsPath = process.env.LAB_RESULTS ?? '/dev/ttyS1';
const entries: Entry[] = [];
let failures = 0;
let reported = 0;
let line: number | undefined;

function send(message: Line): void {
  line ??= openSync(resultsPath, constants.O_RDWR | constants.O_NOCTTY);
  writeSync(line, `${JSON.stringify(message, (_, value) => (typeof value === 'bigint' ? Number(value) : value))}\n`);
}

/** The mode of this boot: `iommu` or `noiommu`. */
export const mode = process.env.LAB_MODE as 'iommu' | 'noiommu';

/** The kernel line that the plan names for this boot: `6.1` or `6.12`. */
export const kernel = process.env.LAB_KERNEL as '6.1' | '6.12';

/** The name of this run in the suite's plan. */
export const run = process.env.LAB_RUN_NAME as string;

/** The folder of this run on the host, which the guest can write to. The host keeps it with the logs. */
export const folder = process.env.LAB_RUN_FOLDER as string;

/** The path of a C program that the plan's `programs` names; `name` is without `.c`. */
export const program = (name: string): string => `${folder}/${name}`;

/** The path of a TypeScript program that the plan's `scripts` names, bundled; `name` is without `.ts`. */
export const script = (name: string): string => `${folder}/${name}.mjs`;

/** Registers a test. It has failed when `body` throws, rejects or takes longer than `seconds` (default 180). */
export function test(title: string, body: () => unknown, options: { readonly seconds?: number } = {}): void {
  entries.push({ title, body, seconds: options.seconds ?? 180 });
}

/** Reports a test that cannot run here, and why. */
export function skip(title: string, reason: string): void {
  reported++;
  send({ kind: 'skipped', title, message: reason });
}

/** Reports a value: it becomes `modes[run][name]` of the suite's JSON unless the plan's `judge` decides otherwise. */
export function field(name: string, value: unknown): void {
  send({ kind: 'field', name, value });
}

/** A line for the human reader of the report. */
export function note(text: string): void {
  send({ kind: 'note', text });
}

/** Throws unless `condition` holds. */
export function check(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Throws unless both values have the same JSON text. */
export function same(actual: unknown, wanted: unknown, what = 'value'): void {
  const show = (value: unknown) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v));
  if (show(actual) !== show(wanted)) throw new Error(`${what}: got ${show(actual)}, wanted ${show(wanted)}`);
}

/** Runs a command and returns its standard output; throws when it does not end with 0. */
export function command(name: string, ...args: readonly string[]): string {
  const { status, signal, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (status === 0) return stdout;
  const how = error?.message ?? (signal ? `ended by ${signal}` : `exit code ${status}`);
  throw new Error(`${[name, ...args].join(' ')}: ${how}\n${stderr}`);
}

/** How many descriptors this process has open. */
export const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** Loads a carried kernel module and what it needs. */
export function loadModule(name: string, ...parameters: readonly string[]): void {
  // The kernel's own helper for loading modules knows the guest's first file system, where they are.
  const base = `/run/lab/modules/${release()}`;
  const order: string[] = [];
  const lines = readFileSync(`${base}/modules.dep`, 'utf8').split('\n');
  const wanted = name.replaceAll('-', '_');
  const entry = lines.find(
    (text) => text.split(':')[0]?.replace(/^.*\//, '').replace(/\.ko$/, '').replaceAll('-', '_') === wanted,
  );
  if (!entry) throw new Error(`no module ${name} in this guest: name it in the plan's carryModules`);
  const [file, needs] = entry.split(':') as [string, string];
  order.push(...needs.trim().split(' ').filter(Boolean).reverse(), file);
  for (const path of order) {
    const loaded = path.replace(/^.*\//, '').replace(/\.ko$/, '').replaceAll('-', '_');
    if (
      readFileSync('/proc/modules', 'utf8')
        .split('\n')
        .some((text) => text.startsWith(`${loaded} `))
    )
      continue;
    command('insmod', `${base}/${path}`, ...(path === file ? parameters : []));
  }
}

/** The kernel's log since the guest's start: level (0 to 7) and text of each message. */
export function kernelLog(): { readonly level: number; readonly text: string }[] {
  const descriptor = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = new Uint8Array(8192);
  const messages: { level: number; text: string }[] = [];
  try {
    for (;;) {
      const length = readSync(descriptor, buffer);
      const [head, ...rest] = new TextDecoder().decode(buffer.subarray(0, length)).split(';');
      messages.push({ level: Number.parseInt(head as string, 10) & 7, text: rest.join(';').split('\n')[0] as string });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  } finally {
    closeSync(descriptor);
  }
  return messages;
}

/** Writes a line into the kernel's log, so that what a test does can be found between the kernel's messages. */
export function mark(text: string): void {
  writeFileSync('/dev/kmsg', `lab: ${text}\n`);
}

const waiting = new Map<number, (answer: string) => void>();
let asked = 0;

/** Sends a command to QEMU's monitor, for example `device_del edu0`, and returns its answer. */
export function monitor(text: string): Promise<string> {
  if (asked === 0) {
    // Not a file stream: its blocked read would keep the process from ending.
    const input = new ReadStream(openSync(resultsPath, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK));
    input.unref();
    createInterface({ input }).on('line', (received) => {
      const reply = JSON.parse(received) as { readonly id: number; readonly answer: string };
      waiting.get(reply.id)?.(reply.answer);
      waiting.delete(reply.id);
    });
  }
  const id = ++asked;
  return new Promise((resolve) => {
    waiting.set(id, resolve);
    send({ kind: 'monitor', id, command: text });
  });
}

async function runOne({ title, seconds, body }: Entry): Promise<void> {
  send({ kind: 'test', title });
  const start = performance.now();
  let timer: NodeJS.Timeout | undefined;
  try {
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000);
    });
    await Promise.race([(async () => body())(), limit]);
    send({ kind: 'passed', title, milliseconds: Math.round(performance.now() - start) });
  } catch (error) {
    failures++;
    send({ kind: 'failed', title, message: describe(error) });
  } finally {
    clearTimeout(timer);
    reported++;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, remedy, details } = error as Error & { code?: unknown; remedy?: unknown; details?: unknown };
  const more = [
    code && `code: ${code}`,
    remedy && `remedy: ${remedy}`,
    details && `details: ${JSON.stringify(details, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}`,
  ];
  return [error.stack ?? error.message, ...more.filter(Boolean)].join('\n');
}

process.on('unhandledRejection', (error) => {
  send({ kind: 'failed', title: 'no promise is rejected unseen', message: describe(error) });
  process.exit(1);
});
process.on('uncaughtException', (error) => {
  send({ kind: 'failed', title: 'no exception is thrown unseen', message: describe(error) });
  process.exit(1);
});

send({ kind: 'begin', release: release(), node: process.version });

/** Called by the lab after the program's module: runs what was registered and ends the process. */
export async function finish(): Promise<void> {
  for (const entry of entries) await runOne(entry);
  send({ kind: 'end', tests: reported });
  process.exit(failures === 0 ? 0 : 1);
}
