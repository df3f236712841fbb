import { describe, expect, it } from 'vitest';
import { hugeMount, hugeMounts } from './hugetlbfs.js';
import { fileName, leftovers, parseFileName, sweepLeftovers } from './leftovers.js';
import { FakeMachine } from './testing/fake-machine.js';

const address = '0000:01:00.0';

/** A machine on which the processes 100 (still there), 200 (gone) and 300 (gone, number given anew) opened the device. */
function machine() {
  const fake = new FakeMachine();
  const stat = (pid: number, start: number) => `${pid} (x) S ${'0 '.repeat(18)}${start} 0`;
  fake.files.set('/proc/100/stat', stat(100, 11));
  fake.files.set('/proc/300/stat', stat(300, 99));
  const names = ['100-11', '200-22', '300-33', '4242-777', '4242-5'].map(
    (owner) => `vfio-noiommu.${address}.${owner}.0`,
  );
  for (const name of [...names, 'vfio-noiommu.0000:02:00.0.200-22.0', 'somebody-else']) {
    fake.named.set(`/dev/hugepages/${name}`, { path: `/dev/hugepages/${name}`, pages: new Map() });
  }
  return { fake, mounts: hugeMounts(fake.calls) };
}

const dead = ['200-22', '300-33', '4242-5'].map((owner) => `/dev/hugepages/vfio-noiommu.${address}.${owner}.0`);

describe('memory that a killed process left', () => {
  it('is told by its name: device, process number and start', () => {
    const name = fileName(address, { pid: 4711, start: '123456' }, 2);
    expect(name).toBe('vfio-noiommu.0000:01:00.0.4711-123456.2');
    expect(parseFileName(name)).toEqual({ address, owner: { pid: 4711, start: '123456' } });
    expect(parseFileName(`${name}.old`)).toBeUndefined();
  });

  it('is what dead processes made for this device, a reused process number included', () => {
    const { fake, mounts } = machine();
    expect(leftovers(fake.calls, mounts, address)).toEqual(dead);
  });

  it('is removed once the device masters the bus no more', () => {
    const { fake, mounts } = machine();
    expect(sweepLeftovers(fake.calls, mounts, address, () => false)).toEqual(dead);
    expect([...fake.named.keys()].map((path) => path.slice(15))).toEqual([
      `vfio-noiommu.${address}.100-11.0`,
      `vfio-noiommu.${address}.4242-777.0`,
      'vfio-noiommu.0000:02:00.0.200-22.0',
      'somebody-else',
    ]);
  });

  it('stays while the device masters the bus', () => {
    const { fake, mounts } = machine();
    const before = fake.named.size;
    expect(sweepLeftovers(fake.calls, mounts, address, () => true)).toEqual([]);
    expect(fake.named.size).toBe(before);
  });
});

describe('hugetlbfs', () => {
  const mounted = (mounts: string, meminfo = '') => {
    const fake = new FakeMachine();
    fake.files.set('/proc/self/mounts', mounts);
    fake.files.set('/proc/meminfo', meminfo);
    return fake.calls;
  };

  it('is found where it is mounted, the smallest pages first, read-only mounts left out', () => {
    const system = mounted(
      'none /huge/1g hugetlbfs rw,pagesize=1024M 0 0\nnone /ro hugetlbfs ro,pagesize=2M 0 0\nnone /with\\040blank hugetlbfs rw,pagesize=2M 0 0\n',
    );
    expect(hugeMounts(system)).toEqual([
      { path: '/with blank', pageSize: 2 << 20 },
      { path: '/huge/1g', pageSize: 1 << 30 },
    ]);
  });

  it("has the machine's default page size where its options do not say", () => {
    expect(hugeMount(mounted('none /huge hugetlbfs rw 0 0\n', 'Hugepagesize:      32768 kB\n')).pageSize).toBe(
      32 << 20,
    );
    expect(hugeMount(mounted('none /huge hugetlbfs rw 0 0\n')).pageSize).toBe(2 << 20);
  });

  it('is asked for with the commands that mount it, where there is none', () => {
    expect(() => hugeMount(mounted('proc /proc proc rw 0 0\n'))).toThrow(
      /ERR_VFIO_NO_HUGEPAGES[\s\S]*mount -t hugetlbfs/,
    );
  });
});
