import { expect, it } from 'vitest';
import { describeRegisterWindow } from '../../vfio-core/src/testing/register-window-contract.js';
import { describeSystemCalls } from '../../vfio-core/src/testing/system-calls-contract.js';
import { endpoint, memoryBar } from './model/endpoint.js';
import { simulation } from './simulation.js';
import { Raw } from './testing/raw.js';

describeSystemCalls('the simulation', () => simulation());

const address = '0000:01:00.0';

/** A device with these bytes for registers, mapped. */
function mapped(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer);
  const sim = simulation({
    devices: {
      [address]: () => ({
        config: endpoint({ vendor: 0x1234, device: 1, class: 0x118000, bars: [memoryBar(4096)] }),
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
  const raw = new Raw(sim);
  return { sim, mapping: raw.window(raw.device(address).device, 0, 4096) };
}

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
