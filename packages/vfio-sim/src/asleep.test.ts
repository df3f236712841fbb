/** A device whose registers are touched while it does not answer, as a driver meets it. */

import type { RegisterWindow, VfioError } from 'vfio-core';
import { PciDevice } from 'vfio-pci';
import { describe, expect, it } from 'vitest';
import { endpoint, memoryBar } from './model/endpoint.js';
import { simulation } from './simulation.js';

const address = '0000:01:00.0';
const identification = 0x010000ed;

async function opened() {
  const config = endpoint({
    vendor: 0x1234,
    device: 1,
    class: 0xff0000,
    bars: [memoryBar(4096)],
    powerManagement: true,
  });
  const model = () => ({ config, read: () => identification, write: () => {}, reset: () => {} });
  const sim = simulation({ devices: { [address]: model } });
  const device = await PciDevice.open(address, { backend: sim });
  const window: RegisterWindow = device.bar(0).window(0, 0x100);
  expect(window.read32(0)).toBe(identification);
  return { sim, device, window };
}

function codeOf(run: () => void): string {
  try {
    run();
  } catch (thrown) {
    return (thrown as VfioError).code;
  }
  return 'none';
}

describe('checkAlive of a PCI device', () => {
  it('[CFG-27] [DEV-27] says that memory decoding is off, and mends existing windows once it is on, again and again', async () => {
    const { sim, device, window } = await opened();
    const held = [sim.openFds.length, sim.userMappings.length];
    for (let round = 0; round < 20; round++) {
      device.memoryDecoding.disable();
      expect(window.read32(0)).toBe(0xffff_ffff);
      expect(codeOf(() => device.checkAlive())).toBe('ERR_VFIO_DEVICE_ASLEEP');
      device.memoryDecoding.enable();
      expect(window.read32(0)).toBe(0xffff_ffff);
      device.checkAlive();
      expect(window.read32(0)).toBe(identification);
    }
    expect([sim.openFds.length, sim.userMappings.length]).toEqual(held);
    device.close();
    expect([sim.openFds.length, sim.userMappings.length]).toEqual([0, 0]);
  });

  it('says nothing of decoding that went off and on again without a touch in between', async () => {
    const { device, window } = await opened();
    device.memoryDecoding.disable();
    device.checkAlive();
    device.memoryDecoding.enable();
    expect(window.read32(0)).toBe(identification);
    device.close();
  });

  it('[CFG-27] says that the device sleeps in D3, and mends existing windows once it is in D0', async () => {
    const { device, window } = await opened();
    const control = (device.config.capability('PM')?.offset as number) + 4;
    device.channel.write(7, control, Uint8Array.of(3, 0));
    expect(window.read32(0)).toBe(0xffff_ffff);
    expect(() => device.checkAlive()).toThrow(/sleeps in D3/);
    device.channel.write(7, control, Uint8Array.of(0, 0));
    device.checkAlive();
    expect(window.read32(0)).toBe(identification);
    device.close();
  });

  it('knows a device that was pulled out as gone, whether or not a window was touched', async () => {
    for (const touched of [true, false]) {
      const { sim, device, window } = await opened();
      sim.device(address).unplug();
      if (touched) expect(window.read32(0)).toBe(0xffff_ffff);
      expect(codeOf(() => device.checkAlive())).toBe('ERR_VFIO_DEVICE_GONE');
      expect(codeOf(() => device.checkAlive())).toBe('ERR_VFIO_DEVICE_GONE');
      device.close();
      expect(sim.openFds).toEqual([]);
    }
  });
});
