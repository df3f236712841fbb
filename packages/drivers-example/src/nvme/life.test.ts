/** What the drivers say of a device that does not answer any more, and how they go on with one that answers again. */

import { isVfioError, VfioError } from 'vfio-core';
import { edu, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { Edu } from '../edu/edu.js';
import { ADDRESS, machine } from '../testing/machine.js';
import { ScriptedController } from '../testing/scripted-controller.js';
import type { QueuePair } from './queue.js';

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (thrown) {
    if (isVfioError(thrown)) return thrown.code;
    throw thrown;
  }
  return undefined;
}

/** Polls until the queue throws. */
function pollsInto(queue: QueuePair): string | undefined {
  for (let i = 0; i < 100_000; i++) {
    const code = codeOf(() => queue.poll(() => {}));
    if (code !== undefined) return code;
  }
  return undefined;
}

/** A queue with two reads that the controller was told of. */
async function reading() {
  const { backend, open } = machine();
  const nvme = await open({ interrupts: 'polled', timeout: 1000 });
  const [disk] = nvme.namespaces;
  if (disk === undefined) throw new Error('no namespace');
  const queue = await nvme.createQueuePair({ depth: 8 });
  const buffer = nvme.dma.allocate(4096);
  return { backend, nvme, disk, queue, buffer };
}

/** Polls until so many commands are done, or nothing comes any more: slots and statuses. */
function donesOf(queue: QueuePair, wanted = 1): number[] {
  const done: number[] = [];
  for (let i = 0; i < 100_000 && done.length < 2 * wanted; i++) {
    queue.poll((slot, status) => void done.push(slot, status));
  }
  return done;
}

describe('a queue of a device whose memory decoding goes off', () => {
  it('says so, and goes on where it was once decoding is on again, with doorbells that were lost in between', async () => {
    const { nvme, disk, queue, buffer } = await reading();
    nvme.device.memoryDecoding.disable();
    // Its doorbell goes nowhere.
    queue.read(0, disk, 0, buffer);
    queue.ring();
    expect(pollsInto(queue)).toBe('ERR_VFIO_DEVICE_ASLEEP');
    nvme.device.memoryDecoding.enable();
    nvme.device.checkAlive();
    expect(donesOf(queue)).toEqual([0, 0]);
    nvme.close();
  });

  it('mends its window itself, where decoding is on again before it looks', async () => {
    const { nvme, disk, queue, buffer } = await reading();
    nvme.device.memoryDecoding.disable();
    queue.read(0, disk, 0, buffer);
    queue.ring();
    expect(nvme.registers.CSTS.read()).toBe(0xffff_ffff);
    nvme.device.memoryDecoding.enable();
    expect(donesOf(queue)).toEqual([0, 0]);
    nvme.close();
  });

  it('mends its window itself, where nothing was touched meanwhile but the doorbells, in a page of their own', async () => {
    const { nvme, disk, queue, buffer } = await reading();
    nvme.device.memoryDecoding.disable();
    queue.read(0, disk, 0, buffer);
    queue.ring();
    nvme.device.memoryDecoding.enable();
    expect(donesOf(queue)).toEqual([0, 0]);
    nvme.close();
  });

  it('rings again what was lost where the program mended the window before it looked', async () => {
    const { nvme, disk, queue, buffer } = await reading();
    nvme.device.memoryDecoding.disable();
    queue.read(0, disk, 0, buffer);
    queue.ring();
    nvme.device.memoryDecoding.enable();
    nvme.device.checkAlive();
    expect(donesOf(queue)).toEqual([0, 0]);
    nvme.close();
  });

  it('rings again what was lost where another queue of the controller looked before it', async () => {
    const { nvme, disk, queue, buffer } = await reading();
    const other = await nvme.createQueuePair({ depth: 8 });
    nvme.device.memoryDecoding.disable();
    for (const each of [queue, other]) {
      each.read(0, disk, 0, buffer);
      each.ring();
    }
    nvme.device.memoryDecoding.enable();
    expect(donesOf(other)).toEqual([0, 0]);
    expect(donesOf(queue)).toEqual([0, 0]);
    nvme.close();
  });
});

it('a queue of a device that was pulled out says that it is gone, in its own thread and in a Worker’s place', async () => {
  for (const shared of [false, true]) {
    const { backend, nvme, disk, queue, buffer } = await reading();
    const { QueuePair: Pair } = await import('./queue.js');
    const used = shared ? Pair.attach(queue.share(), { backend }) : queue;
    used.read(0, disk, 0, buffer);
    backend.device(ADDRESS).unplug();
    expect(pollsInto(used)).toBe('ERR_VFIO_DEVICE_GONE');
    used.close();
    nvme.close();
    expect(backend.openFds).toEqual([]);
  }
});

it.each([
  ['whose status reads 0', { csts: 0 }],
  ['whose command takes too long', { tick: 10 }],
])('a queue %s asks first whether the device is there', (_, state) => {
  const controller = new ScriptedController({ timeout: 100 });
  controller.alive = () => {
    throw new VfioError('ERR_VFIO_DEVICE_GONE', 'It left the bus.');
  };
  Object.assign(controller, state);
  controller.queue.flush(0, 1);
  expect(pollsInto(controller.queue)).toBe('ERR_VFIO_DEVICE_GONE');
});

it('a controller that does not become ready because it left the bus is gone, and not late', async () => {
  const { backend, nvme } = await reading();
  backend.device(ADDRESS).unplug();
  await expect(nvme.reset()).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_GONE' });
  nvme.close();
});

describe.each(['polled', 'msi'] as const)('edu, %s', (interrupts) => {
  it('that does not answer says why: asleep, or gone', async () => {
    const backend = simulation({ devices: { [ADDRESS]: edu() } });
    const device = await Edu.open(ADDRESS, { backend, interrupts, timeout: 100 });
    device.device.memoryDecoding.disable();
    await expect(device.factorial(5)).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_ASLEEP' });
    await expect(device.raise(1)).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_ASLEEP' });
    device.device.memoryDecoding.enable();
    device.device.checkAlive();
    expect(await device.factorial(5)).toBe(120);
    backend.device(ADDRESS).unplug();
    await expect(device.factorial(5)).rejects.toMatchObject({ code: 'ERR_VFIO_DEVICE_GONE' });
    device.close();
    expect(backend.openFds).toEqual([]);
  });
});
