/** For tests: one command line on a simulated machine. */

import type { Simulation } from 'vfio-sim';
import { run } from './index.js';

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function vfio(backend: Simulation, ...args: readonly string[]): Promise<Ended> {
  const out: string[] = [];
  const err: string[] = [];
  const output = { out: (text: string) => void out.push(text), err: (text: string) => void err.push(text) };
  const code = await run(args, { backend, output });
  return { code, out: out.join('\n'), err: err.join('\n') };
}

export const parsed = <T>({ out }: Ended): T => JSON.parse(out) as T;
