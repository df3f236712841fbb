import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVfioError } from '../errors/index.js';
import { decoderProperties, tryDecoder } from '../testing/decoder-properties.js';
import {
  constants,
  decode,
  decodeRegionInfo,
  decodeType1Info,
  encode,
  IommufdIoctl,
  infoCapabilities,
  iommufdStructs,
  type Struct,
  structs,
} from './index.js';
import { StructBytes } from './struct.js';

const code = (run: () => unknown) => {
  try {
    run();
  } catch (thrown) {
    return isVfioError(thrown) ? thrown.code : String(thrown);
  }
  return 'nothing thrown';
};

/** A reply out of 32-bit words. */
const words = (...values: number[]) => new Uint8Array(new Uint32Array(values).buffer);

const tables = Object.entries({ ...structs, ...iommufdStructs });

describe('the tables of the VFIO interface', () => {
  it.each(tables)('%s: fields lie inside, on their alignment, and do not overlap', (_tag, struct: Struct) => {
    const used = new Set<number>();
    for (const [name, { offset, size, kind }] of Object.entries(struct.fields)) {
      expect(offset + size, name).toBeLessThanOrEqual(struct.size);
      if (kind !== undefined) expect(offset % size, name).toBe(0);
      for (let at = offset; at < offset + size; at++) {
        expect(used.has(at), `${name} at ${at}`).toBe(false);
        used.add(at);
      }
    }
  });

  it('has the command words 0x3B64 + n, with no size or direction bits', () => {
    expect(constants.VFIO_GET_API_VERSION).toBe(0x3b64);
    expect(constants.VFIO_GROUP_GET_STATUS).toBe(0x3b67);
    expect(constants.VFIO_DEVICE_GET_INFO).toBe(0x3b6b);
    expect(constants.VFIO_DEVICE_SET_IRQS).toBe(0x3b6e);
    expect(constants.VFIO_IOMMU_UNMAP_DMA).toBe(0x3b72);
    expect(constants.VFIO_DEVICE_DETACH_IOMMUFD_PT).toBe(0x3b78);
    expect(IommufdIoctl.IOMMU_DESTROY).toBe(0x3b80);
    expect(IommufdIoctl.IOMMU_IOAS_CHANGE_PROCESS).toBe(0x3b92);
  });

  it('sets fields of bytes that are made once, and leaves the others', () => {
    const made = new StructBytes(iommufdStructs.iommu_ioas_unmap, { ioas_id: 7 });
    const bytes = made.set({ iova: 0x1000n, length: 0x2000n });
    expect(bytes).toEqual(encode(iommufdStructs.iommu_ioas_unmap, { ioas_id: 7, iova: 0x1000n, length: 0x2000n }));
    expect(made.set({ length: 0x3000n })).toBe(bytes);
    // What the kernel writes there.
    new DataView(bytes.buffer).setBigUint64(16, 0x5000n, true);
    expect([made.get('ioas_id'), made.get('iova'), made.get('length')]).toEqual([7, 0x1000n, 0x5000n]);
    expect(code(() => made.set({ length: -1n }))).toBe('ERR_VFIO_ARGUMENT');
  });

  it('encodes a structure byte for byte, argsz filled in', () => {
    const bytes = encode(structs.vfio_iommu_type1_dma_map, { flags: 3, vaddr: 0x7f00n, iova: 0x1000n, size: 0x2000n });
    expect(bytes).toEqual(words(32, 3, 0x7f00, 0, 0x1000, 0, 0x2000, 0));
    expect(encode(structs.vfio_irq_set, { flags: 0x24, index: 2, start: 1, count: 3 }, 32).subarray(0, 20)).toEqual(
      words(32, 0x24, 2, 1, 3),
    );
  });

  it('[IFD-17] fills in the size in front of the structures of iommufd, and no size that is another field', () => {
    expect(encode(iommufdStructs.iommu_ioas_unmap, { ioas_id: 2, iova: 0x1000n, length: 0x2000n })).toEqual(
      words(24, 2, 0x1000, 0, 0x2000, 0),
    );
    expect(encode(structs.vfio_iommu_type1_dma_unmap)).toEqual(words(24, 0, 0, 0, 0, 0));
    expect(encode(structs.vfio_region_sparse_mmap_area)).toEqual(words(0, 0, 0, 0));
  });

  it('refuses a value that does not fit its field', () => {
    expect(code(() => encode(structs.vfio_irq_info, { index: -1 }))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => encode(structs.vfio_irq_info, { index: 2 ** 32 }))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => encode(structs.vfio_iova_range, { start: -1n }))).toBe('ERR_VFIO_ARGUMENT');
    expect(code(() => encode(structs.vfio_iova_range, { start: 2n ** 64n }))).toBe('ERR_VFIO_ARGUMENT');
  });

  it.each(tables)('%s: what was encoded decodes to itself', (_tag, struct: Struct) => {
    const plain = Object.entries(struct.fields).filter(([, { kind }]) => kind !== undefined);
    const arbitrary = fc.record(
      Object.fromEntries(
        plain.map(([name, { size, kind }]) => [
          name,
          kind === 'u64'
            ? fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
            : kind === 's32'
              ? fc.integer()
              : fc.integer({ min: 0, max: 2 ** (8 * size) - 1 }),
        ]),
      ),
    );
    fc.assert(
      fc.property(arbitrary, (values) => {
        expect(decode(struct, encode(struct, values as never))).toEqual(values);
      }),
    );
  });
});

describe('capability chains', () => {
  it('[DEV-14] walks headers of id, version and next, offsets counted from the start of the structure', () => {
    const reply = new Uint8Array(56);
    reply.set(words((1 << 16) | 3, 40), 32);
    reply.set(words((1 << 16) | 1, 0), 40);
    expect(infoCapabilities(reply, 32, 32)).toEqual([
      { id: 3, version: 1, offset: 32 },
      { id: 1, version: 1, offset: 40 },
    ]);
    expect(infoCapabilities(reply, 0, 32)).toEqual([]);
  });

  it('calls a chain malformed that meets itself, leaves the reply, or points into the structure', () => {
    const loop = new Uint8Array(48);
    loop.set(words(1, 40), 32);
    loop.set(words(2, 32), 40);
    expect(code(() => infoCapabilities(loop, 32, 32))).toBe('ERR_VFIO_MALFORMED');
    expect(code(() => infoCapabilities(new Uint8Array(48), 44, 32))).toBe('ERR_VFIO_MALFORMED');
    expect(code(() => infoCapabilities(new Uint8Array(48), 8, 32))).toBe('ERR_VFIO_MALFORMED');
  });
});

describe('replies', () => {
  it.each(Object.entries(decoderProperties))(
    '%s: spoilt and random bytes decode to something consistent or are called malformed, and nothing outside is read',
    (name, property) => {
      const { decoded, malformed } = tryDecoder(name, property, 1, 10_000);
      expect(decoded).toBeGreaterThan(1000);
      expect(malformed).toBeGreaterThan(1000);
    },
  );

  it('calls a region malformed whose end in its file is no exact number', () => {
    const ends = (low: number, high: number) => () => decodeRegionInfo(words(32, 7, 0, 0, 0x4000, 0, low, high));
    expect(code(ends(0, 0x1f_ffff))).toBe('nothing thrown');
    expect(code(ends(0xffff_c000, 0x1f_ffff))).toBe('ERR_VFIO_MALFORMED');
  });

  it('[DEV-12] lists the areas of SPARSE_MMAP', () => {
    const reply = new Uint8Array(32 + 16 + 32);
    reply.set(words(80, 0xf, 0, 32, 0x4000, 0, 0, 0));
    reply.set(words((1 << 16) | 1, 0, 2, 0, 0, 0, 0x1000, 0, 0x3000, 0, 0x1000, 0), 32);
    const region = decodeRegionInfo(reply);
    expect(region.mappableAreas).toEqual([
      { offset: 0, size: 0x1000 },
      { offset: 0x3000, size: 0x1000 },
    ]);
    reply.set(words(0x4000), 72);
    expect(code(() => decodeRegionInfo(reply))).toBe('ERR_VFIO_MALFORMED');
  });

  it('[DEV-13] takes MSIX_MAPPABLE as: the whole BAR may be mapped', () => {
    const reply = words(40, 0xf, 0, 32, 0x4000, 0, 0, 0, (1 << 16) | 3, 0);
    expect(decodeRegionInfo(reply)).toMatchObject({
      msixMappable: true,
      mappableAreas: [{ offset: 0, size: 0x4000 }],
      fileOffset: 0,
    });
  });

  it('[DEV-7] takes a region of size 0 and flags 0 as absent, at its place', () => {
    const region = decodeRegionInfo(words(32, 0, 1, 0, 0, 0, 0, 1 << 8));
    expect(region).toMatchObject({ size: 0, readable: false, mappable: false, mappableAreas: [], fileOffset: 2 ** 40 });
  });

  it('[T1-12] [T1-14] [T1-15] reads usable ranges, ends inclusive, and the mappings left', () => {
    const reply = new Uint8Array(24 + 16 + 12 + 48);
    reply.set(words(reply.length, 3, 0xfffff000, 0xffffffff, 24, 0));
    reply.set(words((1 << 16) | 3, 40, 65535, 0), 24);
    reply.set(words((1 << 16) | 1, 0, 2, 0, 0, 0, 0xfedfffff, 0, 0xfef00000, 0, 0xffffffff, 0x7f), 40);
    expect(decodeType1Info(reply)).toEqual({
      pageSizes: 0xfffffffffffff000n,
      ranges: [
        { start: 0n, end: 0xfedfffffn },
        { start: 0xfef00000n, end: 0x7fffffffffn },
      ],
      available: 65535,
    });
  });

  it('[T1-9] does without capabilities on kernels that have none', () => {
    expect(decodeType1Info(words(16, 1, 0xfffff000, 0xffffffff, 0, 0))).toEqual({
      pageSizes: 0xfffffffffffff000n,
      ranges: undefined,
      available: undefined,
    });
  });
});
