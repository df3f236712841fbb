import { createHash } from 'node:crypto';
import { Nvme } from 'vfio-drivers-example';
import { bind, unbind } from 'vfio-pci';
import { blockDevice } from '../block-device.js';
import { check, command, field, loadModule, note, same, test } from '../guest.js';
import { openForMode } from '../open.js';
import { checksums, choose, compareFiles, makeFileSystem } from './files.js';

const source = '0000:01:00.0';
const copy = '0000:02:00.0';
const target = '0000:03:00.0';
const disks = [source, copy, target];
const piece = 512 * 1024;
const depth = 4;

const MiB = 2 ** 20;
const interrupts = { msix: 0, intx: 0 };
const seconds: Record<string, number> = {};
let bytes = 0;
let originals = new Map<string, string>();

const open = async (address: string, kind: 'msix' | 'intx'): Promise<Nvme> => {
  const nvme = await Nvme.open(await openForMode(address), { interrupts: kind });
  same(nvme.interruptMode, kind, `interrupt mode of ${address}`);
  return nvme;
};

/** Runs `work` with the first namespace once with each kind of interrupt, one half of the disk each. */
async function halves(work: (kind: 'msix' | 'intx', half: 0 | 1) => Promise<void>): Promise<void> {
  await work('msix', 0);
  await work('intx', 1);
}

test(
  "the guest kernel's driver makes file systems with real files on two disks",
  async () => {
    loadModule('nvme');
    for (const [i, [device, folders]] of (
      [
        [source, ['/usr/share', '/usr/lib']],
        [copy, ['/usr/lib/x86_64-linux-gnu', '/usr/bin']],
      ] as const
    ).entries()) {
      const chosen = choose(folders, 256 * MiB);
      note(`disk ${i}: ${chosen.files.length} files from ${folders.join(' and ')}, ${chosen.bytes} bytes`);
      check(chosen.files.length > 200 && chosen.bytes > 200 * MiB, 'too few files on this machine');
      await makeFileSystem(await blockDevice(device), chosen.files);
      note(`disk ${i}: file system made`);
      if (device === copy) originals = await checksums(chosen.files);
    }
    check(originals.size > 200, `${originals.size} checksums`);
  },
  { seconds: 600 },
);

test('the disks are handed from nvme to vfio-pci', () => {
  for (const address of disks) {
    bind(address);
    const driver = command('readlink', `/sys/bus/pci/devices/${address}/driver`).trim();
    check(driver.endsWith('/vfio-pci'), `${address} is bound to ${driver}`);
  }
});

test(
  'our driver reads the whole first disk, half with MSI-X and half with INTx',
  async () => {
    const started = performance.now();
    const hash = createHash('sha256');
    await halves(async (kind, half) => {
      const nvme = await open(source, kind);
      const [disk] = nvme.namespaces;
      check(disk !== undefined, 'no namespace');
      const blocks = disk.blocks / 2n;
      for await (const chunk of disk.stream({ from: BigInt(half) * blocks, blocks, chunkBytes: piece })) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      check(nvme.interruptCount > 0, `no ${kind} interrupt came`);
      interrupts[kind] += nvme.interruptCount;
      await nvme[Symbol.asyncDispose]();
      note(`read half ${half} with ${kind}`);
    });
    seconds.read = (performance.now() - started) / 1000;
    field('sourceSha256', hash.digest('hex'));
  },
  { seconds: 600 },
);

test(
  'our driver writes the image of the second disk to the third, half with MSI-X and half with INTx',
  async () => {
    const started = performance.now();
    await halves(async (kind, half) => {
      const from = await open(copy, kind);
      const to = await open(target, kind);
      const [input] = from.namespaces;
      const [output] = to.namespaces;
      check(input !== undefined && output !== undefined, 'no namespace');
      same(output.bytes, input.bytes, 'size of the target');
      const total = Number(input.bytes / 2n);
      const start = BigInt(half) * (input.blocks / 2n);
      const incoming = Array.from({ length: depth }, () => from.dma.allocate(piece, { contiguous: false }));
      const outgoing = Array.from({ length: depth }, () => to.dma.allocate(piece, { contiguous: false }));
      for (let done = 0; done < total; done += piece * depth) {
        await Promise.all(
          incoming.map(async (buffer, i) => {
            const offset = done + i * piece;
            if (offset >= total) return;
            const lba = start + BigInt(offset / input.blockSize);
            await input.read(lba, buffer);
            outgoing[i]?.bytes.set(buffer.bytes);
            await output.write(lba, outgoing[i] as (typeof outgoing)[number]);
          }),
        );
      }
      await output.flush();
      bytes += 2 * total;
      for (const buffer of [...incoming, ...outgoing]) buffer.close();
      check(from.interruptCount > 0 && to.interruptCount > 0, `no ${kind} interrupt came`);
      interrupts[kind] += from.interruptCount + to.interruptCount;
      await from[Symbol.asyncDispose]();
      await to[Symbol.asyncDispose]();
      note(`wrote half ${half} with ${kind}`);
    });
    seconds.copy = (performance.now() - started) / 1000;
  },
  { seconds: 600 },
);

test(
  "the kernel's driver is bound again, mounts the disk that our driver wrote, and finds every file",
  async () => {
    for (const address of disks) unbind(address);
    const { right, wrong } = await compareFiles(await blockDevice(target), originals);
    field('filesChecked', right);
    field('filesMatch', wrong.length === 0 && right === originals.size);
    same(wrong.slice(0, 5), [], 'files that differ');
    check(right > 200, `only ${right} files were compared`);
    field('bytes', bytes);
    field('interrupts', interrupts);
    field('seconds', seconds);
  },
  { seconds: 600 },
);
