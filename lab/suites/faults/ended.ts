/** The program ends in the middle of DMA: killed, by itself, by an exception, or as a Worker. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { check, script } from '../guest.js';
import { Account, type Round } from './account.js';
import { type Place, Target } from './target.js';
import type { VictimData } from './victim.js';

/** What must have become of a process. */
const ends = {
  kill: { code: null, signal: 'SIGKILL' },
  exit: { code: 3, signal: null },
  return: { code: 0, signal: null },
  throw: { code: 1, signal: null },
} as const;

/** A process that has loaded everything and opened nothing yet. */
class Victim {
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** Ended, and this process has let go of its pipes. */
  readonly gone: Promise<unknown>;
  /** Says so, and waits for the order to open. */
  readonly loaded: Promise<string>;
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly lines: AsyncIterator<string>;
  private errors = '';

  constructor(private readonly address: string) {
    this.child = spawn(process.execPath, [script('victim'), address], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin.on('error', () => {});
    this.child.stderr.on('data', (data) => {
      this.errors += data;
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.loaded = this.line();
    this.gone = once(this.child, 'close');
    this.ended = once(this.child, 'exit').then(([code, signal]) => ({ code, signal }));
  }

  async start(): Promise<Target> {
    await this.loaded;
    this.order('open');
    return Target.of(this.child.pid as number, JSON.parse(await this.line()) as Place);
  }

  order(word: string): void {
    this.child.stdin.write(`${word}\n`);
  }

  end(how: keyof typeof ends): void {
    if (how === 'kill') this.child.kill('SIGKILL');
    else this.order(how);
  }

  get said(): string {
    return this.errors;
  }

  private async line(): Promise<string> {
    const { value, done } = await this.lines.next();
    check(!done, `the process with ${this.address} ended by itself: ${this.errors}`);
    return value;
  }
}

/** Ends processes in one way, the next one loading while the last one ends. */
export async function endProcesses(name: string, address: string, how: keyof typeof ends, times: number) {
  const account = new Account(name);
  let next = new Victim(address);
  await next.loaded;
  await account.run(times, async (round): Promise<Round> => {
    const victim = next;
    const target = await victim.start();
    if (round < times) next = new Victim(address);
    try {
      const stop = await target.stoppedBy(() => {
        victim.end(how);
        return victim.ended;
      });
      const [end] = await Promise.all([victim.ended, victim.gone]);
      if (JSON.stringify(end) !== JSON.stringify(ends[how]) || (how === 'throw') !== victim.said.includes('planted')) {
        account.crashes++;
        check(false, `round ${round}: the process ended with ${JSON.stringify(end)}: ${victim.said}`);
      }
      // A process that loads has the kernel pin some pages of its own now and then.
      await next.loaded;
      return stop;
    } finally {
      target.close();
    }
  });
}

/** Ends Workers of this process that never give their event loop a turn. */
export async function endWorkers(name: string, address: string, times: number) {
  const account = new Account(name);
  const { target, memory } = Target.make();
  const one = async (): Promise<Round> => {
    const workerData: VictimData = { address, memory };
    const worker = new Worker(script('victim'), { workerData });
    const failed = new Promise<never>((_, fail) => worker.once('error', fail));
    const [said] = await Promise.race([once(worker, 'message'), failed]);
    check(said === 'running', `the Worker says ${said}`);
    failed.catch(() => account.crashes++);
    return target.stoppedBy(() => worker.terminate());
  };
  // The first Worker of a process leaves what Node keeps for all.
  await one();
  await account.run(times, one);
}
