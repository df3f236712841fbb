import { describe, expect, it } from 'vitest';
import { NvmeStatus, statusError, statusFields, statusNames } from './status.js';

describe('status of a command', () => {
  it('is success for 0', () => {
    expect(NvmeStatus.decode(0)).toMatchObject({ success: true, name: 'Successful Completion', doNotRetry: false });
  });

  it('keeps type, code, Do Not Retry, More and the retry delay apart', () => {
    const value = 0x80 | (2 << 11) | (1 << 13) | (1 << 14);
    expect(NvmeStatus.decode(value)).toEqual({
      value,
      success: false,
      type: 0,
      typeName: 'generic',
      code: 0x80,
      name: 'LBA Out of Range',
      doNotRetry: true,
      more: true,
      retryDelay: 2,
    });
  });

  it('names a code by its type: the same number means other things', () => {
    expect(NvmeStatus.decode(0x002).name).toBe('Invalid Field in Command');
    expect(NvmeStatus.decode(0x102).name).toBe('Invalid Queue Size');
    expect(NvmeStatus.decode(0x281).name).toBe('Unrecovered Read Error');
  });

  it('gives numbers for a code that is in no table', () => {
    expect(NvmeStatus.decode(0x7c1)).toMatchObject({ typeName: 'vendor specific', name: 'status 7h/c1h' });
    expect(NvmeStatus.decode(0x4ff)).toMatchObject({ typeName: 'reserved', success: false });
  });

  it('is 15 bits, which the fields cover without gap or overlap', () => {
    const fields = Object.values(statusFields).sort((a, b) => a.low - b.low);
    expect(fields.reduce((next, { low, width }) => (low === next ? next + width : Number.NaN), 0)).toBe(15);
    for (const names of Object.values(statusNames)) {
      for (const code of Object.keys(names)) expect(Number(code)).toBeLessThan(256);
      expect(new Set(Object.values(names)).size).toBe(Object.keys(names).length);
    }
  });

  it('becomes an error that says what failed, why, and whether a retry makes sense', () => {
    const error = statusError('Reading block 7', 0x4080, { lba: 7 });
    expect(error.message).toContain(
      'Reading block 7 failed: LBA Out of Range (generic, 0h/80h); the same command would fail again.',
    );
    expect(error).toMatchObject({ code: 'ERR_NVME_STATUS', details: { lba: 7, status: { value: 0x4080 } } });
    expect(statusError('x', 0x0082).message).toContain('a retry may succeed');
  });
});
