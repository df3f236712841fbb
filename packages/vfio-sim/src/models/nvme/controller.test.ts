import { describe, expect, it } from 'vitest';
import type { Disk } from '../../disks/disk.js';
import { memoryDisk } from '../../disks/memory-disk.js';
import { ModelBus } from '../../testing/model-bus.js';
import { NvmeHost } from '../../testing/nvme-host.js';
import { nvmeController } from './index.js';

const flush = { opcode: 0, nsid: 1 };

describe('the NVMe controller', () => {
  it('never works inside a register access', () => {
    const host = new NvmeHost().enable().queue();
    host.put(1, flush);
    expect(host.take(1)).toBeUndefined();
    host.bus.advance(0);
    expect(host.take(1)?.status).toBe(0);
  });

  it('becomes ready after its delay and not before', () => {
    const host = new NvmeHost({ readyDelay: 200 }).enable();
    expect(host.csts & 1).toBe(0);
    host.bus.advance(200);
    expect(host.csts & 1).toBe(1);
  });

  it('says what it was made with: CAP, Identify, BAR and vectors', () => {
    const host = new NvmeHost({
      queues: 4,
      queueEntries: 64,
      timeout: 1200,
      doorbellStride: 64,
      vectors: 3,
      mdts: 5,
      serial: 'S/N 1',
      model: 'M',
      firmware: '2',
    });
    const cap = host.controller.read64(0, 0);
    expect(cap & 0xffffn).toBe(63n);
    expect((cap >> 24n) & 0xffn).toBe(3n);
    expect((cap >> 32n) & 15n).toBe(4n);
    expect(host.controller.config.msix).toEqual({ bar: 0, table: 0x2000, pending: 0x3000, vectors: 3 });
    expect(host.controller.config.bars[0]).toMatchObject({ kind: 'memory', size: 0x4000, is64: true });
    host.enable().queue();
    const page = host.bus.allocate(4096);
    expect(host.run(0, { opcode: 6, prp1: page.address, cdw10: 1 })?.status).toBe(0);
    const text = new TextDecoder().decode(page.bytes);
    expect(text.slice(4, 24)).toBe('S/N 1'.padEnd(20));
    expect(text.slice(24, 64)).toBe('M'.padEnd(40));
    expect(text.slice(64, 72)).toBe('2'.padEnd(8));
    expect(page.bytes[77]).toBe(5);
    expect(host.run(1, flush)?.status).toBe(0);
  });

  it('has a configuration space whose capabilities form a chain to its end', () => {
    const { config } = nvmeController({ disks: [] })(new ModelBus());
    expect([...config.config.subarray(0x09, 0x0c)]).toEqual([0x02, 0x08, 0x01]);
    const found: number[] = [];
    for (let at = config.config[0x34] as number; at !== 0; at = config.config[at + 1] as number) {
      found.push(config.config[at] as number);
    }
    expect(found).toEqual([0x01, 0x10, 0x05, 0x11]);
    const bare = nvmeController({ disks: [], vectors: 0, messages: 0 })(new ModelBus()).config;
    expect(bare).not.toHaveProperty('msix');
    expect(bare).not.toHaveProperty('msi');
  });

  it('leaves holes in the namespace numbers where there is no disk', () => {
    const host = new NvmeHost({ disks: [undefined, memoryDisk(1 << 20), undefined, memoryDisk(1 << 20)] }).enable();
    const page = host.bus.allocate(4096);
    host.run(0, { opcode: 6, prp1: page.address, cdw10: 2 });
    expect([...new Uint32Array(page.bytes.slice(0, 16).buffer)]).toEqual([2, 4, 0, 0]);
  });

  it('refuses what no controller could be', () => {
    const disks = [memoryDisk(1 << 20)];
    for (const wrong of [
      { queues: 0 },
      { queueEntries: 1 },
      { queueEntries: 65537 },
      { doorbellStride: 6 },
      { doorbellStride: 8192 },
      { messages: 3 },
      { vectors: 2049 },
      { mdts: -1 },
      { serial: 'x'.repeat(21) },
      { model: 'ä' },
      { timeout: 200_000 },
      { namespaces: 0 },
    ]) {
      expect(() => nvmeController({ disks, ...wrong }), JSON.stringify(wrong)).toThrow('ERR_VFIO_ARGUMENT');
    }
  });

  it('sends MSI messages of a queue, holds them back while INTMS masks them, and sends them at INTMC', () => {
    const host = new NvmeHost({ messages: 4 }, { interruptMode: 'msi' }).enable().queue(2);
    host.bus.interrupts.length = 0;
    host.run(1, flush);
    expect(host.bus.interrupts).toEqual([2]);
    host.controller.write(0, 0x0c, 4, 1 << 2);
    host.put(1, flush);
    host.bus.advance(1);
    expect(host.bus.interrupts).toEqual([2]);
    host.controller.write(0, 0x10, 4, 1 << 2);
    expect(host.bus.interrupts).toEqual([2, 2]);
  });

  it('refuses a vector beyond those in force', () => {
    const completion = (host: NvmeHost, vector: number) => {
      const { address } = host.bus.allocate(4096);
      return host.run(0, { opcode: 5, prp1: address, cdw10: (15 << 16) | 1, cdw11: (vector << 16) | 3 })?.status;
    };
    expect(completion(new NvmeHost({ messages: 4 }, { interruptMode: 'msi' }).enable(), 4)).toBe(0x4108);
    expect(completion(new NvmeHost({ vectors: 4 }, { interruptMode: 'msix' }).enable(), 4)).toBe(0x4108);
    expect(completion(new NvmeHost({ vectors: 4 }, { interruptMode: 'msix' }).enable(), 3)).toBe(0);
    expect(completion(new NvmeHost({}, { interruptMode: 'intx' }).enable(), 1)).toBe(0x4108);
    expect(completion(new NvmeHost({}, { interruptMode: 'none' }).enable(), 0)).toBe(0);
  });

  it('turns a disk that throws into media errors, and one that is read-only into a write-protected namespace', () => {
    const broken: Disk = {
      ...{ blockSize: 512, blocks: 100 },
      read: () => {
        throw new Error('scratched');
      },
      write: () => {
        throw new Error('scratched');
      },
      clear: () => {},
      flush: () => {},
      close: () => {},
    };
    const host = new NvmeHost({ disks: [broken, { ...broken, readOnly: true }] }).enable().queue();
    const { address } = host.bus.allocate(4096);
    expect(host.run(1, { opcode: 2, nsid: 1, prp1: address })?.status).toBe(0x4281);
    expect(host.run(1, { opcode: 1, nsid: 1, prp1: address })?.status).toBe(0x4280);
    for (const opcode of [1, 8]) expect(host.run(1, { opcode, nsid: 2, prp1: address })?.status).toBe(0x4020);
    expect(host.controller.logs.statistics.mediaErrors).toBe(2);
  });

  it('keeps failed commands in its error log, the newest first', () => {
    const host = new NvmeHost().enable().queue();
    host.run(1, { opcode: 2, nsid: 1, cdw10: 5000 });
    const last = host.run(1, { opcode: 0x7f, nsid: 1 });
    const page = host.bus.allocate(4096);
    host.run(0, { opcode: 2, prp1: page.address, cdw10: (31 << 16) | 1 });
    const view = new DataView(page.bytes.buffer, page.bytes.byteOffset, 128);
    expect(view.getBigUint64(0, true)).toBe(2n);
    expect(view.getUint16(8, true)).toBe(1);
    expect(view.getUint16(10, true)).toBe(last?.id);
    expect(view.getUint16(12, true) >>> 1).toBe(0x4001);
    expect(view.getUint16(64 + 12, true) >>> 1).toBe(0x4080);
    expect(view.getBigUint64(64 + 16, true)).toBe(5000n);
  });

  it('aborts an open event request', () => {
    const host = new NvmeHost().enable();
    const id = host.put(0, { opcode: 0x0c });
    host.bus.advance(1);
    expect(host.take(0)).toBeUndefined();
    host.put(0, { opcode: 8, cdw10: id << 16 });
    host.bus.advance(1);
    expect(host.take(0)).toMatchObject({ id, status: 0x007 });
    expect(host.take(0)).toMatchObject({ status: 0, result: 0 });
  });

  it('refuses I/O queues as long as the host has not chosen their entry sizes', () => {
    const host = new NvmeHost().enable();
    host.controller.write(0, 0x14, 4, 1);
    const { address } = host.bus.allocate(4096);
    const create = { opcode: 5, prp1: address, cdw10: (15 << 16) | 1, cdw11: 1 };
    expect(host.run(0, create)?.status).toBe(0x4102);
    host.controller.write(0, 0x14, 4, 0x0046_0001);
    expect(host.run(0, create)?.status).toBe(0);
  });

  it('fails when the completion queue cannot be written', () => {
    const host = new NvmeHost().enable();
    host.disable();
    host.controller.write64(0, 0x30, 0xdead_0000n);
    host.controller.write(0, 0x14, 4, 0x0046_0001);
    host.bus.advance(10);
    (host.rings[0] as (typeof host.rings)[number]).tail = 0;
    host.put(0, { opcode: 0x0a, cdw10: 7 });
    host.bus.advance(1);
    expect(host.csts & 2).toBe(2);
    expect(host.bus.refused).toEqual([{ address: 0xdead_0000n, length: 16, write: true }]);
  });

  it('forgets everything at a function reset, and closes its disks at the end', () => {
    let closed = 0;
    const disk = { ...memoryDisk(512), blockSize: 512, blocks: 1, close: () => closed++ } as unknown as Disk;
    const host = new NvmeHost({ disks: [disk] }).enable();
    host.controller.reset();
    for (const register of [0x14, 0x1c, 0x24, 0x28, 0x30]) expect(host.controller.read(0, register, 4)).toBe(0);
    host.controller.close();
    expect(closed).toBe(1);
  });

  it('ignores narrow and misaligned stores, and registers that can only be read', () => {
    const host = new NvmeHost().enable();
    host.controller.write(0, 0x14, 1, 0);
    host.controller.write(0, 0x16, 2, 0);
    host.controller.write(0, 0x1c, 4, 0);
    host.controller.write(0, 0x08, 4, 0xffff_ffff);
    expect(host.controller.read(0, 0x14, 4)).toBe(0x0046_0001);
    expect(host.csts & 1).toBe(1);
    expect(host.controller.read(0, 0x08, 4)).toBe(0x0001_0400);
  });
});
