import { describe, expect, it } from 'vitest';
import type { DeviceBus, DeviceFactory } from '../model/contract.js';
import { endpoint, memoryBar } from '../model/endpoint.js';
import type { SimulationOptions } from '../options.js';
import { simulation } from '../simulation.js';
import { Raw, word, words } from '../testing/raw.js';

const [copier, peer] = ['0000:01:00.0', '0000:02:00.0'] as const;
const IOVA = 0x10_0000n;

/** A device that is told what to copy where, by the test itself. */
class Copier {
  readonly config = endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(4096)] });
  constructor(readonly bus: DeviceBus) {}
  read = () => 0;
  write = () => {};
  reset = () => {};
}

/** A device that notes each access of its registers; offset 8 reads 0x11223344. */
class Noted {
  readonly config = endpoint({ vendor: 0x1234, device: 2, class: 0x118000, bars: [memoryBar(8192)] });
  readonly accesses: [string, number, number, number?][] = [];
  read(_bar: number, offset: number, width: number): number {
    this.accesses.push(['read', offset, width]);
    return offset === 8 ? 0x11223344 : 0;
  }
  write(_bar: number, offset: number, width: number, value: number): void {
    this.accesses.push(['write', offset, width, value]);
  }
  reset = () => {};
}

const copy: DeviceFactory = (bus) => new Copier(bus);
const note: DeviceFactory = () => new Noted();

function machine(options: SimulationOptions = {}) {
  const sim = simulation({ devices: { [copier]: copy, [peer]: note }, memlock: 0, ...options });
  const raw = new Raw(sim);
  return { sim, raw, bus: sim.device<Copier>(copier).model.bus, noted: sim.device<Noted>(peer).model };
}

/** Both devices in one container, and the peer's registers at {@link IOVA}. */
function mapped(options: SimulationOptions = {}, protection = 3, flags = 3) {
  const { sim, raw, bus, noted } = machine(options);
  const first = raw.device(copier, 0, 3);
  const group = raw.group(1);
  raw.setContainer(group, first.container);
  const device = raw.deviceFd(group, peer);
  raw.busMaster(first.device);
  const bar = sim.mapDevice(device, 4096, 4096, protection);
  if (typeof bar === 'number') throw new Error(`mmap: ${bar}`);
  const result = raw.map(first.container, IOVA, bar.address, 4096, flags);
  noted.accesses.length = 0;
  return { sim, raw, bus, noted, device, bar, result, container: first.container };
}

describe('another device’s registers as the target of DMA', () => {
  it('[T1-27] are taken by type1, not accounted, and reached in words as wide as they can be', () => {
    const { sim, bus, noted, result } = mapped();
    expect([result, sim.lockedBytes]).toEqual([0, 0]);
    expect(bus.dmaWrite(IOVA + 4n, Uint8Array.of(1, 0, 0, 0, 2, 3, 4))).toBe(true);
    expect(noted.accesses.splice(0)).toEqual([
      ['write', 4100, 4, 1],
      ['write', 4104, 2, 0x302],
      ['write', 4106, 1, 4],
    ]);
    const into = new Uint8Array(4);
    expect(bus.dmaRead(IOVA + 0x10n, into)).toBe(true);
    expect(noted.accesses).toEqual([['read', 4112, 4]]);
    expect(sim.faults).toEqual([]);
  });

  it('stay reachable when the program’s own mapping goes, until they are unmapped, and after that are not', () => {
    const { sim, raw, bus, noted, bar, container } = mapped();
    bar.unmap();
    expect(bus.dmaWrite(IOVA, Uint8Array.of(7, 0, 0, 0))).toBe(true);
    expect(noted.accesses).toEqual([['write', 4096, 4, 7]]);
    expect(raw.unmap(container, IOVA, 4096)).toBe(4096);
    expect(bus.dmaWrite(IOVA, Uint8Array.of(7, 0, 0, 0))).toBe(false);
    expect(sim.faults).toHaveLength(1);
  });

  it('read all-ones while they do not decode, and the program’s mapping is none the worse', () => {
    const { raw, bus, noted, bar, device } = mapped();
    raw.setConfig(device, 4, 2, 0);
    const into = new Uint8Array(8);
    expect(bus.dmaRead(IOVA, into)).toBe(true);
    expect([...into]).toEqual(Array(8).fill(0xff));
    expect([noted.accesses.length, bar.faulted]).toEqual([0, false]);
  });

  it('[T1-25] are refused for writing where the program itself may only read them', () => {
    expect(mapped({}, 1).result).toBe(-14);
    expect(mapped({}, 1, 1).result).toBe(0);
  });

  it('[IFD-26] are refused by iommufd', () => {
    const { sim } = machine({ iommufd: true });
    const iommufd = sim.open('/dev/iommu', 2);
    const files = ['vfio0', 'vfio1'].map((name) => sim.open(`/dev/vfio/devices/${name}`, 2));
    for (const file of files) expect(sim.ioctl(file, 0x3b76, words(16, 0, iommufd, 0))).toBe(0);
    const made = words(12, 0, 0);
    sim.ioctl(iommufd, 0x3b81, made);
    expect(sim.ioctl(files[0] as number, 0x3b77, words(12, 0, word(made, 8)))).toBe(0);
    const bar = sim.mapDevice(files[1] as number, 0, 4096, 3);
    if (typeof bar === 'number') throw new Error(`mmap: ${bar}`);
    const map = new Uint8Array(40);
    map.set(words(40, 7, word(made, 8), 0));
    const view = new DataView(map.buffer);
    view.setBigUint64(16, bar.address, true);
    view.setBigUint64(24, 4096n, true);
    view.setBigUint64(32, IOVA, true);
    expect(sim.ioctl(iommufd, 0x3b85, map)).toBe(-14);
  });
});
