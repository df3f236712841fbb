import { expect, it } from 'vitest';
import { describeDeviceMapping } from '../../vfio-core/src/testing/device-mapping-contract.js';
import { describeRegisterWindow } from '../../vfio-core/src/testing/register-window-contract.js';
import { describeSystemCalls } from '../../vfio-core/src/testing/system-calls-contract.js';
import { endpoint, memoryBar } from './model/endpoint.js';
import { simulation } from './simulation.js';
import { Raw } from './testing/raw.js';

describeSystemCalls('the simulation', () => simulation());

const address = '0000:01:00.0';

/** A machine with a device that has these bytes for registers, in a BAR of `size`. */
function machine(bytes: Uint8Array, size: number) {
  const view = new DataView(bytes.buffer);
  return simulation({
    devices: {
      [address]: () => ({
        config: endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(size)] }),
        read: (_bar, offset, width) => {
          if (width === 1) return view.getUint8(offset);
          return width === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
        },
        write: (_bar, offset, width, value) => {
          if (width === 1) view.setUint8(offset, value);
          else if (width === 2) view.setUint16(offset, value, true);
          else view.setUint32(offset, value, true);
        },
        reset: () => {},
      }),
    },
  });
}

/** The first page of such a device, mapped. */
function mapped(bytes: Uint8Array) {
  const sim = machine(bytes, 4096);
  const raw = new Raw(sim);
  return { sim, mapping: raw.window(raw.device(address).device, 0, 4096) };
}

describeDeviceMapping('a device in software', () => {
  const bytes = new Uint8Array(4 * 4096);
  new DataView(bytes.buffer).setUint32(4096, 0x11223344, true);
  new DataView(bytes.buffer).setUint32(8192, 0x55667788, true);
  const system = machine(bytes, bytes.length);
  const raw = new Raw(system);
  const fd = raw.device(address).device;
  return {
    ...{ system, fd, offset: 4096, first: 0x11223344, second: 0x55667788 },
    sleep: () => raw.setConfig(fd, 4, 2, 0),
    wake: () => raw.setConfig(fd, 4, 2, 2),
    end: () => system.close(fd),
  };
});

describeRegisterWindow('a device in software', (bytes) => mapped(bytes).mapping.window.window(0, bytes.length));

it('a mapping of a device in software closes its window when it is unmapped', () => {
  const { sim, mapping } = mapped(new Uint8Array(4096));
  const { window } = mapping;
  const part = window.window(8, 8);
  let told = 0;
  part.onClose = () => told++;
  expect(sim.userMappings.length).toBe(1);
  mapping.unmap();
  mapping.unmap();
  expect([window.closed, part.closed, told]).toEqual([true, true, 1]);
  expect(sim.userMappings.length).toBe(0);
});
