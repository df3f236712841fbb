/** What other processes, and the hardware, do beside an item on a real kernel. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import type { Elsewhere } from './world.js';

const started: ChildProcess[] = [];

function start(name: string, args: readonly string[], fds: readonly number[] = []): ChildProcess {
  const child = spawn(name, args, { stdio: ['ignore', 'ignore', 'ignore', ...fds] });
  started.push(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Whether a process has ended, without the event loop. */
function gone(pid: number): boolean {
  try {
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''));
  } catch {
    return true;
  }
}

/** Ends the processes that are left, and waits for them. */
export function settle(): void {
  for (const { pid } of started.splice(0)) {
    if (pid === undefined || gone(pid)) continue;
    // What is inside an unbind ends only when that has happened.
    process.kill(pid, 'SIGKILL');
    for (let waited = 0; !gone(pid); waited += 20) {
      if (waited > 120_000) throw new Error(`process ${pid} does not end`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

export function unbindElsewhere(address: string): Elsewhere {
  const child = start('sh', ['-c', `echo ${address} >/sys/bus/pci/devices/${address}/driver/unbind`]);
  return {
    done: () => child.exitCode !== null || child.signalCode !== null,
    signal: () => child.kill('SIGTERM'),
  };
}

export async function killHolder(fds: readonly number[], meanwhile: () => void): Promise<void> {
  const child = start('sleep', ['600'], fds);
  for (const fd of fds) closeSync(fd);
  meanwhile();
  await kill(child);
}

/**
 * The wait of a function reset (100 ms) holds the lock of the device; an attempt that begins in it meets the lock, unless the
 * processor is taken away from it for that long. One reset at a time: an open that succeeds while the next one begins saves
 * the configuration space without the lock (vfio_pci_core_enable), the emptied one, and that is what the device has from
 * then on, BARs of 0 too.
 */
export async function duringReset(address: string, attempt: () => number): Promise<number> {
  let result = 0;
  for (let resets = 0; result >= 0 && resets < 200; resets++) {
    const child = start('sh', ['-c', `echo 1 >/sys/bus/pci/devices/${address}/reset`]);
    const ended = once(child, 'exit');
    while (!gone(child.pid as number) && !resetting(child.pid as number));
    if (!gone(child.pid as number)) result = attempt();
    await ended;
  }
  return result;
}

/** Whether a process waits for a function reset. Source: drivers/pci/pci.c (pcie_flr). */
function resetting(pid: number): boolean {
  try {
    return /\bpcie_flr\b/.test(readFileSync(`/proc/${pid}/stack`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * Has the kernel's injector report an error at the port above the function. Source: drivers/pci/pcie/aer_inject.c,
 * linux/pci_regs.h (PCI_ERR_UNC_COMP_TIME, PCI_ERR_UNC_DLP).
 */
export function linkError(address: string, fatal: boolean): void {
  const port = /([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])\/[^/]*$/.exec(
    readlinkSync(`/sys/bus/pci/devices/${address}`),
  );
  if (port === null) throw new Error(`${address} is behind no port`);
  const [domain, bus, device, number] = port.slice(1).map((text) => Number.parseInt(text, 16));
  const bytes = new DataView(new ArrayBuffer(32));
  bytes.setUint8(0, bus as number);
  bytes.setUint8(1, device as number);
  bytes.setUint8(2, number as number);
  bytes.setUint32(4, fatal ? 0x10 : 0x4000, true);
  bytes.setUint32(28, domain as number, true);
  const fd = openSync('/dev/aer_inject', 'w');
  try {
    writeSync(fd, new Uint8Array(bytes.buffer));
  } finally {
    closeSync(fd);
  }
}
