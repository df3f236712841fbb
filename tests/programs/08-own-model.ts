// My own device: first in software, silicon later.
import { interrupts } from 'vfio-irq';
import { PciDevice } from 'vfio-pci';
import { type DeviceBus, type DeviceModel, endpoint, memoryBar, simulation } from 'vfio-sim';

class Thermometer implements DeviceModel {
  readonly config = endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(4096)], msix: 1 });
  private celsius = 20;

  constructor(private readonly bus: DeviceBus) {}

  read(_bar: number, offset: number): number {
    return offset === 0 ? this.celsius : 0;
  }

  /** A store to 4 heats it up, and says so. */
  write(_bar: number, offset: number, _width: number, value: number): void {
    if (offset !== 4) return;
    this.celsius += value;
    this.bus.interrupt(0);
  }

  reset(): void {
    this.celsius = 20;
  }
}

export async function readThermometer(): Promise<{
  before: number;
  after: number;
  interrupts: number;
  afterReset: number;
}> {
  const backend = simulation({ devices: { '0000:01:00.0': (bus) => new Thermometer(bus) } });
  await using device = await PciDevice.open('0000:01:00.0', { backend });
  const registers = device.bar(0).window();
  device.busMaster.enable();
  await using irqs = await interrupts(device).enable('msix', 1);
  const before = registers.read32(0);
  registers.write32(4, 5);
  const count = await irqs[0]!.once({ signal: AbortSignal.timeout(5000) });
  const after = registers.read32(0);
  await device.reset();
  return { before, after, interrupts: count, afterReset: registers.read32(0) };
}
