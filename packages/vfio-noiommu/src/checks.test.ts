import { describe, expect, it } from 'vitest';
import { acknowledgement, openUnsafe } from './index.js';
import { FakeMachine } from './testing/fake-machine.js';

const address = '0000:01:00.0';
const acknowledge = acknowledgement;
const parameter = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';
const device = `/sys/bus/pci/devices/${address}`;

/** A machine with everything in place, but for the device nodes: opening fails at the first of them. */
function ready(): FakeMachine {
  const fake = new FakeMachine();
  fake.files.set(parameter, 'Y\n');
  fake.files.set(`${device}/class`, '0x010802\n');
  fake.links.set(`${device}/driver`, '../../../bus/pci/drivers/vfio-pci');
  fake.links.set(`${device}/iommu_group`, '../../../kernel/iommu_groups/5');
  fake.files.set('/sys/kernel/iommu_groups/5/name', 'vfio-noiommu\n');
  fake.files.set('/proc/self/status', 'Name:\tnode\nCapEff:\t0000000000220000\n');
  const { open } = fake;
  fake.open = (path) => (path.startsWith('/dev/vfio/') ? -2 : open.call(fake, path));
  return fake;
}

const refusal = async (fake: FakeMachine, said: unknown = acknowledge) => {
  const error = await openUnsafe(address, { acknowledge: said as string, backend: fake.calls }).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(fake.open_.size).toBe(0);
  return error as Error & { code: string; remedy: string };
};

describe('opening without an IOMMU', () => {
  it.each([null, true, 'yes', `${acknowledgement}.`])(
    'needs the sentence, word for word: %s is not enough',
    async (said) => {
      const error = await refusal(ready(), said);
      expect(error.code).toBe('ERR_VFIO_NOT_ACKNOWLEDGED');
      expect(error.remedy).toContain(acknowledgement);
    },
  );

  it('needs it before anything is looked at', async () => {
    const error = await openUnsafe('nonsense', {} as never).catch((thrown) => thrown);
    expect(error.code).toBe('ERR_VFIO_NOT_ACKNOWLEDGED');
  });

  it('says what the address of a PCI function looks like', async () => {
    await expect(openUnsafe('nonsense', { acknowledge, backend: ready().calls })).rejects.toMatchObject({
      code: 'ERR_VFIO_ARGUMENT',
    });
  });

  it('goes on to the device nodes where everything is in place', async () => {
    expect((await refusal(ready())).code).toBe('ERR_VFIO_NOT_LOADED');
  });

  it('[NOI-1] says that the mode is off, and the command that switches it on', async () => {
    const fake = ready();
    fake.files.set(parameter, 'N\n');
    const error = await refusal(fake);
    expect(error.code).toBe('ERR_VFIO_NOIOMMU_OFF');
    expect(error.remedy).toContain(`echo Y > ${parameter}`);
  });

  it('[NOI-1] tells a kernel without the mode from a module that is not loaded', async () => {
    const without = ready();
    without.files.delete(parameter);
    expect((await refusal(without)).code).toBe('ERR_VFIO_NOT_LOADED');
    without.files.set('/sys/module/vfio/refcnt', '1\n');
    expect((await refusal(without)).code).toBe('ERR_VFIO_API');
  });

  it('[NOI-4] refuses a device that has an IOMMU, and names the way to open it', async () => {
    const fake = ready();
    fake.files.delete('/sys/kernel/iommu_groups/5/name');
    const error = await refusal(fake);
    expect(error.code).toBe('ERR_VFIO_NOT_SUPPORTED');
    expect(error.remedy).toContain(`PciDevice.open('${address}')`);
  });

  it('[NOI-2] says that a device without a group is to be bound while the mode is on', async () => {
    const fake = ready();
    fake.links.delete(`${device}/iommu_group`);
    expect((await refusal(fake)).code).toBe('ERR_VFIO_NOT_BOUND');
    fake.links.set(`${device}/driver`, '../../../bus/pci/drivers/nvme');
    const error = await refusal(fake);
    expect(error).toMatchObject({ code: 'ERR_VFIO_NOT_BOUND', details: { driver: 'nvme' } });
  });

  it('says that no device has this address', async () => {
    const fake = ready();
    for (const map of [fake.files, fake.links])
      for (const name of map.keys()) if (name.startsWith(device)) map.delete(name);
    expect((await refusal(fake)).code).toBe('ERR_VFIO_NO_DEVICE');
  });

  it('[NOI-10] names the capability that is missing', async () => {
    const fake = ready();
    fake.files.set('/proc/self/status', 'CapEff:\t0000000000200000\n');
    expect(await refusal(fake)).toMatchObject({
      code: 'ERR_VFIO_PERMISSION',
      details: { capability: 'CAP_SYS_RAWIO' },
    });
  });

  it('[NOI-10] names it too where only the kernel knows, for root of a container', async () => {
    const fake = ready();
    const { open } = fake;
    fake.open = (path) => (path === '/dev/vfio/vfio' ? 50 : path.startsWith('/dev/vfio/') ? -1 : open.call(fake, path));
    const error = await refusal(fake);
    expect(error).toMatchObject({ code: 'ERR_VFIO_PERMISSION', details: { capability: 'CAP_SYS_RAWIO' } });
    expect(fake.exits.size).toBe(0);
  });
});
