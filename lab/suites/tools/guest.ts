import { execFile } from 'node:child_process';
import { mkdirSync, readlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { blockDevice } from '../block-device.js';
import { check, command, field, loadModule, mode, same, test } from '../guest.js';

const edu = '0000:01:00.0';
const disk = '0000:02:00.0';
const MiB = 2 ** 20;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const start = (file: string, ...args: readonly string[]): Promise<Ended> =>
  new Promise((done) => {
    execFile(process.execPath, [resolve(file), ...args], { maxBuffer: 2 ** 26 }, (error, out, err) =>
      done({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
const vfio = (...args: readonly string[]) => start('packages/vfio-cli/bin/vfio.mjs', ...args);
const demo = (...args: readonly string[]) =>
  start('demo/dist/main.js', ...args, ...(mode === 'noiommu' ? ['--unsafe-noiommu'] : []));

/** The last line of a command that had to end with `code`, as JSON. */
function parsed<T>({ code, out, err }: Ended, wanted = 0): T {
  same(code, wanted, `exit code (${err.trim()})`);
  return JSON.parse(out.trimEnd().split('\n').at(-1) as string) as T;
}

const driverOf = (address: string): string | undefined => {
  try {
    return readlinkSync(`/sys/bus/pci/devices/${address}/driver`).split('/').at(-1);
  } catch {
    return undefined;
  }
};

const sum = (device: string): string => command('sha256sum', device).slice(0, 64);

test('vfio list names every function that lspci names, with its driver', async () => {
  loadModule('nvme');
  await blockDevice(disk);
  const listed = parsed<{ address: string; vendor: number; device: number; driver: string | null }[]>(
    await vfio('list', '--json'),
  );
  const hex = (value: number) => value.toString(16).padStart(4, '0');
  const ours = listed.map(({ address, vendor, device }) => `${address} ${hex(vendor)}:${hex(device)}`).sort();
  const theirs = command('lspci', '-Dn')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([address, , ids]) => `${address} ${ids}`)
    .sort();
  same(ours, theirs, 'functions');
  same(listed.find(({ address }) => address === disk)?.driver, 'nvme', 'driver of the disk');
  field('functions', ours.length);
});

test('the demo refuses a disk that is mounted, in use as swap, or held by another block device', async () => {
  const device = await blockDevice(disk);
  const refuses = async (pattern: RegExp) => {
    const { code, out, err } = await demo('--device', disk, '--destroy-data');
    same(code, 1, 'exit code');
    check(pattern.test(err), `it says: ${err} ${out}`);
    same(driverOf(disk), 'nvme', 'driver after the refusal');
  };
  command('mkfs.ext4', '-q', '-F', device);
  mkdirSync('/mnt/used', { recursive: true });
  loadModule('ext4');
  command('mount', '-t', 'ext4', device, '/mnt/used');
  await refuses(/mounted at \/mnt\/used/);
  const bind = await vfio('bind', disk, '--yes');
  check(bind.code === 1 && /mounted at \/mnt\/used/.test(bind.err), `vfio bind says: ${bind.err} ${bind.out}`);
  command('umount', '/mnt/used');

  command('mkswap', '-f', device);
  command('swapon', device);
  await refuses(/swap/);
  command('swapoff', device);

  loadModule('dm_mod');
  command('dmsetup', '--noudevsync', '--noudevrules', 'create', 'held', '--table', `0 2048 linear ${device} 0`);
  await refuses(/held by dm-0/);
  command('dmsetup', '--noudevsync', '--noudevrules', 'remove', 'held');
});

test('the demo refuses a disk that is not bound, with the command that binds it', async () => {
  const { code, err } = await demo('--device', disk);
  same(code, 1, 'exit code');
  check(err.includes(`vfio bind ${disk}`), `it says: ${err}`);
});

test('vfio doctor finds that the disk is not bound, and the cure that it gives works', async () => {
  type Diagnosis = { ok: boolean; checks: { id: string; status: string; cure?: string }[] };
  const before = parsed<Diagnosis>(await vfio('doctor', disk, '--json'), 1);
  const driver = before.checks.find(({ id }) => id === 'driver');
  same(driver?.status, 'failed', 'the check of the driver');
  same(driver?.cure, `vfio bind ${disk} --yes`, 'its cure');
  const iommu = before.checks.find(({ id }) => id === 'iommu');
  same(iommu?.status === 'ok', mode === 'iommu', `the check of the IOMMU (${JSON.stringify(iommu)})`);

  const plan = await vfio('bind', disk);
  same(plan.code, 0, 'exit code');
  check(/nvme -> vfio-pci/.test(plan.out) && /--yes/.test(plan.out), plan.out);
  same(driverOf(disk), 'nvme', 'driver after a bind without --yes');

  const cure = driver?.cure ?? '';
  same((await vfio(...cure.split(' ').slice(1))).code, 0, 'exit code of the cure');
  same(driverOf(disk), 'vfio-pci', 'driver after the cure');
  const after = parsed<Diagnosis>(await vfio('doctor', disk, '--json'), 0);
  same(after.checks.find(({ id }) => id === 'driver')?.status, 'ok', 'the check of the driver');
});

test('vfio info tells the regions, interrupts and capabilities that lspci tells', async () => {
  const info = parsed<{
    driver: string;
    opened: { regions: { index: number; size: number }[]; capabilities: { id: number; offset: number }[] } | null;
    notOpened: string | null;
  }>(await vfio('info', disk, '--json'));
  same(info.driver, 'vfio-pci', 'driver');
  if (mode === 'noiommu') {
    check(info.opened === null && /no-IOMMU/.test(info.notOpened ?? ''), JSON.stringify(info.notOpened));
    return;
  }
  const text = command('lspci', '-vv', '-s', disk);
  const theirs = [...text.matchAll(/Capabilities: \[([0-9a-f]{2})\]/g)].map(([, offset]) =>
    Number.parseInt(offset as string, 16),
  );
  const ours = (info.opened?.capabilities ?? []).map(({ offset }) => offset).filter((offset) => offset < 256);
  same([...ours].sort(), theirs.sort(), 'offsets of the capabilities');
  const [, kib] = /Region 0: .*\[size=(\d+)K\]/.exec(text) ?? [];
  same(info.opened?.regions.find(({ index }) => index === 0)?.size, Number(kib) * 1024, 'bytes of BAR 0');
});

interface Report {
  readonly backend: string;
  readonly device: string;
  readonly namespaces: readonly { readonly bytes: number }[];
  readonly readOnly: boolean;
  readonly bytesWritten: number;
  readonly bytesRead: number;
  readonly verified: boolean;
  readonly interrupts: { readonly operations: number; readonly verified: boolean; readonly interruptMode: string };
  readonly polled: { readonly operations: number; readonly verified: boolean };
}

if (mode === 'noiommu')
  test('without an IOMMU the demo is refused unless it is told that this is unsafe', async () => {
    const { code, err } = await start('demo/dist/main.js', '--device', disk);
    same(code, 1, 'exit code');
    check(/IOMMU/.test(err), `it says: ${err}`);
  });

test(
  'the demo reads a real disk and leaves its bytes alone, and writes it only when it is told to',
  async () => {
    const sums = async () => {
      same((await vfio('unbind', disk, '--yes')).code, 0, 'exit code of unbind');
      same(driverOf(disk), 'nvme', 'driver after unbind');
      const result = sum(await blockDevice(disk));
      same((await vfio('bind', disk, '--yes')).code, 0, 'exit code of bind');
      return result;
    };
    const before = await sums();
    const read = parsed<Report>(await demo('--device', disk, '--mib', '32', '--json'));
    same([read.backend, read.device, read.readOnly], ['linux', disk, true], 'backend, device, read-only');
    same([read.bytesWritten, read.bytesRead, read.verified], [0, 64 * MiB, true], 'written, read, verified');
    same(await sums(), before, 'bytes of the disk after a run that only reads');

    const written = parsed<Report>(await demo('--device', disk, '--mib', '32', '--json', '--destroy-data'));
    same(
      [written.bytesWritten, written.bytesRead, written.verified],
      [64 * MiB, 64 * MiB, true],
      'written, read, verified',
    );
    same(written.interrupts.interruptMode, 'msix', 'interrupt mode');
    check(written.interrupts.verified && written.polled.verified, 'a pass was not verified');
    check((await sums()) !== before, 'nothing was written');
    field('demo', {
      bytesRead: read.bytesRead + written.bytesRead,
      bytesWritten: written.bytesWritten,
      operations: written.interrupts.operations + written.polled.operations,
    });
  },
  { seconds: 600 },
);

test('vfio bind and unbind of a function that had no driver leave it without one', async () => {
  same(driverOf(edu), undefined, 'driver before');
  same((await vfio('bind', edu, '--yes')).code, 0, 'exit code of bind');
  same(driverOf(edu), 'vfio-pci', 'driver after bind');
  same((await vfio('unbind', edu, '--yes')).code, 0, 'exit code of unbind');
  same(driverOf(edu), undefined, 'driver after unbind');
});
