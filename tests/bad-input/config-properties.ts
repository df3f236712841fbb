// What decoding of configuration space holds to, whatever the bytes: it ends, lists what lies inside, and fails in ways that have a code.
import { isVfioError } from 'vfio-core';
import { type Capability, ConfigSpace, capabilityTable, extendedTable, TYPE0_HEADER } from 'vfio-pci';
import { claim } from '../../packages/vfio-core/src/testing/decoder-properties.js';
import { hexOf, randomBytes, spoilt } from '../../packages/vfio-core/src/testing/mutations.js';
import { Random } from '../../packages/vfio-core/src/testing/random.js';
import { BytesWindow } from '../../packages/vfio-pci/src/config/bytes-window.js';
import { walkExtended, walkStandard } from '../../packages/vfio-pci/src/config/chain.js';
import { sampleConfig } from '../../packages/vfio-pci/src/testing/fake-device.js';

/** How the cases ended. */
export interface ConfigRun {
  /** Entries of the lists. */
  readonly entries: number;
  /** Lists that do not hold together. */
  readonly broken: number;
  /** Lists that lead beyond the bytes that are there. */
  readonly cutOff: number;
  /** Capabilities whose registers were bound and read. */
  readonly bound: number;
}

const sample = sampleConfig();

/** A space whose lists lead on: pointers that stay inside, ids that have tables, a sensible start. */
function plausible(random: Random): Uint8Array {
  const bytes = new Uint8Array(random.once(4) ? 0x100 : 0x1000);
  bytes.set(randomBytes(random, 0x100));
  const view = new DataView(bytes.buffer);
  bytes[0x06] = (bytes[0x06] as number) | 0x10;
  bytes[0x0e] = random.below(3) | (random.below(2) << 7);
  bytes[0x34] = 0x40 + random.below(48) * 4;
  for (let at = 0x40; at < 0x100; at += 4) {
    bytes[at] = random.below(24);
    bytes[at + 1] = random.once(10) ? 0 : 0x40 + random.below(48) * 4;
  }
  for (let at = 0x100; at < bytes.length; at += 4) {
    const next = random.once(10) ? 0 : 0x100 + random.below(0x3c0) * 4;
    view.setUint32(at, ((next << 20) | (random.below(16) << 16) | random.below(0x30)) >>> 0, true);
  }
  return bytes;
}

function bytesFor(random: Random): Uint8Array {
  const kind = random.below(16);
  if (kind === 0) return randomBytes(random, random.pick([64, 256, 4096]));
  if (kind === 1) return randomBytes(random, random.below(600));
  if (kind < 6) return plausible(random);
  const whole = kind < 11 ? sample : sample.subarray(0, random.pick([64, 256]));
  return spoilt(random, whole);
}

/** The lists alone, which costs little. @returns what became of them */
function walk(bytes: Uint8Array): { entries: number; broken: number; cutOff: number } {
  const window = new BytesWindow(bytes);
  const run = { entries: 0, broken: 0, cutOff: 0 };
  for (const [list, least, most] of [
    [walkStandard, 0x40, 0x100],
    [walkExtended, 0x100, 0x1000],
  ] as const) {
    const { entries, broken } = list(window);
    const end = Math.min(most, bytes.length);
    const places = new Set<number>();
    for (const { id, offset, control } of entries) {
      claim(offset >= least && offset % 4 === 0 && offset + 4 <= end, `an entry at ${offset}`);
      claim(!places.has(offset), `an entry twice, at ${offset}`);
      claim(id >= 0 && id < (least === 0x40 ? 0xff : 0xffff) && control <= 0xffff, `entry ${id}, ${control}`);
      places.add(offset);
    }
    run.entries += entries.length;
    if (broken?.code === 'ERR_VFIO_MALFORMED') run.broken++;
    else if (broken?.code === 'ERR_VFIO_NOT_SUPPORTED' && bytes.length < most) run.cutOff++;
    else claim(broken === undefined, String(broken));
  }
  return run;
}

/** All that a space offers, in words too. @returns capabilities whose registers were read */
function decodeAll(bytes: Uint8Array): number {
  const config = ConfigSpace.from(bytes);
  let bound = 0;
  for (const [list, most] of [
    [() => config.capabilities(), 0x100],
    [() => config.extendedCapabilities(), 0x1000],
  ] as const) {
    const short = bytes.length < most ? ['ERR_VFIO_NOT_SUPPORTED'] : [];
    const found = attempt(list, ['ERR_VFIO_MALFORMED', ...short]);
    if (typeof found === 'string') continue;
    for (const capability of found.slice(0, 12)) if (readRegisters(config, capability, most)) bound++;
  }
  claim(
    config.bytes().every((byte, at) => byte === bytes[at]),
    'other bytes than were given',
  );
  claim(config.toString().length > 0, 'no words');
  return bound;
}

/** They can be read where they lie inside the space, and not where they do not. */
function readRegisters(config: ConfigSpace, capability: Capability, most: number): boolean {
  const { extended, id, name, offset } = capability;
  const table = extended ? extendedTable(id) : capabilityTable(id, config.read16(offset + 2));
  const fits = offset + table.size <= Math.min(most, config.size);
  const registers = attempt(() => capability.registers, ['ERR_VFIO_MALFORMED']);
  claim((typeof registers !== 'string') === fits, `registers of ${name} at ${offset}`);
  if (fits) claim(String(registers).length > 0, 'no words');
  return fits;
}

function attempt<T extends object>(act: () => T, codes: readonly string[]): T | string {
  try {
    return act();
  } catch (thrown) {
    if (isVfioError(thrown) && codes.includes(thrown.code)) return thrown.code;
    throw thrown;
  }
}

/**
 * Walks the lists of this many spaces; one in `whole` is decoded altogether, which takes a thousand times as long: each register
 * becomes an object. Throws an error with seed, case and bytes for the first that breaks a property.
 */
export function tryConfigSpaces(seed: number, cases: number, whole: number): ConfigRun {
  const random = new Random(seed);
  const run = { entries: 0, broken: 0, cutOff: 0, bound: 0 };
  for (let index = 0; index < cases; index++) {
    const bytes = bytesFor(random);
    const all = random.once(whole);
    try {
      if (bytes.length < TYPE0_HEADER.size) {
        claim(attempt(() => ConfigSpace.from(bytes), ['ERR_VFIO_ARGUMENT']) === 'ERR_VFIO_ARGUMENT', 'too short');
        continue;
      }
      const { entries, broken, cutOff } = walk(bytes);
      run.entries += entries;
      run.broken += broken;
      run.cutOff += cutOff;
      if (all) run.bound += decodeAll(bytes);
    } catch (thrown) {
      const what = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
      throw new Error(`configuration space, seed ${seed}, case ${index}: ${what}\n${hexOf(bytes)}`, { cause: thrown });
    }
  }
  return run;
}
