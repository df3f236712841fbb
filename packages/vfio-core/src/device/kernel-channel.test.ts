import { describe, expect, it } from 'vitest';
import { Errno, isDeviceGone, isVfioError } from '../errors/index.js';
import { type Script, ScriptedKernel } from '../testing/scripted-kernel.js';
import { encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import { IrqIndex } from './device.js';
import { encodeIrqRequest } from './irq-set.js';
import { KernelChannel } from './kernel-channel.js';
import { mappableSpan } from './mappable-span.js';

function channelOf(script: Script = {}) {
  const kernel = new ScriptedKernel(script);
  kernel.open.set(3, 'device');
  return { kernel, channel: new KernelChannel(kernel.system, 3, '0000:01:00.0') };
}

const thrownBy = (run: () => unknown): unknown => {
  try {
    run();
  } catch (thrown) {
    return thrown;
  }
  return 'nothing thrown';
};

const code = (run: () => unknown) => {
  const thrown = thrownBy(run);
  return isVfioError(thrown) ? thrown.code : String(thrown);
};

/** A BAR0 of 16 KiB whose second page may not be mapped. */
const sparse = (argument: number | Uint8Array | undefined): number | undefined => {
  const bytes = argument as Uint8Array;
  if (bytes[8] !== 0) return undefined;
  bytes.set(encode(structs.vfio_region_info, { argsz: 80, flags: 0xf, size: 0x4000n }).subarray(0, bytes.length));
  if (bytes.length < 80) return 0;
  const view = new DataView(bytes.buffer);
  view.setUint32(12, 32, true);
  bytes.set(encode(structs.vfio_region_info_cap_sparse_mmap, { nr_areas: 2 }), 32);
  view.setUint32(32, 0x10001, true);
  bytes.set(encode(structs.vfio_region_sparse_mmap_area, { offset: 0n, size: 0x1000n }), 48);
  bytes.set(encode(structs.vfio_region_sparse_mmap_area, { offset: 0x2000n, size: 0x2000n }), 64);
  return 0;
};

describe('windows', () => {
  it('maps whole pages around a part, and unmaps them when the window closes', () => {
    const { kernel, channel } = channelOf();
    const window = channel.window(0, 0x1008, 0x10);
    expect(kernel.log).toContain('mmap window 4096+4096');
    expect(window.length).toBe(0x10);
    window.close();
    expect(kernel.log.at(-1)).toBe('munmap window');
    expect(kernel.memoryMapped).toBe(0);
  });

  it('is of one kind: a part that includes a page which may not be mapped is positioned, and `mapped` is refused', () => {
    const { kernel, channel } = channelOf({ ioctls: { VFIO_DEVICE_GET_REGION_INFO: sparse } });
    expect(channel.region(0).mappableAreas).toHaveLength(2);
    expect(channel.window(0, 0xff0, 0x20).length).toBe(0x20);
    expect(code(() => channel.window(0, 0x1000, 4, 'mapped'))).toBe('ERR_VFIO_NOT_SUPPORTED');
    expect(kernel.memoryMapped).toBe(0);
    channel.window(0, 0x2000, 0x2000, 'mapped');
    expect(kernel.memoryMapped).toBe(1);
    channel.window(0, 0x2000, 4, 'positioned');
    expect(kernel.memoryMapped).toBe(1);
  });

  it('[DEV-22] falls back to positioned where an old kernel refuses the pages of the MSI-X table', () => {
    const { channel } = channelOf({ mapDevice: -Errno.EINVAL });
    expect(channel.window(0, 0, 16).length).toBe(16);
    expect(code(() => channel.window(0, 0, 16, 'mapped'))).toBe('ERR_VFIO_SYSTEM');
  });

  it('[DEV-24] says that somebody else holds the BAR', () => {
    const { channel } = channelOf({ mapDevice: -Errno.EBUSY });
    expect(code(() => channel.window(0, 0, 16))).toBe('ERR_VFIO_BUSY');
  });

  it('reads all-ones through windows of both kinds after the channel closed', () => {
    const { channel } = channelOf();
    const mapped = channel.window(0, 0, 16);
    const positioned = channel.window(7, 0, 16);
    expect(positioned.read16(4)).toBe(6);
    channel.close();
    expect([mapped.read32(0), positioned.read32(0)]).toEqual([0xffffffff, 0xffffffff]);
    expect(code(() => channel.window(0, 0, 4))).toBe('ERR_VFIO_CLOSED');
  });

  it('[DEV-11] maps the whole page of a BAR that is smaller', () => {
    const region = { index: 0, size: 256, readable: true, writable: true, mappable: true, fileOffset: 0 };
    const areas = [{ offset: 0, size: 256 }];
    expect(mappableSpan({ ...region, mappableAreas: areas }, 16, 16, 4096)).toEqual({ start: 0, length: 4096 });
    expect(mappableSpan({ ...region, mappable: false, mappableAreas: [] }, 16, 16, 4096)).toBeUndefined();
  });
});

describe('regions', () => {
  it('refuses an index that the device does not have, and a range outside the region', () => {
    const { channel } = channelOf();
    expect(code(() => channel.region(9))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => channel.region(-1))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => channel.read(7, 250, new Uint8Array(8)))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => channel.read(7, -1, new Uint8Array(1)))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => channel.window(0, 0x3ffc, 8))).toBe('ERR_VFIO_ARGUMENT');
  });

  it('says when a region gave fewer bytes than asked for', () => {
    const { kernel, channel } = channelOf();
    kernel.system.pread = () => 2;
    expect(code(() => channel.read(7, 0, new Uint8Array(4)))).toBe('ERR_VFIO_SHORT_ACCESS');
  });
});

describe('interrupts', () => {
  it('encodes eventfds by their place, and -1 as itself', () => {
    const { bytes, places } = encodeIrqRequest({
      index: 2,
      start: 1,
      action: 'trigger',
      data: { kind: 'eventfd', fds: [40, -1, 41] },
    });
    expect(new Int32Array(bytes.buffer)).toEqual(new Int32Array([32, 0x24, 2, 1, 3, 0, -1, 0]));
    expect(places).toEqual({
      fds: [
        { at: 20, fd: 40 },
        { at: 28, fd: 41 },
      ],
    });
  });

  it('encodes bools one byte each, and none without data', () => {
    const bool = encodeIrqRequest({ index: 0, start: 0, action: 'unmask', data: { kind: 'bool', values: [true] } });
    expect([...bool.bytes]).toEqual([21, 0, 0, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    const none = encodeIrqRequest({ index: 1, start: 0, action: 'mask', data: { kind: 'none', count: 2 } });
    expect(new Uint32Array(none.bytes.buffer)).toEqual(new Uint32Array([20, 0x9, 1, 0, 2]));
  });

  it('[IRQ-26] gives back the number of vectors that could have been had', () => {
    const { channel } = channelOf({ ioctls: { VFIO_DEVICE_SET_IRQS: () => 2 } });
    expect(channel.setIrqs({ index: 2, start: 0, action: 'trigger', data: { kind: 'eventfd', fds: [4, 5, 6] } })).toBe(
      2,
    );
  });

  it('[IRQ-4] takes EINVAL for an index of the device as: no such interrupt', () => {
    const { channel } = channelOf({ ioctls: { VFIO_DEVICE_GET_IRQ_INFO: () => -Errno.EINVAL } });
    expect(channel.irq(IrqIndex.ERR).count).toBe(0);
    expect(code(() => channel.irq(5))).toBe('ERR_VFIO_ARGUMENT');
  });
});

describe('reset and liveness', () => {
  it('[RST-1] says that a device has no function reset', async () => {
    const { channel } = channelOf({ ioctls: { VFIO_DEVICE_RESET: () => -Errno.EINVAL } });
    await expect(channel.reset()).rejects.toMatchObject({ code: 'ERR_VFIO_NOT_SUPPORTED', errnoName: 'EINVAL' });
    const locked = channelOf({ ioctls: { VFIO_DEVICE_RESET: () => -Errno.EAGAIN } }).channel;
    await expect(locked.reset()).rejects.toMatchObject({ code: 'ERR_VFIO_BUSY' });
  });

  it('knows a device as gone once a window faulted and configuration space is all-ones, also after that window closed', () => {
    const { kernel, channel } = channelOf();
    const window = channel.window(0, 0, 16);
    channel.checkAlive();
    kernel.faulted = true;
    // [CFG-10] The vendor's id is the kernel's record.
    kernel.config.fill(0xff, 2);
    expect(isDeviceGone(thrownBy(() => channel.checkAlive()))).toBe(true);
    window.close();
    expect(isDeviceGone(thrownBy(() => channel.checkAlive()))).toBe(true);
    expect(kernel.log).not.toContain('remap window');
  });

  it('knows a device as gone once a window faulted and configuration space cannot be read', () => {
    for (const answer of [-Errno.ENODEV, -Errno.EINVAL, 0]) {
      const { kernel, channel } = channelOf();
      channel.window(0, 0, 16);
      kernel.faulted = true;
      kernel.system.pread = () => answer;
      expect(isDeviceGone(thrownBy(() => channel.checkAlive()))).toBe(true);
    }
  });

  it('knows a device that is not PCI as gone once a window faulted: there is no decoding to look at', () => {
    const platform = (argument: number | Uint8Array | undefined) => {
      (argument as Uint8Array).set(encode(structs.vfio_device_info, { flags: 4, num_regions: 9, num_irqs: 5 }));
      return 0;
    };
    const { kernel, channel } = channelOf({ ioctls: { VFIO_DEVICE_GET_INFO: platform } });
    channel.window(0, 0, 16);
    kernel.faulted = true;
    expect(isDeviceGone(thrownBy(() => channel.checkAlive()))).toBe(true);
  });

  it('[CFG-27] says that memory decoding is off after a fault, and maps the window afresh once it is on', () => {
    const { kernel, channel } = channelOf();
    const window = channel.window(0, 0, 16);
    kernel.config[4] = 4;
    channel.checkAlive();
    kernel.faulted = true;
    const error = thrownBy(() => channel.checkAlive());
    expect(error).toMatchObject({
      code: 'ERR_VFIO_DEVICE_ASLEEP',
      details: { address: '0000:01:00.0', memoryDecoding: false, powerState: 0 },
      remedy: expect.stringMatching(/^Switch memory decoding on .* checkAlive\(\)/),
    });
    expect(isDeviceGone(error)).toBe(false);
    expect(kernel.log).not.toContain('remap window');
    expect(channel.remappings).toBe(0);
    kernel.config[4] = 6;
    channel.checkAlive();
    expect(kernel.log.filter((line) => line === 'remap window')).toHaveLength(1);
    expect([window.closed, kernel.faulted]).toEqual([false, false]);
    channel.checkAlive();
    expect(kernel.log.filter((line) => line === 'remap window')).toHaveLength(1);
    expect(channel.remappings).toBe(1);
  });

  it('[CFG-27] says that a device sleeps in D3 after a fault, and goes on once it is in D0', () => {
    const { kernel, channel } = channelOf();
    channel.window(0, 0, 16);
    // The power management capability comes second.
    kernel.config[0x06] = 0x10;
    kernel.config[0x34] = 0x50;
    kernel.config.set([0x05, 0x60], 0x50);
    kernel.config.set([0x01, 0x00, 3, 0, 3], 0x60);
    kernel.faulted = true;
    const asleep = { code: 'ERR_VFIO_DEVICE_ASLEEP', details: { memoryDecoding: true, powerState: 3 } };
    expect(thrownBy(() => channel.checkAlive())).toMatchObject({
      ...asleep,
      remedy: expect.stringMatching(/^Set .* D0/),
    });
    kernel.config[0x64] = 0;
    channel.checkAlive();
    expect(kernel.log).toContain('remap window');
  });

  it('comes to an end where the capability list loops, and takes the device as one without power management', () => {
    const { kernel, channel } = channelOf();
    channel.window(0, 0, 16);
    kernel.config[0x06] = 0x10;
    kernel.config[0x34] = 0x50;
    kernel.config.set([0x05, 0x50], 0x50);
    kernel.faulted = true;
    channel.checkAlive();
    expect(kernel.log).toContain('remap window');
  });

  it('maps nothing afresh, and is alive, where the window that faulted was closed and decoding is on again', () => {
    const { kernel, channel } = channelOf();
    const window = channel.window(0, 0, 16);
    kernel.config[4] = 0;
    kernel.faulted = true;
    window.close();
    expect(code(() => channel.checkAlive())).toBe('ERR_VFIO_DEVICE_ASLEEP');
    kernel.config[4] = 2;
    channel.checkAlive();
    expect(kernel.log).not.toContain('remap window');
  });

  it('says what the kernel answered where a window cannot be mapped afresh, and tries again at the next check', () => {
    const { kernel, channel } = channelOf({ remap: -Errno.ENOMEM });
    channel.window(0, 0, 16);
    kernel.faulted = true;
    for (let time = 0; time < 2; time++) {
      const error = thrownBy(() => channel.checkAlive());
      expect(error).toMatchObject({ code: 'ERR_VFIO_NO_MEMORY', errnoName: 'ENOMEM', syscall: 'mmap' });
    }
    expect(kernel.faulted).toBe(true);
  });

  it('knows a device as gone when its descriptor answers ENODEV', () => {
    const { channel } = channelOf({ ioctls: { VFIO_DEVICE_GET_INFO: () => -Errno.ENODEV } });
    expect(code(() => channel.checkAlive())).toBe('ERR_VFIO_DEVICE_GONE');
  });
});

describe('a channel of another thread', () => {
  it('leaves the device, its interrupts and its bus mastering alone when it closes', () => {
    const { kernel, channel } = channelOf();
    const exits = kernel.exits.size;
    const other = KernelChannel.attach(kernel.system, structuredClone(channel.share()));
    const window = other.window(0, 0, 16);
    expect(kernel.exits.size).toBe(exits + 1);
    other.close();
    expect(window.closed).toBe(true);
    expect(kernel.open.get(3)).toBe('device');
    expect(kernel.exits.size).toBe(exits);
  });
});
