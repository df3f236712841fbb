import { describe, expect, it } from 'vitest';
import { PciDevice, Region, reg32, registers } from './index.js';
import { FakeDevice, sampleConfig } from './testing/fake-device.js';

const code = (expected: string) => expect.objectContaining({ code: expected });

function opened(bars?: Record<number, number>) {
  const fake = new FakeDevice(sampleConfig(), bars);
  return { fake, device: PciDevice.from(fake) };
}

const command = (fake: FakeDevice) => (fake.regions.get(7) as Uint8Array)[4] as number;

describe('PciDevice', () => {
  it('wraps any device once: a PciDevice is given back as it is', () => {
    const { device } = opened();
    expect(PciDevice.from(device)).toBe(device);
    expect([device.vendor, device.device, device.classCode]).toEqual([0x1b36, 0x0010, 0x010802]);
  });

  it('[CFG-12] switches bus mastering on and off when told, and leaves the other bits', () => {
    const { fake, device } = opened();
    expect(device.busMaster.enabled).toBe(false);
    device.busMaster.enable();
    expect([device.busMaster.enabled, command(fake)]).toEqual([true, 0x06]);
    device.busMaster.disable();
    expect(command(fake)).toBe(0x02);
    device.memoryDecoding.disable();
    expect([device.memoryDecoding.enabled, command(fake)]).toEqual([false, 0]);
  });

  it('[CFG-58] writes the command register with two bytes, so that no status bit is cleared by the way', () => {
    const { fake, device } = opened();
    device.busMaster.enable();
    expect(fake.writes).toEqual(['7@4+2']);
  });

  it('switches bus mastering off when it closes, through either of the two', () => {
    const { fake, device } = opened();
    device.busMaster.enable();
    fake.close();
    expect([command(fake), device.closed]).toEqual([0x02, true]);
    expect(() => device.busMaster.enable()).toThrow(code('ERR_VFIO_CLOSED'));
  });

  it('closes without complaint when the device is gone', () => {
    const { fake, device } = opened();
    (fake.regions.get(7) as Uint8Array).fill(0xff);
    expect(() => device.close()).not.toThrow();
  });

  it('answers ERR_VFIO_DEVICE_GONE to a device of all-ones, at first and later', () => {
    const ones = new FakeDevice(new Uint8Array(4096).fill(0xff));
    expect(() => PciDevice.from(ones)).toThrow(code('ERR_VFIO_DEVICE_GONE'));
    expect(ones.closed).toBe(false);
    const { fake, device } = opened();
    device.checkAlive();
    // [CFG-10] The vendor id is the kernel's record: what the hardware says shows behind it.
    (fake.regions.get(7) as Uint8Array).fill(0xff, 4);
    expect(() => device.checkAlive()).toThrow(code('ERR_VFIO_DEVICE_GONE'));
  });

  it('answers ERR_VFIO_NOT_SUPPORTED to a device that is not PCI, ERR_VFIO_CLOSED to a closed one', () => {
    const other = new FakeDevice(sampleConfig());
    other.pci = false;
    expect(() => PciDevice.from(other)).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
    const closed = new FakeDevice(sampleConfig());
    closed.close();
    expect(() => PciDevice.from(closed)).toThrow(code('ERR_VFIO_CLOSED'));
  });

  it('answers ERR_VFIO_ARGUMENT to an absent BAR, with those that there are', () => {
    const { device } = opened({ 0: 4096, 2: 64 });
    for (const index of [1, 6, -1, 0.5, Number.NaN]) {
      expect(() => device.bar(index)).toThrow(code('ERR_VFIO_ARGUMENT'));
    }
    expect(() => device.bar(1)).toThrow('it has 0, 2');
    expect(() => device.region(9)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(device.bar(2)).toBe(device.region(2));
  });

  it('resets through its channel', async () => {
    const { fake, device } = opened();
    await device.reset();
    expect(fake.resets).toBe(1);
  });

  it('closes with `await using`', async () => {
    const { fake, device } = opened();
    {
      await using used = device;
      expect(used.closed).toBe(false);
    }
    expect(fake.closed).toBe(true);
  });
});

describe('Region', () => {
  const TABLE = registers('t', { A: reg32(0, 'RW'), B: reg32(0x10, 'RW') });

  it('binds tables, at an offset too', () => {
    const { fake, device } = opened();
    device.bar(0).registers(TABLE, { offset: 0x100 }).B.write(7);
    expect(new DataView((fake.regions.get(0) as Uint8Array).buffer).getUint32(0x110, true)).toBe(7);
  });

  it('reads and writes bytes', () => {
    const { device } = opened();
    device.bar(0).write(3, Uint8Array.of(1, 2, 3));
    const into = new Uint8Array(3);
    device.bar(0).read(3, into);
    expect([...into]).toEqual([1, 2, 3]);
  });

  it('answers ERR_VFIO_WINDOW_RANGE to everything outside', () => {
    const bar = opened().device.bar(0);
    expect(bar).toBeInstanceOf(Region);
    expect(() => bar.window(4096, 1)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.window(-1)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.window(0, 0.5)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.registers(TABLE, { offset: 4092 })).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.registers(TABLE).A.write(2 ** 32)).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => bar.read(4095, new Uint8Array(2))).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.write(4096, new Uint8Array(1))).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.window().read32(4096)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => bar.window().read32(2)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
  });

  it('says what it is', () => {
    expect(String(opened().device.bar(0))).toBe('BAR0: 4096 bytes (read, write, map)');
  });
});
