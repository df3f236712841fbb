/** Why a PCI device did not answer at its mapped registers, as configuration space tells. */

import { VfioError } from '../errors/error.js';
import { systemError } from '../errors/system-error.js';

// Source: PCI Local Bus Specification 3.0, 6.1, and PCI Bus Power Management Interface Specification 1.2, 3.2.
export const COMMAND = 0x04;
const MEMORY_SPACE = 1 << 1;
const STATUS = 0x06;
const HAS_CAPABILITIES = 1 << 4;
const CLASS_AND_REVISION = 0x08;
const CAPABILITIES = 0x34;
const POWER_MANAGEMENT = 0x01;
/** Control and status register of the power management capability; its lowest two bits are the power state. */
const PMCSR = 4;
const D3 = 3;
/** As many as fit between the header and byte 256: a list that is longer loops. */
const mostCapabilities = (0x100 - 0x40) / 4;

/** Reads `into.length` bytes of configuration space at `at`. @returns how many came, or a negative errno */
type ReadConfig = (at: number, into: Uint8Array) => number;

export const goneAfterTouch = (address: string): VfioError =>
  new VfioError('ERR_VFIO_DEVICE_GONE', `${address} did not answer an access to its registers: it left the bus.`, {
    details: { address },
  });

/**
 * For a device whose mapped register raised SIGBUS: returns where it would answer now.
 *
 * Throws `ERR_VFIO_DEVICE_ASLEEP` where memory decoding is off or the device is in D3 ([CFG-27]), `ERR_VFIO_DEVICE_GONE` where
 * configuration space cannot be read, or reads all-ones.
 */
export function checkDecoding(address: string, read: ReadConfig): void {
  const value = (at: number, width: 1 | 2 | 4): number => {
    const bytes = new Uint8Array(width);
    const done = read(at, bytes);
    if (done < 0) {
      const what = `reading configuration space of ${address} after an access to its registers failed`;
      throw systemError(done, { what, syscall: 'pread', code: 'ERR_VFIO_DEVICE_GONE', details: { address } });
    }
    if (done < width) throw goneAfterTouch(address);
    return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
  };
  // Not the vendor's id, which is the kernel's own record and outlives the device.
  if (value(CLASS_AND_REVISION, 4) === 0xffff_ffff) throw goneAfterTouch(address);
  const memoryDecoding = (value(COMMAND, 2) & MEMORY_SPACE) !== 0;
  const powerState = powerStateOf(value);
  if (memoryDecoding && powerState < D3) return;
  const off = [
    ...(memoryDecoding ? [] : ['its memory decoding is off']),
    ...(powerState < D3 ? [] : ['it sleeps in D3']),
  ];
  const cure = [
    ...(memoryDecoding ? [] : ['switch memory decoding on (bit 1 of the command register)']),
    ...(powerState < D3 ? [] : ['set its power state to D0']),
  ].join(' and ');
  throw new VfioError(
    'ERR_VFIO_DEVICE_ASLEEP',
    `${address} did not answer an access to its registers: ${off.join(' and ')}.`,
    {
      remedy: `${cure[0]?.toUpperCase()}${cure.slice(1)}, then call checkAlive(): it maps the registers afresh.`,
      details: { address, memoryDecoding, powerState },
    },
  );
}

/** 0 to 3; 0 for a device without power management. */
function powerStateOf(value: (at: number, width: 1 | 2 | 4) => number): number {
  if ((value(STATUS, 2) & HAS_CAPABILITIES) === 0) return 0;
  let at = value(CAPABILITIES, 1) & ~3;
  for (let count = 0; at >= 0x40 && count < mostCapabilities; count++) {
    if (value(at, 1) === POWER_MANAGEMENT) return value(at + PMCSR, 2) & 3;
    at = value(at + 1, 1) & ~3;
  }
  return 0;
}
