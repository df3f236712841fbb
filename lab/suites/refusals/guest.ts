import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Nvme } from 'vfio-drivers-example';
import { interrupts } from 'vfio-irq';
import { openUnsafe } from 'vfio-noiommu';
import { bind, findDevice, PciDevice } from 'vfio-pci';
import { check, command, loadModule, monitor, run, same, test } from '../guest.js';
import { openForMode } from '../open.js';
import { type Attempt, refused } from './held.js';

const edu = '0000:01:00.0';
const [shared, neighbour] = ['0000:02:00.0', '0000:02:00.1'];
const disk = '0000:03:00.0';
const leaving = '0000:04:00.0';
const nobody = 65534;
/** What edu's register 0 reads. */
const identification = 0x010000ed;

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Runs attempt.mjs as an ordinary user, with a limit of locked memory in bytes if one is given. */
function attempt(what: string, address: string, options: { memlock?: number; root?: boolean } = {}): Attempt {
  const user = options.root ? [] : ['setpriv', `--reuid=${nobody}`, '--clear-groups'];
  const limit = options.memlock === undefined ? [] : ['prlimit', `--memlock=${options.memlock}`];
  const words = [...limit, ...user, process.execPath, resolve('lab/suites/refusals/attempt.mjs'), what, address];
  const result = JSON.parse(command(words[0] as string, ...words.slice(1))) as Attempt;
  same(result.after, result.before, 'descriptors, locked memory and maps of the other process');
  return result;
}

/** Waits until the kernel's driver has taken a disk. */
async function taken(address: string): Promise<void> {
  for (let waited = 0; findDevice(address).driver !== 'nvme'; waited += 100) {
    check(waited < 60_000, `nvme did not take ${address}`);
    await sleep(100);
  }
}

/** Loads the addon, whose first use opens what stays open. */
test('an address that is none, and one where nothing is, are refused', async () => {
  await PciDevice.open('0000:1f:00.0').catch(() => {});
  await refused('ERR_VFIO_ARGUMENT', () => PciDevice.open('01:00'));
  const { message } = await refused('ERR_VFIO_NO_DEVICE', () => PciDevice.open('0000:1f:00.0'));
  check(message.includes('0000:1f:00.0'), message);
});

if (run === 'unloaded')
  test('without vfio-pci the error says how to load it', async () => {
    const { message } = await refused('ERR_VFIO_NOT_LOADED', () => PciDevice.open(edu));
    check(/modprobe vfio-pci/.test(message), message);
  });

if (run === 'noiommu') {
  test('without an IOMMU a device opens only by the unsafe way, and that only with the sentence', async () => {
    await refused('ERR_VFIO_NO_IOMMU', () => PciDevice.open(edu));
    bind(edu);
    await refused('ERR_VFIO_NO_IOMMU', () => PciDevice.open(edu));
    await refused('ERR_VFIO_NOT_ACKNOWLEDGED', () => openUnsafe(edu, { acknowledge: 'yes' }));
    (await openForMode(edu)).close();
  });

  test('[NOI-10] without CAP_SYS_RAWIO the unsafe way is refused, though the group node is the user’s', () => {
    const { path } = group(edu);
    chownSync(path, nobody, nobody);
    const { error } = attempt('openUnsafe', edu);
    same(error?.code, 'ERR_VFIO_PERMISSION', `code of ${error?.message}`);
    check(/CAP_SYS_RAWIO|root/.test(error?.message ?? ''), error?.message ?? '');
  });
}

/** Address range and protection of every mapping of a device's region in this process. */
const mapsOfDevices = (): string[] =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('vfio-device'))
    .map((line) => line.split(' ').slice(0, 2).join(' '));

function group(address: string): { readonly path: string } {
  const { iommuGroup } = findDevice(address);
  check(iommuGroup !== undefined, `${address} has no group`);
  return { path: `/dev/vfio/${iommuGroup.noiommu ? 'noiommu-' : ''}${iommuGroup.id}` };
}

if (run === 'iommu') {
  test('a device that is not bound is refused with the command that binds it', async () => {
    const { message, details } = await refused('ERR_VFIO_NOT_BOUND', () => PciDevice.open(edu));
    check(message.includes(`vfio bind ${edu}`), message);
    same(details?.driver, undefined, 'its driver');
  });

  test('[GRP-7] a group with a device of another driver is refused, with that device and its driver', async () => {
    loadModule('nvme');
    bind(shared);
    await taken(neighbour);
    const { message, details } = await refused('ERR_VFIO_GROUP_NOT_VIABLE', () => PciDevice.open(shared));
    check(message.includes(neighbour) && message.includes('nvme'), message);
    check(JSON.stringify(details).includes(neighbour), JSON.stringify(details));
    bind(neighbour);
    (await PciDevice.open(shared)).close();
  });

  test('an ordinary user is refused, with the owner of the node and the command that changes it', () => {
    bind(edu);
    const { error } = attempt('open', edu);
    same(error?.code, 'ERR_VFIO_PERMISSION', `code of ${error?.message}`);
    check(error?.message.includes(group(edu).path) && /chown/.test(error.message), error?.message ?? '');
  });

  // The kernel would log that it refused: the plan expects no such message.
  test('a limit of locked memory that is too small is refused before the kernel is asked, with what is needed and the limit', () => {
    const { path } = group(edu);
    chownSync(path, nobody, nobody);
    const { error } = attempt('allocate', edu, { memlock: 1 << 20 });
    same(error?.code, 'ERR_VFIO_MEMLOCK', `code of ${error?.message}`);
    same(error?.details?.limit, 1 << 20, 'limit');
    check(Number(error?.details?.needed) >= 4 << 20, `needed: ${String(error?.details?.needed)}`);
    check(/ulimit|LimitMEMLOCK/.test(error?.message ?? ''), error?.message ?? '');
    same(attempt('allocate', edu, { memlock: 8 << 20 }).error, null, 'with a limit that is large enough');
  });

  test('[GRP-2] a device that another process has is refused as busy, and opens when that has closed it', async () => {
    const holder = spawn(process.execPath, [resolve('lab/suites/refusals/attempt.mjs'), 'hold', edu], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    await refused('ERR_VFIO_BUSY', () => PciDevice.open(edu));
    const gone = once(holder, 'exit');
    holder.stdin.end('done\n');
    await gone;
    (await PciDevice.open(edu)).close();
  });

  test('[CFG-27] registers touched while memory decoding is off read all-ones, and work again once it is on', async () => {
    bind(edu);
    const device = await PciDevice.open(edu);
    // All 256 pages, of which a fault replaces one: the mapping is in pieces then.
    const window = device.bar(0).window(0, undefined, { access: 'mapped' });
    const part = window.window(0, 4);
    const pieces = new Set<number>();
    same([window.read32(0), part.read32(0)], [identification, identification], 'before');
    device.checkAlive();
    const before = mapsOfDevices();
    for (let round = 0; round < 20; round++) {
      device.memoryDecoding.disable();
      same([window.read32(0), part.read32(0)], [0xffff_ffff, 0xffff_ffff], `round ${round}, decoding off`);
      window.read32(0x80000);
      pieces.add(mapsOfDevices().length);
      const { message, details } = await refused('ERR_VFIO_DEVICE_ASLEEP', () => device.checkAlive());
      check(message.includes('memory decoding is off') && message.includes('bit 1 of the command register'), message);
      same(details?.memoryDecoding, false, 'memoryDecoding of the details');
      device.memoryDecoding.enable();
      same(window.read32(0), 0xffff_ffff, `round ${round}, decoding on and not checked yet`);
      device.checkAlive();
      same([window.read32(0), part.read32(0)], [identification, identification], `round ${round}, checked`);
      window.write32(4, round);
      same(window.read32(4), ~round >>> 0, `round ${round}, the inverted value`);
    }
    same([...pieces], [2], 'pieces of the mapping around the two pages that were touched');
    same(mapsOfDevices(), before, 'mappings of devices');
    device.memoryDecoding.disable();
    device.checkAlive();
    device.memoryDecoding.enable();
    same(window.read32(0), identification, 'without a touch in between');
    device.close();
    same([window.read32(0), mapsOfDevices()], [0xffff_ffff, []], 'after close');
  });

  test('wrong transfers and freed buffers are refused before the controller is told', async () => {
    await taken(disk);
    bind(disk);
    await using nvme = await Nvme.open(disk);
    const [first] = nvme.namespaces;
    check(first !== undefined, 'no namespace');
    using buffer = nvme.dma.allocate(4096);
    await refused('ERR_NVME_ARGUMENT', () => first.read(0n, buffer, { blocks: 16 }));
    await refused('ERR_NVME_ARGUMENT', () => first.read(first.blocks, buffer));
    using odd = nvme.dma.allocate(1000);
    await refused('ERR_NVME_ARGUMENT', () => first.read(0n, odd));
    const freed = nvme.dma.allocate(4096);
    freed.close();
    freed.close();
    same(freed.bytes.length, 0, 'bytes of a closed buffer');
    await refused('ERR_VFIO_CLOSED', () => first.read(0n, freed));
    await first.read(0n, buffer);
  });

  test('[LIFE-9] a device that is pulled out says so, and is gone once it is closed', async () => {
    bind(leaving);
    const device = await PciDevice.open(leaving);
    const requests = interrupts(device).requests();
    const asked = requests.once({ signal: AbortSignal.timeout(100_000) });
    await monitor('device_del leaving');
    check((await asked) > 0, 'no request came');
    device.close();
    for (let waited = 0; existsSync(`/sys/bus/pci/devices/${leaving}`); waited += 100) {
      check(waited < 60_000, 'the device is still there');
      await sleep(100);
    }
    await refused('ERR_VFIO_NO_DEVICE', () => PciDevice.open(leaving));
  });
}
