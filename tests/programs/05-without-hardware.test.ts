// A test without hardware, as anybody's test file would have it.
import { Nvme } from 'vfio-drivers-example';
import { memoryDisk, nvmeController, simulation } from 'vfio-sim';
import { expect, it } from 'vitest';

it('program 5: a completion that never comes is a time-out, and takes no time to test', async () => {
  const sim = simulation({ devices: { '0000:01:00.0': nvmeController({ disks: [memoryDisk(1 << 30)] }) } });
  const nvme = await Nvme.open('0000:01:00.0', { backend: sim });
  const [disk] = nvme.namespaces;
  const buffer = nvme.dma.allocate(4096);
  await disk?.read(0n, buffer);
  sim.device('0000:01:00.0').faults.dropCompletion({ after: 0 });
  await expect(disk?.read(0n, buffer)).rejects.toMatchObject({ code: 'ERR_NVME_TIMEOUT' });
  nvme.close();
  sim.close();
});
