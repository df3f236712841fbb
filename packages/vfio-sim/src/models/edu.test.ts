import { describe, expect, it } from 'vitest';
import { simulation } from '../simulation.js';
import { Raw } from '../testing/raw.js';
import { edu } from './edu.js';

const address = '0000:00:03.0';

function open() {
  const sim = simulation({ devices: { [address]: edu() } });
  const raw = new Raw(sim);
  const { container, group, device } = raw.device(address);
  const { window } = raw.window(device, 0, 1 << 20);
  return { sim, raw, container, group, device, regs: window };
}

describe('edu', () => {
  it('says who it is, inverts what is written to its liveness register, and reads all-ones where it has no register', () => {
    const { regs } = open();
    expect(regs.read32(0x00)).toBe(0x010000ed);
    regs.write32(0x04, 0x12345678);
    expect(regs.read32(0x04)).toBe(0xedcba987);
    expect(regs.read32(0x0c)).toBe(0xffff_ffff);
    expect(regs.read16(0x04)).toBe(0);
  });

  it('is busy with a factorial until the machine goes on, and computes it modulo 2^32', () => {
    const { sim, regs } = open();
    for (const [n, factorial] of [
      [10, 3628800],
      [0, 1],
      [13, 1932053504],
      [0xffff_ffff, 0],
    ] as const) {
      regs.write32(0x08, n);
      expect(regs.read32(0x20) & 1).toBe(1);
      sim.now();
      expect(regs.read32(0x20) & 1).toBe(0);
      expect(regs.read32(0x08)).toBe(factorial);
    }
  });

  it('comes to an end in a loop that does nothing but read the status register', () => {
    const { regs } = open();
    regs.write32(0x08, 10);
    while (regs.read32(0x20) & 1);
    expect(regs.read32(0x08)).toBe(3628800);
  });

  it('copies from memory and back by DMA, through what is mapped, and interrupts at the end', () => {
    const { sim, raw, container, device, regs } = open();
    raw.busMaster(device);
    const memory = raw.memory(8192);
    expect(raw.map(container, 0x10000n, memory.address, 8192)).toBe(0);
    const event = sim.eventfd(0);
    expect(raw.irqs(device, 0x24, 1, 0, 1, [event])).toBe(0);
    memory.bytes.set([1, 2, 3, 4]);
    regs.write64(0x80, 0x10000n);
    regs.write64(0x88, 0x40000n);
    regs.write64(0x90, 4n);
    regs.write64(0x98, 1n | 4n);
    expect(sim.poll(event, 1000)).toBe(1);
    expect(regs.read32(0x24)).toBe(0x100);
    regs.write32(0x64, 0x100);
    regs.write64(0x80, 0x40000n);
    regs.write64(0x88, 0x11000n);
    regs.write64(0x98, 1n | 2n);
    while (regs.read64(0x98) & 1n) sim.now();
    expect([...memory.bytes.subarray(4096, 4100)]).toEqual([1, 2, 3, 4]);
    expect(sim.faults).toEqual([]);
  });

  it('takes 64-bit registers whole: a 32-bit store clears the upper half, one to the upper half is dropped', () => {
    const { regs } = open();
    regs.write64(0x80, 0x1_0000_0002n);
    regs.write32(0x84, 7);
    expect(regs.read64(0x80)).toBe(0x1_0000_0002n);
    regs.write32(0x80, 5);
    expect(regs.read64(0x80)).toBe(5n);
  });

  it('cuts DMA addresses to 28 bits', () => {
    const { sim, raw, device, regs } = open();
    raw.busMaster(device);
    regs.write64(0x80, 0x40000n);
    regs.write64(0x88, 0x9_2000_1000n);
    regs.write64(0x90, 8n);
    regs.write64(0x98, 3n);
    while (regs.read64(0x98) & 1n) sim.now();
    expect(sim.faults).toMatchObject([{ device: address, address: 0x1000n, write: true, reason: 'unmapped' }]);
    expect(sim.log.at(-1)).toMatch(/^DMAR: \[DMA Write NO_PASID\] Request device \[00:03\.0\] fault addr 0x1000 /);
  });
});
