import { openDevice, Type1Space } from 'vfio-core';
import { edu, simulation } from 'vfio-sim';
import { expect, it } from 'vitest';

const [first, second] = ['0000:01:00.0', '0000:02:00.0'] as const;
const machine = () => simulation({ devices: { [first]: edu(), [second]: edu() } });

it('a space closed while a map is under way keeps its container until the kernel is done with it', async () => {
  const sim = machine();
  const device = await openDevice(first, { backend: sim });
  let start: () => void = () => {};
  const gate = new Promise<void>((done) => {
    start = done;
  });
  const now = sim.ioctlAsync.bind(sim);
  // As in a busy thread pool: the call begins only when it is let go.
  sim.ioctlAsync = async (...call) => {
    await gate;
    return now(...call);
  };
  const allocating = (device.dma as Type1Space).allocateAsync(65536);
  device.close();
  expect(sim.openFds.map(({ path }) => path)).toContain('/dev/vfio/vfio');
  await expect(openDevice(first, { backend: sim })).rejects.toMatchObject({ code: 'ERR_VFIO_BUSY' });
  start();
  await expect(allocating).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
  expect([sim.openFds, sim.mappings, sim.lockedBytes, sim.userMappings]).toEqual([[], [], 0, []]);
  (await openDevice(first, { backend: sim })).close();
});

it('a group that was kept because it was the only one is let go when another joins', async () => {
  const sim = machine();
  const space = Type1Space.open({ backend: sim });
  (await openDevice(first, { backend: sim, space })).close();
  const other = await openDevice(second, { backend: sim, space });
  const alone = await openDevice(first, { backend: sim });
  alone.close();
  other.close();
  space.close();
  expect(sim.openFds).toEqual([]);
});
