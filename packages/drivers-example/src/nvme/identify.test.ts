import { describe, expect, it } from 'vitest';
import {
  controllerLayout,
  decodeController,
  decodeNamespace,
  decodeNamespaceList,
  IDENTIFY_BYTES,
  namespaceLayout,
} from './identify.js';

const structure = () => {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  return { bytes, view: new DataView(bytes.buffer) };
};
const put = (bytes: Uint8Array, offset: number, text: string) => bytes.set(new TextEncoder().encode(text), offset);

describe('Identify data', () => {
  it('tables have no overlap and stay inside the structure', () => {
    const sizes = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;
    for (const layout of [controllerLayout, namespaceLayout]) {
      let end = 0;
      for (const [offset, kind] of Object.values(layout).sort(([a], [b]) => a - b)) {
        expect(offset).toBeGreaterThanOrEqual(end);
        end = offset + (typeof kind === 'string' ? sizes[kind as keyof typeof sizes] : (kind as { text: number }).text);
      }
      expect(end).toBeLessThanOrEqual(IDENTIFY_BYTES);
    }
  });

  it('decodes the controller, texts without their padding', () => {
    const { bytes, view } = structure();
    view.setUint16(0, 0x1b36, true);
    put(bytes, 4, 'S123                ');
    put(bytes, 24, 'A model name');
    put(bytes, 64, '1.0.7   ');
    bytes[77] = 7;
    view.setUint32(80, 0x00010400, true);
    view.setUint32(88, 2_000_000, true);
    bytes[512] = 0x66;
    bytes[513] = 0x44;
    view.setUint32(516, 256, true);
    put(bytes, 768, 'nqn.2019-08.org.qemu:S123');
    expect(decodeController(bytes)).toMatchObject({
      ...{ vendor: 0x1b36, serial: 'S123', model: 'A model name', firmware: '1.0.7', maxTransferShift: 7 },
      ...{ version: '1.4.0', versionNumber: 0x00010400, shutdownMicroseconds: 2_000_000, namespaceCount: 256 },
      ...{ submissionEntrySize: 0x66, completionEntrySize: 0x44, subsystemName: 'nqn.2019-08.org.qemu:S123' },
    });
  });

  it('shows bytes that are not printable as question marks, since names end up on terminals', () => {
    const { bytes } = structure();
    put(bytes, 24, 'bad\x1b[31mname\x07');
    bytes[4] = 0xff;
    expect(decodeController(bytes)).toMatchObject({ model: 'bad?[31mname?', serial: '?' });
  });

  it('decodes the namespace in the format that is in use', () => {
    const { bytes, view } = structure();
    view.setBigUint64(0, 0x1_0000_0001n, true);
    bytes[25] = 2;
    bytes[26] = 0x12; // format 2; bit 4 (metadata at the end of the data) is no part of it
    view.setUint32(128, 9 << 16, true);
    view.setUint32(128 + 2 * 4, (12 << 16) | 8, true);
    bytes[99] = 1;
    expect(decodeNamespace(bytes)).toMatchObject({
      blocks: 0x1_0000_0001n,
      blockSize: 4096,
      metadataBytes: 8,
      attributes: 1,
    });
  });

  it('a list of namespaces ends at the first 0, or when it is full', () => {
    const { bytes, view } = structure();
    expect(decodeNamespaceList(bytes)).toEqual([]);
    view.setUint32(0, 1, true);
    view.setUint32(4, 0xfffffffe, true);
    view.setUint32(12, 5, true);
    expect(decodeNamespaceList(bytes)).toEqual([1, 0xfffffffe]);
    expect(decodeNamespaceList(bytes.fill(1))).toHaveLength(1024);
  });
});
