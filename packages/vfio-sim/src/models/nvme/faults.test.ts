import { describe, expect, it } from 'vitest';
import { memoryDisk } from '../../disks/memory-disk.js';
import { NvmeHost } from '../../testing/nvme-host.js';

const flush = { opcode: 0, nsid: 1 };
const ready = () => new NvmeHost().enable().queue();

describe('faults of the NVMe controller', () => {
  it('drop the completion of one I/O command, after so many, and none of the admin queue', () => {
    const host = ready();
    host.controller.faults.dropCompletion({ after: 2 });
    const seen = Array.from({ length: 5 }, () => host.run(1, flush) !== undefined);
    expect(seen).toEqual([true, true, false, true, true]);
    host.controller.faults.dropCompletion();
    expect(host.run(0, { opcode: 0x0a, cdw10: 7 })?.status).toBe(0);
    expect(host.run(1, flush)).toBeUndefined();
    expect(host.run(1, flush)?.status).toBe(0);
  });

  it('a dropped completion raises no interrupt, but its command was carried out', () => {
    const disk = memoryDisk(1 << 20);
    const host = new NvmeHost({ disks: [disk] }).enable().queue(1);
    const data = host.bus.allocate(4096);
    data.bytes.fill(0x5a);
    host.controller.faults.dropCompletion({ opcode: 1 });
    const before = host.bus.interrupts.length;
    host.run(1, { opcode: 1, nsid: 1, prp1: data.address, cdw10: 3 });
    expect(host.bus.interrupts.length).toBe(before);
    const into = new Uint8Array(512);
    disk.read(3, into);
    expect(into).toEqual(new Uint8Array(512).fill(0x5a));
  });

  it('fail commands of an opcode with a status, without carrying them out', () => {
    const disk = memoryDisk(1 << 20);
    const host = new NvmeHost({ disks: [disk] }).enable().queue();
    const data = host.bus.allocate(4096);
    data.bytes.fill(0x5a);
    host.controller.faults.failCommand({ opcode: 1, status: 0x4280, count: 2 });
    expect(host.run(1, flush)?.status).toBe(0);
    const write = { opcode: 1, nsid: 1, prp1: data.address };
    expect([1, 2, 3].map(() => host.run(1, write)?.status)).toEqual([0x4280, 0x4280, 0]);
    expect(host.controller.logs.statistics.writes).toBe(1);
  });

  it('keep the controller from becoming ready until they are cleared', () => {
    const host = new NvmeHost();
    host.controller.faults.neverReady();
    host.enable();
    host.bus.advance(60_000);
    expect(host.csts & 3).toBe(0);
    host.disable();
    host.controller.faults.clear();
    host.enable();
    expect(host.csts & 3).toBe(1);
  });

  it('make the controller fail at once, until it is reset', () => {
    const host = ready();
    host.controller.faults.fatal();
    expect(host.csts & 2).toBe(2);
    expect(host.run(1, flush)).toBeUndefined();
    host.disable();
    expect(host.csts).toBe(0);
    host.enable().queue();
    expect(host.run(1, flush)?.status).toBe(0);
  });

  it('make I/O commands take their time, and admin commands not', () => {
    const host = ready();
    host.controller.faults.slow(250);
    host.put(1, flush);
    host.bus.advance(240);
    expect(host.take(1)).toBeUndefined();
    expect(host.run(0, { opcode: 0x0a, cdw10: 7 })?.status).toBe(0);
    host.bus.advance(10);
    expect(host.take(1)?.status).toBe(0);
  });

  it('a slow command can be aborted, and dies with its queue', () => {
    const host = ready();
    host.controller.faults.slow(250);
    const first = host.put(1, flush);
    host.put(1, flush);
    host.bus.advance(1);
    expect(host.run(0, { opcode: 8, cdw10: (first << 16) | 1 })).toMatchObject({ status: 0, result: 0 });
    expect(host.take(1)).toMatchObject({ id: first, status: 0x007 });
    expect(host.run(0, { opcode: 0, cdw10: 1 })?.status).toBe(0);
    expect(host.take(1)?.status).toBe(0x008);
    host.bus.advance(1000);
    expect(host.take(1)).toBeUndefined();
  });

  it('a slow command does not outlive a controller reset', () => {
    const host = ready();
    host.controller.faults.slow(250);
    host.put(1, flush);
    host.bus.advance(1);
    host.disable();
    host.controller.faults.clear();
    const { completion } = host.rings[1] as (typeof host.rings)[number];
    host.enable();
    host.bus.advance(1000);
    expect(completion.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('take the device off the bus: all-ones, and nothing happens', () => {
    const host = ready();
    host.controller.faults.allOnes();
    expect(host.csts).toBe(0xffff_ffff);
    expect(host.controller.read(0, 0, 1)).toBe(0xff);
    expect(host.controller.read64(0, 0)).toBe(0xffff_ffff_ffff_ffffn);
    expect(host.run(1, flush)).toBeUndefined();
    host.controller.faults.clear();
    expect(host.csts & 1).toBe(1);
  });
});
