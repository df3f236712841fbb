/** QEMU's edu as a witness: what it does by DMA. Source: QEMU, docs/specs/edu. */

import type { World } from './world.js';

const CONFIG = 7 * 2 ** 40;
const BUFFER = 0x40000n;

/** Lets the device copy `count` bytes (4096 at most) from one device address to another, through its own buffer. */
export async function eduCopies(w: World, device: number, from: bigint, to: bigint, count: number): Promise<void> {
  // Memory decoding and bus mastering.
  w.is(w.system.pwrite(device, Uint8Array.of(6, 0), CONFIG + 4), 2, 'write of COMMAND');
  const { window } = w.window(device, 0, 4096);
  const transfer = async (source: bigint, destination: bigint, command: number): Promise<void> => {
    window.write64(0x80, source);
    window.write64(0x88, destination);
    window.write64(0x90, BigInt(count));
    window.write64(0x98, BigInt(command));
    w.is(await w.until(() => (window.read64(0x98) & 1n) === 0n), true, 'the transfer ends');
  };
  await transfer(from, BUFFER, 1);
  await transfer(BUFFER, to, 3);
}
