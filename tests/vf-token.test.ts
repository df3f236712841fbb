/** Virtual functions whose physical function another program drives: the secret that both share. */

import { isVfioError, openDevice, setVfToken } from 'vfio-core';
import { edu, type KernelVersion, type Simulation, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';

const [pf, vf, lone] = ['0000:01:00.0', '0000:01:00.1', '0000:02:00.0'] as const;
const [secret, other] = ['00112233-4455-6677-8899-aabbccddeeff', 'ffffffff-4455-6677-8899-AABBCCDDEEFF'] as const;

function machine(kernel: KernelVersion): Simulation {
  const sim = simulation({
    kernel,
    iommufd: kernel === '7.3',
    devices: { [pf]: { model: edu(), virtualFunctions: 2 }, [lone]: edu() },
    modules: { vfio_pci: { enable_sriov: true } },
  });
  expect(sim.writeFile(`/sys/bus/pci/devices/${pf}/sriov_numvfs`, '1')).toBeGreaterThanOrEqual(0);
  return sim;
}

const refusal = (opening: Promise<unknown>) =>
  opening.then(
    () => 'it opened',
    (error) => (isVfioError(error) ? `${error.code} ${error.errnoName}` : error),
  );

const kernels = [
  { kernel: '6.1', way: 'container' },
  { kernel: '7.3', way: 'container' },
  { kernel: '7.3', way: 'iommufd' },
] as const;

describe.each(kernels)('a VF token on the simulated $kernel, by way of $way', ({ kernel, way }) => {
  const open = (sim: Simulation, address: string, vfToken?: string) =>
    openDevice(address, { backend: sim, way, ...(vfToken === undefined ? {} : { vfToken }) });

  it('[FEAT-13] [FEAT-14] opens a virtual function for who has the secret of its physical function, and for nobody else', async () => {
    const sim = machine(kernel);
    expect(await refusal(open(sim, vf))).toBe('ERR_VFIO_PERMISSION EACCES');
    expect(await refusal(open(sim, vf, secret))).toBe('ERR_VFIO_PERMISSION EACCES');
    const physical = await open(sim, pf, secret);
    expect(await refusal(open(sim, vf))).toBe('ERR_VFIO_PERMISSION EACCES');
    expect(await refusal(open(sim, vf, other))).toBe('ERR_VFIO_PERMISSION EACCES');
    const virtual = await open(sim, vf, secret.toUpperCase());
    // While it is open, the physical function needs the secret too.
    physical.close();
    expect(await refusal(open(sim, pf))).toBe('ERR_VFIO_PERMISSION EACCES');
    expect(await refusal(open(sim, pf, other))).toBe('ERR_VFIO_PERMISSION EACCES');
    (await open(sim, pf, secret)).close();
    virtual.close();
    // [FEAT-15] It outlives the close, until somebody chooses another.
    (await open(sim, vf, secret)).close();
    (await open(sim, pf, other)).close();
    expect(await refusal(open(sim, vf, secret))).toBe('ERR_VFIO_PERMISSION EACCES');
    (await open(sim, vf, other)).close();
    expect([sim.openFds, sim.mappings]).toEqual([[], []]);
  });

  it('[FEAT-13] [FEAT-14] is refused for a device that takes none', async () => {
    const sim = machine(kernel);
    expect(await refusal(open(sim, lone, secret))).toMatch(/^ERR_VFIO_\w+ EINVAL$/);
    (await open(sim, lone)).close();
  });

  it('[FEAT-12] is set on an open physical function, and there only', async () => {
    const sim = machine(kernel);
    using physical = await open(sim, pf);
    const { system, fd } = physical.channel as unknown as Parameters<typeof setVfToken>[0];
    setVfToken({ system, fd }, secret);
    (await open(sim, vf, secret)).close();
    const other = await open(sim, lone);
    expect(await refusal(Promise.resolve().then(() => setVfToken(other.channel as never, secret)))).toBe(
      'ERR_VFIO_NOT_SUPPORTED ENOTTY',
    );
    other.close();
    // GET, nothing at all, too short, unknown flags; PROBE of SET.
    const feature = (size: number, flags: number) => {
      const bytes = new Uint8Array(24);
      new DataView(bytes.buffer).setUint32(0, size, true);
      new DataView(bytes.buffer).setUint32(4, flags, true);
      return sim.ioctl(fd, 0x3b75, bytes);
    };
    expect([feature(24, 0x10000), feature(24, 0), feature(20, 0x20000), feature(24, 0x80000)]).toEqual([
      -22, -22, -22, -22,
    ]);
    expect([feature(24, 0x60000), feature(24, 0x50000), feature(24, 0x20001), feature(7, 0x20000)]).toEqual([
      0, -22, -25, -22,
    ]);
    expect(feature(24, 0x30000)).toBe(-22);
  });
});

it('goes by the device’s own file where the kernel has no groups', async () => {
  const sim = simulation({
    kernel: '7.3',
    iommufd: true,
    build: { VFIO_GROUP: false },
    devices: { [pf]: { model: edu(), virtualFunctions: 2 } },
  });
  using device = await openDevice(pf, { backend: sim, vfToken: secret });
  expect(device.dma).toMatchObject({ way: { name: 'iommufd' } });
});
