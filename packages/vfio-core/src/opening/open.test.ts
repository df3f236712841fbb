import { describe, expect, it } from 'vitest';
import { pciAddress } from '../container/pci-address.js';
import { Errno, type VfioError } from '../errors/index.js';
import { Type1Space } from '../memory/type1-space.js';
import { BDF, type Script, ScriptedKernel } from '../testing/scripted-kernel.js';
import { openDevice } from './open.js';

const failure = async (script: Script, address = BDF): Promise<VfioError> => {
  const kernel = new ScriptedKernel(script);
  const thrown = await openDevice(address, { backend: kernel.system }).then(
    () => undefined,
    (error: VfioError) => error,
  );
  expect(thrown, 'openDevice throws').toBeDefined();
  expect([...kernel.open.values()], 'left open').toEqual([]);
  expect(kernel.clean, 'nothing open, mapped, or left for the exit').toBe(true);
  return thrown as VfioError;
};

describe('pciAddress', () => {
  it('takes an address with or without its domain, in either case, and gives the kernel’s form', () => {
    expect(pciAddress('01:00.0')).toBe('0000:01:00.0');
    expect(pciAddress('0000:AF:1f.7')).toBe('0000:af:1f.7');
    expect(pciAddress('10000:01:00.0')).toBe('10000:01:00.0');
  });

  it.each(['', '1:0.0', '0000:01:00.8', '0000:01:20.0', '0000:01:00', '../../etc', '0000:01:00.0/x'])(
    'refuses %j and says how an address is written',
    (text) => {
      expect(() => pciAddress(text)).toThrow(/ERR_VFIO_ARGUMENT[\s\S]*0000:01:00\.0/);
    },
  );
});

describe('openDevice', () => {
  it('goes from container to group to IOMMU to device', async () => {
    const kernel = new ScriptedKernel();
    const device = await openDevice('01:00.0', { backend: kernel.system });
    expect(device.address).toBe(BDF);
    expect(kernel.log.filter((line) => !line.includes('INFO'))).toEqual([
      'open /dev/vfio/vfio',
      'VFIO_GET_API_VERSION',
      'VFIO_CHECK_EXTENSION',
      'open /dev/vfio/7',
      'VFIO_GROUP_GET_STATUS',
      'VFIO_GROUP_SET_CONTAINER',
      'VFIO_SET_IOMMU',
      'VFIO_CHECK_EXTENSION',
      'VFIO_GROUP_GET_DEVICE_FD',
    ]);
    device.close();
    expect(kernel.clean).toBe(true);
  });

  const group = '/sys/kernel/iommu_groups/7/devices';
  const pci = (address: string, file: string) => `/sys/bus/pci/devices/${address}/${file}`;

  it('names the members that make a group not viable, their class and driver, and what to bind', async () => {
    const error = await failure({
      groupFlags: 0,
      lists: { [group]: [BDF, '0000:01:00.1', '0000:00:1c.0'] },
      files: {
        [pci('0000:01:00.1', 'class')]: '0x040300\n',
        [pci('0000:00:1c.0', 'class')]: '0x060400\n',
      },
      links: {
        [pci('0000:01:00.1', 'driver')]: '../../../bus/pci/drivers/snd_hda_intel',
        [pci('0000:00:1c.0', 'driver')]: '../../../bus/pci/drivers/pcieport',
      },
    });
    expect(error.message).toBe(
      [
        'ERR_VFIO_GROUP_NOT_VIABLE: IOMMU group 7 cannot be used: 0000:01:00.1 (Audio device) is bound to snd_hda_intel.',
        'Bind every endpoint of the group to vfio-pci:  vfio bind 0000:01:00.1 --yes',
        '0000:00:1c.0 (PCI bridge, pcieport): a bridge is harmless: leave it as it is',
        'They are functions of one device without ACS between them, and go to one program together.',
        'ioctl VFIO_GROUP_GET_STATUS on /dev/vfio/7, flags 0',
      ].join('\n  '),
    );
    expect(error.details).toMatchObject({ group: 7, bind: ['0000:01:00.1'] });
    expect(error.details.members).toMatchObject([
      { address: '0000:00:1c.0', isBridge: true, blocksGroup: false, todo: 'leave' },
      { address: BDF, driver: 'vfio-pci', todo: 'leave', advice: 'ready' },
      { address: '0000:01:00.1', driver: 'snd_hda_intel', className: 'Audio device', todo: 'bind' },
    ]);
  });

  it('says of each other member why it may stay, and what parts devices of different slots', async () => {
    const error = await failure({
      groupFlags: 0,
      lists: { [group]: [BDF, '0000:02:00.0', '0000:03:00.0'] },
      files: { [pci('0000:02:00.0', 'class')]: '0x0c0330\n', [pci('0000:03:00.0', 'class')]: '0x020000\n' },
      links: {
        [pci('0000:02:00.0', 'driver')]: '../../../bus/pci/drivers/xhci_hcd',
      },
    });
    expect(error.remedy?.split('\n  ')).toEqual([
      'Bind every endpoint of the group to vfio-pci:  vfio bind 0000:02:00.0 --yes',
      '0000:03:00.0 (Ethernet controller, no driver): nobody uses it: leave it as it is',
      'One that must stay with the host leaves the group only in another slot, below a port that has ACS.',
    ]);
    expect(error.details.bind).toEqual(['0000:02:00.0']);
  });

  it('[GRP-17] says the same where the kernel tests it when the group joins the container', async () => {
    const error = await failure({ ioctls: { VFIO_GROUP_SET_CONTAINER: () => -Errno.EPERM } });
    expect(error).toMatchObject({ code: 'ERR_VFIO_GROUP_NOT_VIABLE', errnoName: 'EPERM' });
  });

  it('says which driver holds a device that is not bound to vfio-pci', async () => {
    const links = { [pci(BDF, 'driver')]: '../../../bus/pci/drivers/nvme' };
    const error = await failure({ links });
    expect(error).toMatchObject({ code: 'ERR_VFIO_NOT_BOUND', details: { driver: 'nvme' } });
    expect(error.message).toContain(`vfio bind ${BDF}`);
    expect(await failure({ links: { [pci(BDF, 'driver')]: -Errno.ENOENT } })).toMatchObject({
      code: 'ERR_VFIO_NOT_BOUND',
      details: { driver: undefined },
    });
    expect(await failure({ links, noDriverDirectory: true })).toMatchObject({
      code: 'ERR_VFIO_NOT_LOADED',
      remedy: expect.stringContaining('modprobe vfio-pci'),
    });
  });

  it('takes a variant driver for vfio-pci', async () => {
    const kernel = new ScriptedKernel({ links: { [pci(BDF, 'driver')]: '../drivers/mlx5_vfio_pci' } });
    (await openDevice(BDF, { backend: kernel.system })).close();
    expect(kernel.clean).toBe(true);
  });

  it('says whose the node is that it may not open', async () => {
    const error = await failure({ opens: { '/dev/vfio/7': -Errno.EACCES } });
    expect(error).toMatchObject({
      code: 'ERR_VFIO_PERMISSION',
      path: '/dev/vfio/7',
      details: { owner: 0, mode: 0o600 },
    });
    expect(error.message).toContain('mode 0600');
    expect(error.message).toContain('sudo chown $USER /dev/vfio/7');
  });

  it('[GRP-32] [FEAT-13] sends a VF token behind the name, and repeats it in no error', async () => {
    const token = '00112233-4455-6677-8899-aabbccddeeff';
    const names: string[] = [];
    const answer = (argument: number | Uint8Array | undefined) => {
      names.push(new TextDecoder().decode(argument as Uint8Array));
      return -Errno.EACCES;
    };
    const kernel = new ScriptedKernel({ ioctls: { VFIO_GROUP_GET_DEVICE_FD: answer } });
    const thrown = await openDevice(BDF, { backend: kernel.system, vfToken: token }).catch((error: VfioError) => error);
    expect(names).toEqual([`${BDF} vf_token=${token}\0`]);
    expect(thrown).toMatchObject({ code: 'ERR_VFIO_PERMISSION', remedy: expect.stringContaining('vfToken') });
    expect(`${(thrown as VfioError).message} ${JSON.stringify(thrown)}`).not.toContain('00112233');
    expect(kernel.clean).toBe(true);
  });

  const cases: [string, string, Script, string?][] = [
    ['an address of nothing', 'ERR_VFIO_NO_DEVICE', {}, '0000:09:00.0'],
    ['something that is no address', 'ERR_VFIO_ARGUMENT', {}, 'eth0'],
    ['no IOMMU group', 'ERR_VFIO_NO_IOMMU', { links: { [pci(BDF, 'iommu_group')]: -Errno.ENOENT } }],
    [
      'a group of no-IOMMU mode',
      'ERR_VFIO_NO_IOMMU',
      { files: { '/sys/kernel/iommu_groups/7/name': 'vfio-noiommu\n' } },
    ],
    ['no /dev/vfio/vfio', 'ERR_VFIO_NOT_LOADED', { opens: { '/dev/vfio/vfio': -Errno.ENOENT } }],
    ['a module that cannot be loaded', 'ERR_VFIO_NOT_LOADED', { opens: { '/dev/vfio/vfio': -Errno.ENODEV } }],
    ['a container that may not be opened', 'ERR_VFIO_PERMISSION', { opens: { '/dev/vfio/vfio': -Errno.EACCES } }],
    ['another version of the interface', 'ERR_VFIO_API', { ioctls: { VFIO_GET_API_VERSION: () => 1 } }],
    ['a kernel without type1 version 2', 'ERR_VFIO_API', { ioctls: { VFIO_CHECK_EXTENSION: () => 0 } }],
    ['[GRP-2] a group that is open elsewhere', 'ERR_VFIO_BUSY', { opens: { '/dev/vfio/7': -Errno.EBUSY } }],
    ['[GRP-4] a group that is gone', 'ERR_VFIO_NO_DEVICE', { opens: { '/dev/vfio/7': -Errno.ENODEV } }],
    [
      '[T1-2] an IOMMU that does not isolate interrupts',
      'ERR_VFIO_UNSAFE_INTERRUPTS',
      { ioctls: { VFIO_SET_IOMMU: () => -Errno.EPERM } },
    ],
    ['[CTR-11] a model that is not there', 'ERR_VFIO_API', { ioctls: { VFIO_SET_IOMMU: () => -Errno.ENODEV } }],
    [
      '[GRP-28] a device that left vfio-pci',
      'ERR_VFIO_NOT_BOUND',
      { ioctls: { VFIO_GROUP_GET_DEVICE_FD: () => -Errno.ENODEV } },
    ],
    [
      '[LIFE-2] a device whose lock is taken',
      'ERR_VFIO_BUSY',
      { ioctls: { VFIO_GROUP_GET_DEVICE_FD: () => -Errno.EAGAIN } },
    ],
    ['too many open files', 'ERR_VFIO_SYSTEM', { ioctls: { VFIO_GROUP_GET_DEVICE_FD: () => -Errno.EMFILE } }],
  ];
  it.each(cases)('meets %s with %s, a remedy, and nothing left open', async (_what, code, script, address) => {
    const error = await failure(script, address);
    expect(error.code).toBe(code);
    expect(error.remedy).toMatch(/\w/);
    expect(error.message.startsWith(`${code}: `)).toBe(true);
  });
});

describe('a shared address space', () => {
  it('takes several devices of one group, and closes after the last one if a device opened it', async () => {
    const kernel = new ScriptedKernel();
    const first = await openDevice(BDF, { backend: kernel.system });
    const second = await openDevice(BDF, { space: first.dma });
    expect(second.dma).toBe(first.dma);
    first.close();
    expect(first.dma.closed).toBe(false);
    second.dma.allocate(1);
    second.close();
    expect(first.dma.closed).toBe(true);
    expect(kernel.clean).toBe(true);
  });

  it('stays open after its last device if the program opened it, mappings and group included', async () => {
    const kernel = new ScriptedKernel();
    const space = Type1Space.open({ backend: kernel.system });
    expect(() => space.allocate(1)).toThrow('no device was opened in this address space yet');
    const device = await openDevice(BDF, { space });
    const buffer = space.allocate(1);
    expect(() => space.close()).toThrow('ERR_VFIO_BUSY');
    device.close();
    expect([space.closed, buffer.closed, kernel.mappings.size]).toEqual([false, false, 1]);
    space.close();
    expect(buffer.closed).toBe(true);
    expect(kernel.clean).toBe(true);
  });

  it('refuses a space of another kind or another backend', async () => {
    const { system } = new ScriptedKernel();
    await expect(openDevice(BDF, { backend: system, space: {} as never })).rejects.toThrow('ERR_VFIO_ARGUMENT');
    const space = Type1Space.open({ backend: new ScriptedKernel().system });
    await expect(openDevice(BDF, { backend: system, space })).rejects.toThrow('another backend');
    space.close();
    await expect(openDevice(BDF, { space })).rejects.toThrow('ERR_VFIO_CLOSED');
  });
});
