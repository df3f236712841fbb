import { expect, it } from 'vitest';
import { Errno, isVfioError } from '../errors/index.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { setVfToken, vfTokenBytes } from './vf-token.js';

const token = '00112233-4455-6677-8899-aAbBcCdDeEfF';
const bytes = [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

/** A kernel that answers every ioctl so. */
const answering = (answer: number, seen: unknown[] = []): SystemCalls =>
  ({
    ioctl: (fd: number, request: number, argument: Uint8Array) => {
      seen.push(fd, request, [...argument]);
      return answer;
    },
  }) as unknown as SystemCalls;

it('a token is the bytes of its text, in their order', () => {
  expect([...vfTokenBytes(token)]).toEqual(bytes);
});

it.each(['', 'secret', `${token}0`, token.replaceAll('-', ''), 'g0112233-4455-6677-8899-aabbccddeeff'])(
  'refuses %j as a token',
  (text) => {
    expect(() => vfTokenBytes(text)).toThrow('ERR_VFIO_ARGUMENT');
  },
);

it('[FEAT-1] [FEAT-12] sets the token of a physical function: feature 0, SET, 16 bytes', () => {
  const seen: unknown[] = [];
  setVfToken({ system: answering(0, seen), fd: 9 }, token);
  expect(seen).toEqual([9, 0x3b75, [24, 0, 0, 0, 0, 0, 2, 0, ...bytes]]);
});

it('[FEAT-12] says that a device has no virtual functions', () => {
  const refusal = (answer: number) => {
    try {
      setVfToken({ system: answering(answer), fd: 9 }, token);
    } catch (thrown) {
      return isVfioError(thrown) ? [thrown.code, thrown.errnoName, thrown.request] : thrown;
    }
    return undefined;
  };
  expect(refusal(-Errno.ENOTTY)).toEqual(['ERR_VFIO_NOT_SUPPORTED', 'ENOTTY', 'VFIO_DEVICE_FEATURE']);
  expect(refusal(-Errno.EBUSY)).toEqual(['ERR_VFIO_BUSY', 'EBUSY', 'VFIO_DEVICE_FEATURE']);
});
