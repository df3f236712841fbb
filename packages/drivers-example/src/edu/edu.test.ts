import { PciDevice } from 'vfio-pci';
import { edu, memoryDisk, nvmeController, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';
import { EDU_BUFFER, EDU_REACH, Edu } from './edu.js';

const ADDRESS = '0000:00:04.0';
const machine = () => simulation({ devices: { [ADDRESS]: edu() } });
const nothing = { openFds: 0, lockedBytes: 0, mappings: 0 };
const held = (sim: ReturnType<typeof machine>) => ({
  openFds: sim.openFds.length,
  lockedBytes: sim.lockedBytes,
  mappings: sim.mappings.length,
});

describe.each(['msi', 'intx', 'polled'] as const)('edu with %s', (interrupts) => {
  it('answers, computes, interrupts again and again, and copies both ways', async () => {
    const sim = machine();
    const device = await Edu.open(ADDRESS, { backend: sim, interrupts });
    expect(device.identification & 0xff).toBe(0xed);
    expect(device.invert(0x1234_5678)).toBe(0xedcb_a987);
    expect(await device.factorial(10)).toBe(3628800);
    expect(await device.factorial(0)).toBe(1);
    expect(await device.factorial(12)).toBe(479001600);
    for (const bits of [1, 0x8000, 0x20]) expect(await device.raise(bits)).toBe(bits);

    const buffer = device.allocate(4095);
    expect(buffer.address + 4095n).toBeLessThanOrEqual(EDU_REACH);
    for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = i * 3;
    const wanted = buffer.bytes.slice();
    await device.copyIn(buffer);
    buffer.bytes.fill(0);
    await device.copyOut(buffer, 100, 1000);
    expect(buffer.bytes.subarray(0, 100)).toEqual(wanted.subarray(1000, 1100));
    expect(device.interruptCount).toBe(interrupts === 'polled' ? 0 : 8);
    await device[Symbol.asyncDispose]();
    expect(held(sim)).toEqual(nothing);
    expect(sim.faults).toEqual([]);
    sim[Symbol.dispose]();
  });
});

it('edu refuses what it cannot compute or reach, before the device is told', async () => {
  const sim = machine();
  const device = await Edu.open(ADDRESS, { backend: sim });
  const argument = { code: 'ERR_VFIO_ARGUMENT' };
  for (const n of [-1, 13, 1.5]) await expect(device.factorial(n)).rejects.toMatchObject(argument);
  const buffer = device.allocate(8192);
  await expect(device.copyIn(buffer)).rejects.toMatchObject(argument);
  await expect(device.copyIn(buffer, 4096)).rejects.toMatchObject(argument);
  await expect(device.copyIn(buffer, 4095, 1)).rejects.toMatchObject(argument);
  await expect(device.copyOut(buffer, 0)).rejects.toMatchObject(argument);
  await expect(device.transfer(EDU_REACH - 8n, EDU_BUFFER.address, 16, false)).rejects.toMatchObject(argument);
  device.close();
  sim[Symbol.dispose]();
});

it('edu told to read where nothing is mapped is refused by the IOMMU, and goes on', async () => {
  const sim = machine();
  const device = await Edu.open(ADDRESS, { backend: sim });
  await device.transfer(0x500_0000n, EDU_BUFFER.address, 64, false);
  expect(sim.faults).toHaveLength(1);
  expect(await device.factorial(5)).toBe(120);
  device.close();
  sim[Symbol.dispose]();
});

it('another device is no edu, and nothing stays open', async () => {
  const sim = simulation({ devices: { [ADDRESS]: nvmeController({ disks: [memoryDisk(1 << 20)] }) } });
  await expect(Edu.open(ADDRESS, { backend: sim })).rejects.toMatchObject({ code: 'ERR_VFIO_NOT_SUPPORTED' });
  expect(held(sim)).toEqual(nothing);
  const device = await PciDevice.open(ADDRESS, { backend: sim });
  await expect(Edu.open(device)).rejects.toMatchObject({ code: 'ERR_VFIO_NOT_SUPPORTED' });
  expect(device.closed).toBe(true);
  sim[Symbol.dispose]();
});
