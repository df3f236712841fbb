/**
 * The Linux backend where no device is: the files of sysfs are told to it, and the VFIO nodes are /dev/null; descriptors and memory
 * are the kernel's own. What a failed opening or mapping holds is read from /proc/self.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants, Errno, type Ioctl, isVfioError, openDevice, type SystemCalls, type VfioError } from 'vfio-core';
import { linux } from 'vfio-core/linux';
import { expect, it } from 'vitest';
import { describeLinux } from '../../packages/vfio-core/src/testing/describe-linux.js';
import { over } from './over.js';

const address = '0000:01:00.0';
const device = `/sys/bus/pci/devices/${address}`;
const members = '/sys/kernel/iommu_groups/7/devices';
const nodes = ['/dev/vfio/vfio', '/dev/vfio/7'];

type Answers = Partial<Record<keyof typeof Ioctl, number>>;

/** A machine with one device on vfio-pci in group 7. What an ioctl is not told goes to /dev/null, which does not know it. */
function machine(answers: Answers, opens: Readonly<Record<string, number>> = {}): SystemCalls {
  const real = linux();
  const links: Record<string, string> = {
    [`${device}/driver`]: '../../../bus/pci/drivers/vfio-pci',
    [`${device}/iommu_group`]: '../../../kernel/iommu_groups/7',
  };
  const ioctl: SystemCalls['ioctl'] = (fd, request, argument, places) => {
    const name = (Object.keys(answers) as (keyof Answers)[]).find((one) => constants[one] === request);
    if (name === undefined) return real.ioctl(fd, request, argument, places);
    const flags = name === 'VFIO_GROUP_GET_STATUS' ? 1 : name === 'VFIO_IOMMU_GET_INFO' ? 1 : 0;
    if (argument instanceof Uint8Array && flags !== 0) {
      const view = new DataView(argument.buffer, argument.byteOffset, argument.byteLength);
      view.setUint32(4, flags, true);
      if (name === 'VFIO_IOMMU_GET_INFO') view.setBigUint64(8, 0xffff_ffff_ffff_f000n, true);
    }
    return answers[name] as number;
  };
  return over(real, {
    readLink: (path) => links[path] ?? real.readLink(path),
    list: (path) => (path === members ? [address] : real.list(path)),
    status: (path) =>
      [device, '/sys/bus/pci/drivers/vfio-pci', ...nodes].includes(path)
        ? { type: 'character device', mode: 0o600, uid: 0, gid: 0 }
        : real.status(path),
    open: (path, flags) => opens[path] ?? real.open(nodes.includes(path) ? '/dev/null' : path, flags),
    ioctl,
    ioctlAsync: async (fd, request, argument, places) =>
      request === constants.VFIO_GROUP_GET_DEVICE_FD && answers.VFIO_GROUP_GET_DEVICE_FD === 0
        ? real.open('/dev/null', 2)
        : ioctl(fd, request, argument, places),
  });
}

/** Files that this process has open, and its memory of DMA buffers; sockets and pipes are the test runner's. */
function held(): { readonly files: readonly string[]; readonly maps: readonly string[] } {
  const files = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith('/') && !/^\/proc\/\d+\/fd$/.test(target) ? [target] : [];
    } catch {
      return []; // the descriptor that reads the folder
    }
  });
  const maps = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /memfd:|\/dev\/(null|vfio)/.test(line));
  return { files: files.sort(), maps };
}

async function refused(code: string, work: () => Promise<unknown>): Promise<VfioError> {
  linux().close(linux().eventfd(0)); // loads the addon, which stays
  const before = held();
  const error = await work().then(
    () => expect.fail(`not refused, though ${code} was expected`),
    (thrown: unknown) => thrown,
  );
  if (!isVfioError(error)) throw error;
  expect(error.code).toBe(code);
  expect(held()).toEqual(before);
  return error;
}

const container: Answers = { VFIO_GET_API_VERSION: 0, VFIO_CHECK_EXTENSION: 1 };
const group: Answers = { ...container, VFIO_GROUP_GET_STATUS: 0, VFIO_GROUP_SET_CONTAINER: 0 };
const space: Answers = { ...group, VFIO_SET_IOMMU: 0, VFIO_IOMMU_GET_INFO: 0 };
const opened: Answers = { ...space, VFIO_GROUP_GET_DEVICE_FD: 0 };

describeLinux('what a refusal leaves in a process of this machine', () => {
  it('sees a descriptor and a mapping that are left', () => {
    const real = linux();
    const before = held();
    const fd = real.memfd('bad-input');
    real.truncate(fd, 4096);
    const mapping = real.memory({ kind: 'file', fd, offset: 0, length: 4096 });
    if (typeof mapping === 'number') throw new Error(`mmap: ${mapping}`);
    expect(held().files).toHaveLength(before.files.length + 1);
    expect(held().maps).toHaveLength(before.maps.length + 1);
    mapping.unmap();
    real.close(fd);
    expect(held()).toEqual(before);
  });

  it('nothing, for a wrong address and for one where nothing is', async () => {
    await refused('ERR_VFIO_ARGUMENT', () => openDevice('01:00', { backend: linux() }));
    await refused('ERR_VFIO_NO_DEVICE', () => openDevice('ffff:1f:1f.7', { backend: linux() }));
  });

  it('nothing, for modules that are not loaded and for a container that may not be opened', async () => {
    const open = (errno: number) => openDevice(address, { backend: machine({}, { '/dev/vfio/vfio': -errno }) });
    const { remedy } = await refused('ERR_VFIO_NOT_LOADED', () => open(Errno.ENOENT));
    expect(remedy).toContain('modprobe vfio-pci');
    await refused('ERR_VFIO_PERMISSION', () => open(Errno.EACCES));
  });

  it('nothing, where the container is open and the group may not be', async () => {
    const backend = machine(container, { '/dev/vfio/7': -Errno.EACCES });
    const error = await refused('ERR_VFIO_PERMISSION', () => openDevice(address, { backend }));
    expect(error).toMatchObject({ path: '/dev/vfio/7', remedy: expect.stringContaining('chown') });
  });

  it.each<[string, Answers, string, string]>([
    ['the container', {}, 'VFIO_GET_API_VERSION', 'ERR_VFIO_NOT_SUPPORTED'],
    ['the group', container, 'VFIO_GROUP_GET_STATUS', 'ERR_VFIO_NOT_SUPPORTED'],
    ['the IOMMU', group, 'VFIO_SET_IOMMU', 'ERR_VFIO_NOT_SUPPORTED'],
    ['the device', space, 'VFIO_GROUP_GET_DEVICE_FD', 'ERR_VFIO_NOT_SUPPORTED'],
  ])('nothing, where %s refuses with all before it open', async (_what, answers, request, code) => {
    const error = await refused(code, () => openDevice(address, { backend: machine(answers) }));
    expect(error).toMatchObject({ errnoName: 'ENOTTY', request });
  });

  it('nothing, where the limit on locked memory refuses a mapping: the memory itself is given back', async () => {
    const backend = over(machine({ ...opened, VFIO_IOMMU_MAP_DMA: -Errno.ENOMEM }), {
      readFile: (path) =>
        path === '/proc/self/limits' ? 'Max locked memory   65536   65536   bytes\n' : linux().readFile(path),
    });
    const error = await refused('ERR_VFIO_MEMLOCK', async () => {
      const opened = await openDevice(address, { backend });
      try {
        opened.dma.allocate(1 << 20);
      } finally {
        expect(held().maps).toEqual([]);
        expect(held().files.filter((file) => file === '/dev/null').length).toBeGreaterThanOrEqual(3);
        opened.close();
      }
    });
    expect(error.details).toMatchObject({ needed: 1 << 20, limit: 65536 });
  });
});
