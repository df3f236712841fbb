import * as fc from 'fast-check';
import { isVfioError } from 'vfio-core';
import { describe, expect, it } from 'vitest';
import { sampleConfig } from '../testing/fake-device.js';
import { FakeMachine } from '../testing/fake-machine.js';
import { ConfigSpace, readConfig } from './index.js';

const code = (expected: string, details: object = {}) =>
  expect.objectContaining({ code: expected, details: expect.objectContaining(details) });

function changed(change: (bytes: Uint8Array, view: DataView) => void): ConfigSpace {
  const bytes = sampleConfig();
  change(bytes, new DataView(bytes.buffer));
  return ConfigSpace.from(bytes, '0000:01:00.0');
}

const plain = changed(() => undefined);

describe('configuration space', () => {
  it('is decoded by name', () => {
    expect(plain.vendorId).toBe(0x1b36);
    expect(plain.deviceId).toBe(0x0010);
    expect(plain.classCode).toBe(0x010802);
    expect(plain.revision).toBe(2);
    expect(plain.headerType).toBe(0);
    expect([plain.subsystemVendorId, plain.subsystemId]).toEqual([0x1af4, 0x1100]);
    expect(plain.interruptPin).toBe(1);
    expect(plain.header.COMMAND.fields()).toMatchObject({ IO_SPACE: 0, MEMORY_SPACE: 1, BUS_MASTER: 0 });
  });

  it('lists capabilities in the order of the chain', () => {
    expect(plain.capabilities().map(({ id, name, offset, version }) => [id, name, offset, version])).toEqual([
      [0x01, 'PM', 0x40, 3],
      [0x05, 'MSI', 0x50, undefined],
      [0x10, 'PCIe', 0x60, 2],
      [0x11, 'MSI-X', 0xa0, undefined],
    ]);
    expect(plain.extendedCapabilities().map(({ id, name, offset, version }) => [id, name, offset, version])).toEqual([
      [0x01, 'AER', 0x100, 2],
      [0x03, 'DSN', 0x150, 1],
    ]);
  });

  it('gives a capability its registers', () => {
    const msix = plain.capability('MSI-X')?.registers;
    expect(msix?.CONTROL.TABLE_SIZE.read()).toBe(64);
    expect([msix?.TABLE.BAR.read(), msix?.TABLE.OFFSET.read()]).toEqual([0, 0x400]);
    expect(plain.capability('PM')?.registers.CONTROL.POWER_STATE.text()).toBe('D0');
    expect(plain.capability('PCIe')?.registers.DEVICE_CAPABILITIES.FUNCTION_LEVEL_RESET.read()).toBe(1);
    expect(plain.capability('MSI')?.registers.CONTROL.ADDRESS_64.read()).toBe(1);
    expect(plain.capability('DSN')?.registers.HIGH.read()).toBe(0x01234567);
    expect(plain.capability('VPD')).toBeUndefined();
  });

  it('is shown in words', () => {
    const text = plain.toString();
    expect(text.split('\n')[0]).toBe(
      '0000:01:00.0 Non-Volatile memory controller [0108]: 1b36:0010 (rev 02) (prog-if 02 [NVM Express])',
    );
    expect(text).toContain('  Control: I/O- Mem+ BusMaster- DisINTx-');
    expect(text).toContain('  BAR0: memory at 0x00000000febf0000 (64-bit, non-prefetchable)');
    expect(text).toContain('  Interrupt: pin A, line 11');
    expect(text).toContain('  Capabilities: [a0] MSI-X\n    CONTROL @0xa2 = 0x0040  TABLE_SIZE=0x40');
    expect(text).toContain('  Capabilities: [100] AER version 2');
  });

  it('masks the two reserved bits of a pointer', () => {
    expect(changed((bytes) => (bytes[0x34] = 0x43)).capabilities()).toHaveLength(4);
  });

  it('has no capabilities where the status register says so', () => {
    expect(changed((_, view) => view.setUint16(6, 0, true)).capabilities()).toEqual([]);
  });

  it.each([
    ['a loop', (bytes: Uint8Array) => (bytes[0xa1] = 0x50), 'circle'],
    ['a pointer to itself', (bytes: Uint8Array) => (bytes[0x41] = 0x40), 'circle'],
    ['a pointer into the header', (bytes: Uint8Array) => (bytes[0x51] = 0x10), 'below 0x40'],
    ['an entry of all-ones', (bytes: Uint8Array) => (bytes[0x60] = 0xff), 'all-ones'],
  ])('answers ERR_VFIO_MALFORMED to %s, and how far it came', (_, change, words) => {
    const config = changed(change);
    expect(() => config.capabilities()).toThrow(code('ERR_VFIO_MALFORMED', { entries: expect.any(Array) }));
    expect(() => config.capabilities()).toThrow(words);
    expect(config.toString()).toContain('does not hold together');
  });

  it.each([
    ['a loop', (view: DataView) => view.setUint32(0x150, (0x100 << 20) | 0x1_0003, true), 'circle'],
    ['a pointer below 0x100', (view: DataView) => view.setUint32(0x150, (0x40 << 20) | 0x1_0003, true), 'below 0x100'],
    ['an entry of all-ones', (view: DataView) => view.setUint32(0x150, 0xffff_ffff, true), 'all-ones'],
  ])('answers ERR_VFIO_MALFORMED to %s in the extended list', (_, change, words) => {
    const config = changed((_bytes, view) => change(view));
    expect(() => config.extendedCapabilities()).toThrow(code('ERR_VFIO_MALFORMED'));
    expect(() => config.extendedCapabilities()).toThrow(words);
  });

  it('[CFG-51] passes over the anchor that a hidden first extended capability leaves', () => {
    const config = changed((_, view) => view.setUint32(0x100, 0x150 << 20, true));
    expect(config.extendedCapabilities().map(({ name }) => name)).toEqual(['DSN']);
  });

  it('has no extended capabilities where 0x100 reads zero or all-ones', () => {
    for (const value of [0, 0xffff_ffff]) {
      expect(changed((_, view) => view.setUint32(0x100, value, true)).extendedCapabilities()).toEqual([]);
    }
  });

  it('answers ERR_VFIO_MALFORMED to the registers of a capability that reaches past the end, and lists it', () => {
    const config = changed((bytes) => {
      bytes[0x34] = 0xfc;
      bytes.set([0x11, 0, 0, 0], 0xfc);
    });
    expect(config.capabilities().map(({ name }) => name)).toEqual(['MSI-X']);
    expect(() => config.capability('MSI-X')?.registers).toThrow(code('ERR_VFIO_MALFORMED', { offset: 0xfc }));
    expect(config.toString()).toContain('reaches past 0x100');
  });

  it('of 256 bytes has no extended capabilities; of 64 bytes says that the rest is not here', () => {
    expect(ConfigSpace.from(sampleConfig().subarray(0, 256)).extendedCapabilities()).toEqual([]);
    const short = ConfigSpace.from(sampleConfig().subarray(0, 64));
    expect(short.vendorId).toBe(0x1b36);
    expect(() => short.capabilities()).toThrow(code('ERR_VFIO_NOT_SUPPORTED', { bytes: 64 }));
    expect(short.toString()).toContain('beyond the 64 bytes');
    expect(() => ConfigSpace.from(new Uint8Array(63))).toThrow(code('ERR_VFIO_ARGUMENT'));
  });

  it('answers ERR_VFIO_WINDOW_RANGE outside and unaligned, ERR_VFIO_NOT_SUPPORTED to writes to captured bytes', () => {
    expect(() => plain.read32(4096)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => plain.read16(1)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => plain.read8(-1)).toThrow(code('ERR_VFIO_WINDOW_RANGE'));
    expect(() => plain.write16(4, 0)).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
    expect(() => plain.header.COMMAND.BUS_MASTER.write(1)).toThrow(code('ERR_VFIO_NOT_SUPPORTED'));
    expect(plain.header.COMMAND.BUS_MASTER.read()).toBe(0);
  });

  it('gives its bytes back', () => {
    expect(plain.bytes()).toEqual(sampleConfig());
  });

  it('decodes a thousand spaces of random bytes altogether: each ends, and fails only in ways that have a code', () => {
    const size = fc.constantFrom(64, 256, 4096);
    const spaces = size.chain((length) =>
      fc.record({
        bytes: fc.uint8Array({ minLength: length, maxLength: length, size: 'max' }),
        // Random pointers rarely stay in range: half of the spaces get some that do.
        sane: fc.boolean(),
        seed: fc.array(fc.nat(255), { minLength: 8, maxLength: 8 }),
      }),
    );
    let decoded = 0;
    fc.assert(
      fc.property(spaces, ({ bytes, sane, seed }) => {
        bytes[6] = (bytes[6] as number) | 0x10;
        if (sane && bytes.length > 64) {
          bytes[0x34] = 0x40 | (seed[0] as number);
          for (let at = 0x40; at < 0x100; at += 4) bytes[at + 1] = (seed[at % 8] as number) & 0xbc;
        }
        const config = ConfigSpace.from(bytes);
        for (const list of [() => config.capabilities(), () => config.extendedCapabilities()]) {
          for (const capability of attempt(list) ?? []) {
            attempt(() => String(capability.registers));
            decoded++;
          }
        }
        expect(config.toString().length).toBeGreaterThan(0);
      }),
      { numRuns: 1000 },
    );
    expect(decoded).toBeGreaterThan(100);
  });
});

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (thrown) {
    if (!isVfioError(thrown)) throw thrown;
    return undefined;
  }
}

describe('readConfig', () => {
  it('reads what sysfs shows, and closes the file', () => {
    const machine = new FakeMachine({ '0000:01:00.0': { config: sampleConfig() } });
    const config = readConfig('01:00.0', { backend: machine.system });
    expect(config.size).toBe(4096);
    expect(config.capability('AER')?.version).toBe(2);
    expect(machine.leaks).toEqual([]);
  });

  it('throws a typed error for an absent device, a wrong address, a file that is too short', () => {
    const machine = new FakeMachine({ '0000:01:00.0': { config: new Uint8Array(32) } });
    const backend = machine.system;
    expect(() => readConfig('0000:02:00.0', { backend })).toThrow(code('ERR_VFIO_NO_DEVICE'));
    expect(() => readConfig('../../etc', { backend })).toThrow(code('ERR_VFIO_ARGUMENT'));
    expect(() => readConfig('0000:01:00.0', { backend })).toThrow(code('ERR_VFIO_SHORT_ACCESS'));
    expect(machine.leaks).toEqual([]);
  });
});
