/**
 * The program that ends in the middle of DMA: as a process, told so on its standard input (or killed), or as a Worker.
 *   node victim.mjs ADDRESS
 * A process loads everything, waits for a line, opens the device, and prints the ticket of the memory that the disk writes into.
 */
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Reader } from './reader.js';
import type { Place } from './target.js';

/** For a Worker. */
export interface VictimData {
  readonly address: string;
  readonly memory: WebAssembly.Memory;
}

async function asProcess(address: string): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  console.log('loaded');
  await lines.next();
  const reader = await Reader.open(address);
  reader.start();
  const { fd, offset, mapped } = reader.buffer.share();
  console.log(JSON.stringify({ fd, offset, mapped } satisfies Place));
  let order: string | undefined;
  void lines.next().then(({ value }) => {
    order = value;
  });
  await reader.run(() => order !== undefined);
  // All of these with reads in flight, and with nothing closed.
  if (order === 'exit') process.exit(3);
  if (order === 'throw') throw new Error('planted');
  process.stdin.destroy();
}

async function asWorker({ address, memory }: VictimData): Promise<void> {
  const reader = await Reader.open(address, memory);
  reader.start();
  parentPort?.postMessage('running');
  // Never gives the event loop a turn again.
  for (;;) reader.poll();
}

await (isMainThread ? asProcess(process.argv[2] as string) : asWorker(workerData as VictimData));
