import { describe, expect, it } from 'vitest';
import type { DeviceBus, DeviceFactory } from '../model/contract.js';
import { endpoint, memoryBar } from '../model/endpoint.js';
import { edu } from '../models/edu.js';
import { simulation } from '../simulation.js';
import { Raw } from '../testing/raw.js';

const a = '0000:01:00.0';
const [MIB2, GIB] = [2 << 20, 1 << 30] as const;
const folder = '/sys/kernel/mm/hugepages';
const machine = (hugePages: { '2M'?: number; '1G'?: number } | number) =>
  simulation({ devices: { [a]: edu() }, hugePages });

describe('huge pages', () => {
  it.each([
    ['2M', MIB2, 'hugepages-2048kB'],
    ['1G', GIB, 'hugepages-1048576kB'],
  ] as const)(
    'of %s are a memory file’s own, counted, aligned in the process, and given back',
    (name, size, counts) => {
      const sim = machine({ [name]: 2 });
      const free = () => Number(sim.readFile(`${folder}/${counts}/free_hugepages`));
      const fd = sim.memfd('huge', size);
      expect(sim.truncate(fd, 4096)).toBe(-22);
      expect(sim.truncate(fd, size)).toBe(0);
      expect(sim.memory({ kind: 'file', fd, offset: 0, length: 4096 })).toBe(-22);
      const mapping = sim.memory({ kind: 'file', fd, offset: 0, length: size });
      if (typeof mapping === 'number') throw new Error(`mmap: ${mapping}`);
      expect([mapping.address % BigInt(size), free()]).toEqual([0n, 1]);
      mapping.unmap();
      expect(free()).toBe(1);
      sim.close(fd);
      expect(free()).toBe(2);
    },
  );

  it('that are not there are ENOMEM when they are mapped, and sizes that no machine has ENODEV at once', () => {
    const sim = machine({ '1G': 0 });
    const fd = sim.memfd('huge', GIB);
    expect(sim.truncate(fd, GIB)).toBe(0);
    expect(sim.memory({ kind: 'file', fd, offset: 0, length: GIB })).toBe(-12);
    expect(sim.memfd('huge', 16 << 20)).toBe(-19);
    expect(sim.writeFile(`${folder}/hugepages-1048576kB/nr_hugepages`, '1\n')).toBe(0);
    expect(sim.memory({ kind: 'file', fd, offset: 0, length: GIB })).toMatchObject({ length: GIB });
    expect(sim.writeFile(`${folder}/hugepages-1048576kB/nr_hugepages`, 'many')).toBe(-22);
  });

  it('of 1 GiB have a mount of their own where some are set aside, and none where not', () => {
    const sim = machine({ '1G': 1 });
    expect(sim.readFile('/proc/mounts')).toMatch(
      /^hugetlbfs \/dev\/hugepages-1G hugetlbfs rw,relatime,pagesize=1024M /m,
    );
    const fd = sim.open('/dev/hugepages-1G/pages', 0o102);
    expect(sim.memory({ kind: 'file', fd, offset: 0, length: GIB })).toMatchObject({ length: GIB });
    expect(machine(4).readFile('/proc/mounts')).not.toContain('1G');
    expect(machine(4).list('/dev')).not.toContain('hugepages-1G');
  });

  it('are what a device reaches by one mapping, from the first byte to the last', () => {
    const buses: DeviceBus[] = [];
    const copier: DeviceFactory = (bus) => {
      buses.push(bus);
      const config = endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(4096)] });
      return { config, read: () => 0, write: () => {}, reset: () => {} };
    };
    const sim = simulation({ devices: { [a]: copier }, hugePages: { '1G': 1 }, memlock: GIB });
    const raw = new Raw(sim);
    const { container, device } = raw.device(a, 0, 3);
    raw.busMaster(device);
    const fd = sim.memfd('huge', GIB);
    sim.truncate(fd, GIB);
    const memory = sim.memory({ kind: 'file', fd, offset: 0, length: GIB });
    if (typeof memory === 'number') throw new Error(`mmap: ${memory}`);
    expect(raw.map(container, BigInt(GIB), memory.address, GIB)).toBe(0);
    expect([sim.mappings.length, sim.lockedBytes]).toEqual([1, GIB]);
    const [bus] = buses as [DeviceBus];
    for (const at of [0, GIB - 1]) {
      expect(bus.dmaWrite(BigInt(GIB + at), Uint8Array.of(0x5a))).toBe(true);
      expect(memory.bytes[at]).toBe(0x5a);
    }
    expect(bus.dmaWrite(BigInt(2 * GIB), Uint8Array.of(0x5a))).toBe(false);
  });
});
