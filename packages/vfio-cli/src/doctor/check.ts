import type { SystemCalls } from 'vfio-core';

/** `ok`; `info`: worth knowing; `warning`: works, with a catch; `failed`: drivers will not run. */
export type CheckStatus = 'ok' | 'info' | 'warning' | 'failed';

/** One finding of `vfio doctor`. Plain data: `--json` prints it as it is. */
export interface Check {
  /** Stable name, for scripts. */
  readonly id: string;
  readonly title: string;
  readonly status: CheckStatus;
  /** What was found, in words. */
  readonly found: string;
  /** The command, or the step, that cures it; absent where there is nothing to cure. */
  readonly cure?: string;
}

/** What checks look at: the backend and what was read of the process once. */
export interface Surroundings {
  readonly system: SystemCalls;
  readonly uid: number;
  /** Effective capabilities, as the bits of /proc/self/status. */
  readonly capabilities: bigint;
}

/** Capability numbers. Source: linux/capability.h. */
export const Capability = { IPC_LOCK: 14, SYS_RAWIO: 17, SYS_ADMIN: 21 } as const;

export const hasCapability = (around: Surroundings, number: number): boolean =>
  ((around.capabilities >> BigInt(number)) & 1n) === 1n;

/** A file's text without the white space around it; undefined where it cannot be read. */
export function readText(system: SystemCalls, path: string): string | undefined {
  const text = system.readFile(path);
  return typeof text === 'string' ? text.trim() : undefined;
}

/** Names in a directory, sorted; none where there is no such directory. */
export function listNames(system: SystemCalls, path: string): string[] {
  const names = system.list(path);
  return typeof names === 'number' ? [] : [...names].sort();
}

export const exists = (system: SystemCalls, path: string): boolean => typeof system.status(path) !== 'number';

/** Reads who we are from /proc/self/status. */
export function surroundings(system: SystemCalls): Surroundings {
  const status = readText(system, '/proc/self/status') ?? '';
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const capabilities = /^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1];
  return {
    system,
    uid: uid === undefined ? -1 : Number(uid),
    capabilities: capabilities === undefined ? 0n : BigInt(`0x${capabilities}`),
  };
}
