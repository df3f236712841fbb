import { describe, expect, it } from 'vitest';
import { buildMachine } from '../machine-from-options.js';
import type { SimulationOptions } from '../options.js';
import { pageSizes, smallest, usableRanges } from './iommu-reach.js';

const [a, b] = ['0000:01:00.0', '0000:02:00.0'] as const;
const machine = (iommu: SimulationOptions['iommu'], kernel: SimulationOptions['kernel'] = '6.1') =>
  buildMachine({ iommu: iommu ?? true, kernel, groups: { 0: [a], 1: [b] } }).machine;

describe('what an IOMMU reaches', () => {
  it('[T1-14] is everything but the MSI window', () => {
    expect(usableRanges(machine({ addressBits: 39 }), [])).toEqual([
      [0n, 0xfedf_ffffn],
      [0xfef0_0000n, 0x7f_ffff_ffffn],
    ]);
  });

  it('[T1-6] leaves out what devices keep for themselves, in any order, overlapping and at the ends', () => {
    const own = {
      [a]: [[0n, 0xfffn]],
      [b]: [
        [0xfed0_0000n, 0xfee0_0fffn],
        [0xfff_f000n, 0xfff_ffffn],
      ],
    } as const;
    const facts = machine({ addressBits: 32, reserved: own });
    expect(usableRanges(facts, [a, b])).toEqual([
      [0x1000n, 0xfff_efffn],
      [0x1000_0000n, 0xfecf_ffffn],
      [0xfef0_0000n, 0xffff_ffffn],
    ]);
    expect(usableRanges(facts, ['0000:03:00.0'])).toHaveLength(2);
  });

  it('begins and ends with the aperture, the MSI window and the rest taken out of it', () => {
    expect(usableRanges(machine({ aperture: [0x8000_0000n, 0xffff_ffffn] }), [])).toEqual([
      [0x8000_0000n, 0xfedf_ffffn],
      [0xfef0_0000n, 0xffff_ffffn],
    ]);
    expect(usableRanges(machine({ aperture: [0x10_0000n, 0xfffffffn] }), [])).toEqual([[0x10_0000n, 0xfff_ffffn]]);
  });

  it("[T1-10] [T1-11] has page sizes from the processor's page up: all of them until 5.15", () => {
    expect(pageSizes(machine(true, '5.14'))).toBe(0xffff_ffff_ffff_f000n);
    expect(pageSizes(machine(true, '5.15'))).toBe(0x4020_1000n);
    expect(pageSizes(machine({ pageSizes: 0x20_0200n }))).toBe(0x20_1000n);
    expect(pageSizes(machine({ pageSizes: 0x1_0000n }))).toBe(0x1_0000n);
    expect(smallest(0x21_0000n)).toBe(0x1_0000n);
  });
});
