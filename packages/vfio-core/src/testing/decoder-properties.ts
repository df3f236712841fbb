/**
 * What every decoder of replies holds to, whatever the bytes: it answers something consistent or throws `ERR_VFIO_MALFORMED`, it ends, and
 * it looks at nothing but its bytes.
 */

import { mappableSpan } from '../device/mappable-span.js';
import { isVfioError } from '../errors/index.js';
import type { AddressRange } from '../memory/dma.js';
import { IovaAllocator } from '../memory/iova-allocator.js';
import {
  constants,
  decode,
  decodeDeviceInfo,
  decodeIovaRanges,
  decodeIrqInfo,
  decodeRegionInfo,
  decodeType1Info,
  encode,
  infoCapabilities,
  iommufdStructs,
  type Struct,
  structs,
} from '../uapi/index.js';
import { hexOf, randomBytes, randomWords, spoilt } from './mutations.js';
import { Random } from './random.js';

/** A decoder, replies of which the cases are made, and what must hold of its answer. */
export interface DecoderProperty {
  readonly samples: readonly Uint8Array[];
  /** Throws what the decoder throws, and an `Inconsistent` where the answer does not hold together. */
  readonly check: (reply: Uint8Array, random: Random) => unknown;
}

/** A decoder's answer that cannot be so. */
export class Inconsistent extends Error {}

export function claim(holds: boolean, what: string): void {
  if (!holds) throw new Inconsistent(what);
}

const natural = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const word = (value: number): boolean => natural(value) && value < 2 ** 32;

const joined = (...parts: readonly Uint8Array[]): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
};
const capability = (id: number, next: number): Uint8Array =>
  encode(structs.vfio_info_cap_header, { id, version: 1, next });
const words = (...values: number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);

/** Device addresses as a space takes them: whatever was decoded, an allocator on it keeps to the ranges. */
function checkRanges(ranges: readonly AddressRange[], random: Random): void {
  for (const { start, end } of ranges)
    claim(start >= 0n && start <= end && end < 2n ** 64n, `range ${start} to ${end}`);
  if (!random.once(8)) return;
  const iovas = new IovaAllocator(ranges, 4096);
  let last = 0n;
  for (const { start, end } of iovas.ranges) {
    claim(start > last && end >= start && end < 2n ** 53n, `usable ${start} to ${end} after ${last}`);
    last = end;
  }
  const start = iovas.allocate(1n);
  claim((start === undefined) === (iovas.ranges.length === 0), `${start} of ${iovas.ranges.length} ranges`);
}

const region = joined(
  encode(structs.vfio_region_info, {
    argsz: 96,
    flags: 0xf,
    index: 2,
    cap_offset: 32,
    size: 0x4000n,
    offset: 2n << 40n,
  }),
  capability(constants.VFIO_REGION_INFO_CAP_SPARSE_MMAP, 80),
  words(2, 0, 0, 0, 0x1000, 0, 0x3000, 0, 0x1000, 0),
  capability(constants.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 88),
  capability(constants.VFIO_REGION_INFO_CAP_TYPE, 0),
  words(0x8086, 1),
);

const type1 = joined(
  encode(structs.vfio_iommu_type1_info, { argsz: 84, flags: 3, iova_pgsizes: 0x4020_1000n, cap_offset: 24 }),
  capability(constants.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 36),
  words(65535),
  capability(constants.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 0),
  words(2, 0, 0, 0, 0xfedf_ffff, 0, 0xfef0_0000, 0, 0xffff_ffff, 0x7f),
);

const allStructs: Readonly<Record<string, Struct>> = { ...structs, ...iommufdStructs };
const structTables = Object.values(allStructs);

/** The decoders of replies by name. */
export const decoderProperties: Readonly<Record<string, DecoderProperty>> = {
  'device info': {
    samples: [encode(structs.vfio_device_info, { flags: 3, num_regions: 9, num_irqs: 5 })],
    check: (reply) => {
      const info = decodeDeviceInfo(reply);
      claim(word(info.flags) && word(info.regionCount) && word(info.irqCount), 'counts');
      return info;
    },
  },

  'region info': {
    samples: [region, region.subarray(0, 32), encode(structs.vfio_region_info, { index: 8 })],
    check: (reply, random) => {
      const info = decodeRegionInfo(reply);
      claim(word(info.index) && natural(info.size) && natural(info.fileOffset), 'numbers');
      claim(natural(info.fileOffset + info.size), 'its end lies beyond 2^53');
      claim(info.mappable || info.mappableAreas.length === 0, 'areas of a region that cannot be mapped');
      claim(info.mappableAreas.length <= reply.length / 16 + 1, 'more areas than the reply holds');
      claim(info.capabilities.length <= reply.length, 'more capabilities than the reply holds');
      for (const { offset, size } of info.mappableAreas) {
        claim(natural(offset) && natural(size) && offset + size <= info.size, `area ${offset}+${size}`);
      }
      const offset = random.below(info.size);
      const length = random.below(info.size - offset + 1);
      const span = mappableSpan(info, offset, length, 4096);
      if (span !== undefined) {
        const end = Math.ceil(info.size / 4096) * 4096;
        claim(span.start % 4096 === 0 && span.length % 4096 === 0, 'a span of broken pages');
        claim(span.start <= offset && span.start + span.length >= offset + length, 'a span of other pages');
        claim(span.start + span.length <= end, 'a span behind the region');
      }
      return info;
    },
  },

  'interrupt info': {
    samples: [encode(structs.vfio_irq_info, { flags: 7, index: 2, count: 64 })],
    check: (reply) => {
      const info = decodeIrqInfo(reply);
      claim(word(info.index) && word(info.count), 'counts');
      return info;
    },
  },

  'type1 info': {
    samples: [type1, type1.subarray(0, 24)],
    check: (reply, random) => {
      const info = decodeType1Info(reply);
      claim(info.pageSizes >= 0n && info.pageSizes < 2n ** 64n, 'page sizes');
      claim(info.available === undefined || word(info.available), 'mappings left');
      claim((info.ranges?.length ?? 0) <= reply.length / 16, 'more ranges than the reply holds');
      checkRanges(info.ranges ?? [], random);
      return info;
    },
  },

  'iommufd ranges': {
    // The structure, and behind it the list that it points to.
    samples: [
      joined(
        encode(iommufdStructs.iommu_ioas_iova_ranges, { num_iovas: 2, out_iova_alignment: 4096n }),
        encode(iommufdStructs.iommu_iova_range, { start: 0n, last: 0xfedf_ffffn }),
        encode(iommufdStructs.iommu_iova_range, { start: 0xfef0_0000n, last: 2n ** 48n - 1n }),
      ),
    ],
    check: (reply, random) => {
      const { size } = iommufdStructs.iommu_ioas_iova_ranges;
      const list = reply.subarray(size);
      const info = decodeIovaRanges(reply.subarray(0, size), list);
      claim(info.ranges.length <= list.length / 16, 'more ranges than the list holds');
      claim(info.alignment > 0n && (info.alignment & (info.alignment - 1n)) === 0n, `alignment ${info.alignment}`);
      checkRanges(info.ranges, random);
      return info;
    },
  },

  'capability chain': {
    samples: [region, type1],
    check: (reply, random) => {
      const first = random.once(4) ? random.below(reply.length + 16) : random.pick([24, 32, 40, 48]);
      const chain = infoCapabilities(reply, first, 16);
      const places = new Set(chain.map(({ offset }) => offset));
      claim(places.size === chain.length, 'a capability twice');
      for (const { id, version, offset } of chain) {
        claim(offset >= 16 && offset + 8 <= reply.length, `a capability at ${offset}`);
        claim(id <= 0xffff && version <= 0xffff, 'id and version');
      }
      return chain;
    },
  },

  structure: {
    samples: structTables.map((struct) => new Uint8Array(struct.size)),
    check: (reply, random) => {
      const struct = random.pick(structTables);
      const at = random.once(2) ? 0 : random.below(reply.length + 8);
      const values: Record<string, number | bigint> = decode(struct, reply, at);
      const again = encode(struct, values as never);
      for (const { offset, size, kind } of Object.values(struct.fields)) {
        if (kind === undefined) continue;
        for (let byte = offset; byte < offset + size; byte++) {
          claim(again[byte] === reply[at + byte], `byte ${byte} of a structure of ${struct.size}`);
        }
      }
      return values;
    },
  },
};

/** How the cases ended. */
export interface DecoderRun {
  readonly decoded: number;
  readonly malformed: number;
}

/** Where an answer may hold something else than was decoded, it holds a bigint too: JSON alone does not do. */
const plain = (answer: unknown): string =>
  JSON.stringify(answer, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

/**
 * Tries a decoder on this many replies. Throws an error with seed, case and bytes for the first that breaks a property.
 */
export function tryDecoder(name: string, property: DecoderProperty, seed: number, cases: number): DecoderRun {
  const { samples, check } = property;
  let decoded = 0;
  const answer = (reply: Uint8Array, seeded: number): string | undefined => {
    try {
      return plain(check(reply, new Random(seeded)));
    } catch (thrown) {
      if (isVfioError(thrown) && thrown.code === 'ERR_VFIO_MALFORMED') return undefined;
      throw thrown;
    }
  };
  const random = new Random(seed);
  for (let index = 0; index < cases; index++) {
    const kind = random.below(8);
    const reply =
      kind === 0
        ? randomBytes(random, random.below(200))
        : kind === 1
          ? randomWords(random, random.below(200))
          : spoilt(random, random.pick(samples));
    const seeded = random.word();
    try {
      const first = answer(reply, seeded);
      if (first !== undefined) decoded++;
      if (!random.once(16)) continue;
      // The same bytes among others answer the same: nothing outside was looked at.
      const before = random.below(9);
      const around = randomBytes(random, before + reply.length + 64);
      around.set(reply, before);
      claim(
        answer(around.subarray(before, before + reply.length), seeded) === first,
        'another answer among other bytes',
      );
    } catch (thrown) {
      const what = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
      throw new Error(`${name}, seed ${seed}, case ${index}: ${what}\n${hexOf(reply)}`, { cause: thrown });
    }
  }
  return { decoded, malformed: cases - decoded };
}
