import { describe, expect, it } from 'vitest';
import { openDevice } from '../opening/open.js';
import { BDF, ScriptedKernel } from '../testing/scripted-kernel.js';
import { Ioctl } from '../uapi/constants.js';
import { closePhases, IrqIndex } from './device.js';

const opened = async (kernel = new ScriptedKernel()) => ({
  kernel,
  device: await openDevice(BDF, { backend: kernel.system }),
});

/** What the kernel saw of a close. */
const closing = (kernel: ScriptedKernel, close: () => void) => {
  const before = kernel.log.length;
  close();
  return kernel.log.slice(before);
};

describe('closing', () => {
  it('[LIFE-3] interrupts off, bus mastering off, windows unmapped, memory unmapped, device closed, memory freed, group, container', async () => {
    const { kernel, device } = await opened();
    device.channel.window(0, 0, 16);
    device.channel.setIrqs({ index: IrqIndex.MSIX, start: 0, action: 'trigger', data: { kind: 'eventfd', fds: [9] } });
    kernel.config[4] = 6;
    device.dma.allocate(4096);
    const seen = closing(kernel, () => device.close());
    expect(seen).toEqual([
      'VFIO_DEVICE_SET_IRQS',
      'pwrite 7:4 [2,0]',
      'munmap window',
      'VFIO_CHECK_EXTENSION',
      'VFIO_IOMMU_UNMAP_DMA',
      'close device',
      'munmap memory',
      'punch 0+4096',
      'close memfd',
      'close /dev/vfio/7',
      'close /dev/vfio/vfio',
    ]);
    expect(kernel.clean).toBe(true);
  });

  it('has the same order in the list that is played at process exit and at the end of a Worker', async () => {
    const { kernel, device } = await opened();
    device.channel.window(0, 0, 16);
    device.dma.allocate(4096);
    const steps = [...kernel.exits.entries()]
      .sort(([a, { phase: p }], [b, { phase: q }]) => p - q || b - a)
      .map(([, { step }]) => {
        if (step.call === 'close') return `close ${kernel.open.get(step.fd)}`;
        return step.call === 'ioctl' ? `ioctl 0x${step.request.toString(16)}` : step.call;
      });
    const irqs = `ioctl 0x${Ioctl.VFIO_DEVICE_SET_IRQS.toString(16)}`;
    expect(steps).toEqual([
      irqs,
      irqs,
      irqs,
      'pwrite',
      'munmap',
      `ioctl 0x${Ioctl.VFIO_IOMMU_UNMAP_DMA.toString(16)}`,
      'close device',
      'close memfd',
      'close /dev/vfio/7',
      'close /dev/vfio/vfio',
    ]);
    device.close();
    expect(kernel.exits.size).toBe(0);
  });

  it('runs steps by phase, within one the last registered first, whatever one of them throws, and once', async () => {
    const { kernel, device } = await opened();
    const ran: string[] = [];
    for (const phase of [...closePhases].reverse()) {
      device.onClose(phase, () => ran.push(`${phase} 1`));
      device.onClose(phase, () => {
        ran.push(`${phase} 2`);
        if (phase === 'bus master') throw new Error('step failed');
      });
    }
    device.onClose('windows', () => ran.push('never'))();
    expect(() => device.close()).toThrow('step failed');
    device.close();
    expect(ran).toEqual(closePhases.flatMap((phase) => [`${phase} 2`, `${phase} 1`]));
    expect(device.closed).toBe(true);
    expect(kernel.clean).toBe(true);
    expect(() => device.onClose('device', () => {})).toThrow('ERR_VFIO_CLOSED');
  });

  it('closes by `using` and by `await using`', async () => {
    const { kernel, device } = await opened();
    {
      using scoped = device;
      expect(scoped.closed).toBe(false);
    }
    expect(kernel.clean).toBe(true);
    {
      await using scoped = await openDevice(BDF, { backend: kernel.system });
      expect(scoped.closed).toBe(false);
    }
    expect(kernel.clean).toBe(true);
  });

  it('keeps the descriptor while a reset is under way, and closes after it', async () => {
    const { kernel, device } = await opened();
    let finish = (_result: number) => {};
    kernel.system.ioctlAsync = () => new Promise((resolve) => (finish = resolve));
    const reset = device.channel.reset();
    expect(closing(kernel, () => device.close())).toEqual(['pwrite 7:4 [2,0]']);
    expect([device.closed, [...kernel.open.values()].includes('device')]).toEqual([true, true]);
    finish(0);
    await reset;
    await device[Symbol.asyncDispose]();
    expect(kernel.clean).toBe(true);
  });
});
