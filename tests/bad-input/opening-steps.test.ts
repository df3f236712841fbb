/** Every answer that the kernel may give on the way to a device with memory: the error that the table promises, and nothing left. */

import { Errno, isVfioError, openDevice, type SystemCalls } from 'vfio-core';
import { edu, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { type OpeningStep, openingSteps, type StepAnswer } from '../../packages/vfio-core/src/errors/opening-steps.js';
import { over } from './over.js';

const address = '0000:01:00.0';

/** Sources: linux/vfio.h, linux/iommufd.h. */
const requests: Readonly<Record<string, number>> = {
  VFIO_GET_API_VERSION: 0x3b64,
  VFIO_CHECK_EXTENSION: 0x3b65,
  VFIO_SET_IOMMU: 0x3b66,
  VFIO_GROUP_GET_STATUS: 0x3b67,
  VFIO_GROUP_SET_CONTAINER: 0x3b68,
  VFIO_GROUP_GET_DEVICE_FD: 0x3b6a,
  VFIO_IOMMU_MAP_DMA: 0x3b71,
  VFIO_DEVICE_BIND_IOMMUFD: 0x3b76,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: 0x3b77,
  IOMMU_IOAS_ALLOC: 0x3b81,
  IOMMU_IOAS_MAP: 0x3b85,
};

/** What the calls that `replies` speaks of say: version 1, no extension, a group that is not viable. */
function reply(request: number, argument: number | Uint8Array | undefined): number {
  if (request === 0x3b67 && argument instanceof Uint8Array) argument.fill(0, 4, 8);
  return request === 0x3b64 ? 1 : 0;
}

/** The machine, where one call is answered so; `asked` counts how often. */
function answering(sim: Simulation, { call }: OpeningStep, said: StepAnswer[0]) {
  const count = { asked: 0 };
  const path = /^open (.*)/.exec(call)?.[1]?.replace('GROUP', '0').replace('vfioX', 'vfio0');
  const errno = said === 'replies' ? 0 : -Errno[said];
  const ioctl: SystemCalls['ioctl'] = (fd, request, argument, places) => {
    if (path !== undefined || request !== requests[call]) return sim.ioctl(fd, request, argument, places);
    count.asked++;
    return said === 'replies' ? reply(request, argument) : errno;
  };
  const backend = over(sim, {
    open: (wanted, flags) => {
      if (wanted !== path) return sim.open(wanted, flags);
      count.asked++;
      return errno;
    },
    ioctl,
    ioctlAsync: async (fd, request, argument, places) => ioctl(fd, request, argument, places),
  });
  return { backend, count };
}

const cases = Object.entries(openingSteps).flatMap(([way, steps]) =>
  steps.flatMap((step) =>
    step.answers.map(([said, code]) => ({ way: way as keyof typeof openingSteps, step, said, code })),
  ),
);

describe('a step to a device', () => {
  it.each(cases.map((one) => [one.way, one.step.call, one.said, one.code, one] as const))(
    'by way of %s: %s, the kernel says %s: %s',
    async (way, _call, said, code, { step }) => {
      const sim = simulation({ devices: { [address]: edu() }, iommufd: true });
      const { backend, count } = answering(sim, step, said);
      const thrown = await (async () => {
        await using device = await openDevice(address, { backend, way });
        device.dma.allocate(4096).close();
      })().then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!isVfioError(thrown)) throw thrown ?? new Error('it opened');
      expect(count.asked).toBeGreaterThan(0);
      expect(thrown.code).toBe(code);
      expect(thrown.remedy).toMatch(/\S/);
      if (said !== 'replies') expect(thrown.errnoName).toBe(said);
      expect([sim.openFds, sim.mappings, sim.userMappings, sim.lockedBytes]).toEqual([[], [], [], 0]);
    },
  );

  it('is one that this test knows how to answer', () => {
    for (const { call } of Object.values(openingSteps).flat())
      expect(call.startsWith('open /dev/') || call in requests, call).toBe(true);
  });
});
