import { describe, expect, it } from 'vitest';
import type { Device } from '../device/device.js';
import { Errno, isVfioError, type VfioError } from '../errors/index.js';
import { openDevice } from '../opening/open.js';
import type { MemoryRequest } from '../seam/system-calls.js';
import { BDF, type Script, ScriptedKernel } from '../testing/scripted-kernel.js';
import { decode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import { attachDma } from './attach.js';
import { ContiguousBuffer } from './buffer.js';
import type { Type1Space } from './type1-space.js';

async function opened(script: Script = {}): Promise<{ kernel: ScriptedKernel; device: Device; dma: Type1Space }> {
  const kernel = new ScriptedKernel(script);
  const device = await openDevice(BDF, { backend: kernel.system });
  return { kernel, device, dma: device.dma as Type1Space };
}

const failure = (run: () => unknown): VfioError => {
  try {
    run();
  } catch (thrown) {
    if (isVfioError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error('nothing thrown');
};

describe('allocate', () => {
  it('gives zeroed memory in whole pages of its own, and maps it before it hands it out', async () => {
    const { kernel, dma } = await opened();
    const [a, b] = [dma.allocate(100), dma.allocate(4097)];
    expect([a.length, a.bytes.length, b.length]).toEqual([100, 100, 4097]);
    expect(a.bytes.every((byte) => byte === 0)).toBe(true);
    expect(kernel.mappings).toEqual(
      new Map([
        [a.address, 4096n],
        [b.address, 8192n],
      ]),
    );
    expect(a.share().offset + a.share().mapped).toBeLessThanOrEqual(b.share().offset);
  });

  it('unmaps from the device’s reach before it frees, and detaches the bytes', async () => {
    const { kernel, dma } = await opened();
    const [buffer] = [dma.allocate(4096), dma.allocate(4096)];
    const before = kernel.log.length;
    buffer?.close();
    buffer?.close();
    expect(kernel.log.slice(before)).toEqual(['VFIO_IOMMU_UNMAP_DMA', 'munmap memory', 'punch 0+4096']);
    expect([buffer?.closed, buffer?.bytes.length]).toEqual([true, 0]);
    expect(failure(() => buffer?.share()).code).toBe('ERR_VFIO_CLOSED');
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 53])('refuses %d bytes', async (bytes) => {
    const { dma } = await opened();
    expect(failure(() => dma.allocate(bytes)).code).toBe('ERR_VFIO_ARGUMENT');
    expect(failure(() => dma.allocate(1, { alignment: 3 })).code).toBe('ERR_VFIO_ARGUMENT');
  });

  it('tells the kernel which way data may go', async () => {
    const flags: number[] = [];
    const { dma } = await opened({
      ioctls: {
        VFIO_IOMMU_MAP_DMA: (bytes) => {
          flags.push(decode(structs.vfio_iommu_type1_dma_map, bytes as Uint8Array).flags);
          return undefined;
        },
      },
    });
    dma.allocate(1);
    dma.allocate(1, { direction: 'device-reads' });
    dma.allocate(1, { direction: 'device-writes' });
    expect(flags).toEqual([3, 1, 2]);
  });

  const limits = 'Limit   Soft Limit   Hard Limit   Units\nMax locked memory         65536     65536     bytes\n';

  it('[T1-29] says how much locked memory is needed, allowed and used, before the kernel is asked', async () => {
    const { kernel, device, dma } = await opened({
      files: { '/proc/self/limits': limits, '/proc/self/status': 'Name:\tnode\nVmLck:\t      32 kB\n' },
    });
    expect(dma.headroom().memlock).toEqual({ limit: 65536, used: 32768, left: 32768, counts: 'process' });
    const error = failure(() => dma.allocate(65536));
    expect(error).toMatchObject({
      code: 'ERR_VFIO_MEMLOCK',
      errno: undefined,
      details: { needed: 65536, limit: 65536, used: 32768 },
    });
    expect(error.message).toContain('ulimit -l 96');
    expect(kernel.log.filter((line) => line.includes('MAP_DMA'))).toEqual([]);
    expect([kernel.mappings.size, kernel.memoryMapped]).toEqual([0, 0]);
    expect(dma.allocate(32768).length).toBe(32768);
    device.close();
    expect(kernel.clean).toBe(true);
  });

  it('[T1-29] says the same where the kernel refuses in spite of a capability that should lift the limit', async () => {
    const { kernel, dma } = await opened({
      ioctls: { VFIO_IOMMU_MAP_DMA: () => -Errno.ENOMEM },
      files: { '/proc/self/limits': limits, '/proc/self/status': 'VmLck:\t      32 kB\nCapEff:\t000001ffffffffff\n' },
    });
    expect(dma.headroom().memlock.left).toBe(Number.POSITIVE_INFINITY);
    const error = failure(() => dma.allocate(65536));
    expect(error).toMatchObject({
      code: 'ERR_VFIO_MEMLOCK',
      errnoName: 'ENOMEM',
      details: { needed: 65536, limit: 65536, used: 32768 },
    });
    expect([kernel.mappings.size, kernel.memoryMapped]).toEqual([0, 0]);
  });

  it('calls it lack of memory where the limit is not what stands in the way', async () => {
    const files = {
      '/proc/self/limits': 'Max locked memory         unlimited            unlimited            bytes\n',
    };
    const { dma } = await opened({ ioctls: { VFIO_IOMMU_MAP_DMA: () => -Errno.ENOMEM }, files });
    expect(failure(() => dma.allocate(4096)).code).toBe('ERR_VFIO_NO_MEMORY');
  });

  it('leaves nothing behind where the kernel refuses, and may use the addresses again', async () => {
    let answer: number | undefined = -Errno.EEXIST;
    const { kernel, dma } = await opened({ ioctls: { VFIO_IOMMU_MAP_DMA: () => answer } });
    expect(failure(() => dma.allocate(4096))).toMatchObject({ code: 'ERR_VFIO_MAPPING', errnoName: 'EEXIST' });
    await expect(dma.allocateAsync(4096)).rejects.toMatchObject({ code: 'ERR_VFIO_MAPPING' });
    answer = -Errno.ENOSPC;
    expect(failure(() => dma.allocate(4096)).message).toContain('dma_entry_limit');
    expect([kernel.mappings.size, kernel.memoryMapped]).toEqual([0, 0]);
    answer = undefined;
    expect(dma.allocate(4096).address).toBe(0x1000n);
    expect((await dma.allocateAsync(4096)).address).toBe(0x2000n);
  });

  it('leaves nothing behind where no memory file can be made', async () => {
    const { kernel, device, dma } = await opened({ memfd: -Errno.EMFILE });
    expect(failure(() => dma.allocate(4096)).code).toBe('ERR_VFIO_NO_MEMORY');
    device.close();
    expect(kernel.clean).toBe(true);
  });

  it('says that no device addresses fit', async () => {
    const { dma } = await opened();
    expect(failure(() => dma.allocate(0x2000, { below: 0x2000n })).code).toBe('ERR_VFIO_NO_IOVA');
  });

  it('keeps (leaks) memory that the kernel does not unmap, and still closes everything else', async () => {
    const { kernel, device, dma } = await opened({ ioctls: { VFIO_IOMMU_UNMAP_DMA: () => -Errno.EINVAL } });
    const buffer = dma.allocate(4096);
    expect(failure(() => buffer.close()).code).toBe('ERR_VFIO_MAPPING');
    expect([buffer.closed, kernel.memoryMapped]).toEqual([true, 1]);
    device.close();
    expect([...kernel.open.values()]).toEqual([]);
  });
});

describe('map', () => {
  it.each([
    ['IOMMU', () => -Errno.EINVAL],
    [
      'mappings',
      (argument: number | Uint8Array | undefined) => {
        new DataView((argument as Uint8Array).buffer).setBigUint64(16, 0n, true);
        return 0;
      },
    ],
  ])('[CTR-15] closes in order where the kernel took device, group and %s away while it closed', async (_, answer) => {
    let taken = false;
    const { kernel, device, dma } = await opened({
      ioctls: {
        VFIO_IOMMU_UNMAP_DMA: (argument) => (taken ? answer(argument) : undefined),
        VFIO_IOMMU_GET_INFO: () => (taken ? -Errno.EINVAL : undefined),
      },
    });
    const [buffer] = [dma.allocate(4096), dma.allocate(4096)];
    device.onClose('memory', () => {
      taken = true;
      kernel.mappings.clear();
      buffer?.close();
    });
    device.close();
    expect(kernel.clean).toBe(true);
  });

  it('lends a WebAssembly memory to the device, and leaves it alone when it closes', async () => {
    const { kernel, dma } = await opened();
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const mapping = dma.map(memory);
    mapping.bytes[5] = 7;
    expect(new Uint8Array(memory.buffer)[5]).toBe(7);
    expect(kernel.mappings.get(mapping.address)).toBe(65536n);
    expect(failure(() => mapping.share()).code).toBe('ERR_VFIO_NOT_SUPPORTED');
    mapping.close();
    expect([mapping.bytes.length, memory.buffer.byteLength, kernel.mappings.size]).toEqual([0, 65536, 0]);
  });

  it('refuses memory that is not page-aligned, and a view of a part', async () => {
    const { kernel, dma } = await opened();
    expect(failure(() => dma.map(new ArrayBuffer(100))).code).toBe('ERR_VFIO_ARGUMENT');
    expect(failure(() => dma.map(new Uint8Array(8192).subarray(1, 4097))).code).toBe('ERR_VFIO_ARGUMENT');
    expect(kernel.mappings.size).toBe(0);
  });
});

describe('DMA buffers', () => {
  it('gives both halves of any address below 2^53', () => {
    for (const address of [0x1000n, 0xffff_f000n, 0x1_0000_0000n, 0x1234_5678_9000n, 2n ** 53n - 0x2000n]) {
      const buffer = new ContiguousBuffer({ bytes: new Uint8Array(1), address, ticket: undefined, release: () => {} });
      for (const offset of [0, 1, 0xfff, 0x1000, 0x1fff]) {
        const wanted = address + BigInt(offset);
        expect(BigInt(buffer.low(offset))).toBe(wanted & 0xffff_ffffn);
        expect(BigInt(buffer.high(offset))).toBe(wanted >> 32n);
      }
    }
  });

  it('can be viewed by another thread from a ticket; closing the view leaves the device’s mapping', async () => {
    const { kernel, dma } = await opened();
    const buffer = dma.allocate(100);
    const view = attachDma(structuredClone(buffer.share()), { backend: kernel.system });
    expect([view.length, view.address, view.low(4)]).toEqual([100, buffer.address, buffer.low(4)]);
    view.close();
    expect([kernel.mappings.size, buffer.closed]).toEqual([1, false]);
  });

  it('give no device address once closed: it may be that of a later buffer', async () => {
    const { dma } = await opened();
    const buffer = dma.allocate(100);
    const { address } = buffer;
    buffer.close();
    expect(dma.allocate(100).address).toBe(address);
    expect(failure(() => buffer.address).code).toBe('ERR_VFIO_CLOSED');
    expect(failure(() => buffer.low(0)).code).toBe('ERR_VFIO_CLOSED');
  });

  it('that were closed are closed in every view, and can be viewed no more, even where the descriptor is another file', async () => {
    const { kernel, device, dma } = await opened();
    const buffer = dma.allocate(100);
    const ticket = structuredClone(buffer.share());
    const view = attachDma(ticket, { backend: kernel.system });
    expect(view.closed).toBe(false);
    buffer.close();
    expect(view.closed).toBe(true);
    expect(failure(() => view.address).code).toBe('ERR_VFIO_CLOSED');
    expect(failure(() => view.share()).code).toBe('ERR_VFIO_CLOSED');
    device.close();
    kernel.open.set(ticket.fd, 'another memfd');
    const before = kernel.memoryMapped;
    expect(failure(() => attachDma(ticket, { backend: kernel.system })).code).toBe('ERR_VFIO_CLOSED');
    expect(kernel.memoryMapped).toBe(before);
    view.close();
    expect(failure(() => view.low(0)).code).toBe('ERR_VFIO_CLOSED');
  });

  it('leave nothing mapped where the owner closes one while another thread makes a view', async () => {
    const { kernel, dma } = await opened();
    const buffer = dma.allocate(100);
    const ticket = buffer.share();
    const before = kernel.memoryMapped;
    const racing = {
      ...kernel.system,
      memory: (request: MemoryRequest) => {
        buffer.close();
        return kernel.system.memory(request);
      },
    };
    expect(failure(() => attachDma(ticket, { backend: racing })).code).toBe('ERR_VFIO_CLOSED');
    expect(kernel.memoryMapped).toBe(before - 1);
  });

  it('are closed with their space', async () => {
    const { kernel, device, dma } = await opened();
    const buffer = dma.allocate(100);
    device.close();
    expect([buffer.closed, buffer.bytes.length, dma.closed]).toEqual([true, 0, true]);
    expect(failure(() => dma.allocate(1)).code).toBe('ERR_VFIO_CLOSED');
    buffer.close();
    expect(kernel.clean).toBe(true);
  });
});
