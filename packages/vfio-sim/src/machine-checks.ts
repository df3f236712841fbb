/** Refuses descriptions of machines that cannot be, in the words of the one who wrote them. */

import { VfioError } from 'vfio-core';
import type { FunctionDescription } from './model/contract.js';
import type { SimulationOptions } from './options.js';

export function refuse(why: string, details: Readonly<Record<string, unknown>> = {}): never {
  throw new VfioError('ERR_VFIO_ARGUMENT', why, {
    remedy: 'Correct the options of simulation({ ... }); each is described at SimulationOptions.',
    details,
  });
}

const optionNames: Readonly<Record<keyof SimulationOptions, true>> = {
  devices: true,
  groups: true,
  kernel: true,
  build: true,
  memlock: true,
  capabilities: true,
  iommu: true,
  noiommu: true,
  iommufd: true,
  modules: true,
  hugePages: true,
  openFiles: true,
  vectors: true,
};

/** A name that the machine does not know is most often a slip, and would otherwise be passed over in silence. */
export function checkNames(where: string, given: object, known: object): void {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) {
      refuse(`${where} has no ${name}: it has ${Object.keys(known).join(', ')}`, { name });
    }
  }
}

/** An integer from `low` on, or where `orInfinity` no limit at all. */
export function checkCount(what: string, value: number | undefined, orInfinity = false, low = 0): void {
  if (value === undefined || (orInfinity && value === Number.POSITIVE_INFINITY)) return;
  if (!Number.isSafeInteger(value) || value < low)
    refuse(`${what} is ${value}: a whole number from ${low} on`, { value });
}

/** What can be seen before anything is built. */
export function checkOptions(options: SimulationOptions): void {
  checkNames('simulation', options, optionNames);
  const { kernel = '6.1', memlock, openFiles, vectors, hugePages } = options;
  const [major = 0, minor = 0] = kernel === 'seed' ? [4, 5] : kernel.split('.').map(Number);
  if (!/^(seed|\d+\.\d+)$/.test(kernel) || major < 4 || (major === 4 && minor < 5)) {
    refuse(`${kernel} is no kernel with VFIO as simulated here: seed (4.5), or a version from 4.5 on like 6.1`, {
      kernel,
    });
  }
  checkCount('memlock', memlock, true);
  checkCount('openFiles', openFiles, true, 3);
  checkCount('vectors', vectors, true);
  if (typeof hugePages === 'object') {
    checkNames('hugePages', hugePages, { '2M': true, '1G': true });
    checkCount('hugePages of 2 MiB', hugePages['2M']);
    checkCount('hugePages of 1 GiB', hugePages['1G']);
  } else checkCount('hugePages', hugePages);
  for (const number of Object.keys(options.groups ?? {})) {
    if (!/^(0|[1-9]\d*)$/.test(number)) refuse(`${number} is no number of a group`, { group: number });
  }
}

/** The facts of an IOMMU; `present` are the addresses of the machine. */
export function checkIommu({ iommu }: SimulationOptions, present: ReadonlySet<string>): void {
  if (typeof iommu !== 'object') return;
  const { addressBits, aperture, pageSizes, reserved = {} } = iommu;
  if (addressBits !== undefined && !(Number.isInteger(addressBits) && addressBits >= 20 && addressBits <= 64)) {
    refuse(`addressBits is ${addressBits}: from 20 to 64`, { addressBits });
  }
  if (pageSizes !== undefined && (pageSizes <= 0n || pageSizes >> 64n !== 0n)) {
    refuse(`pageSizes is ${pageSizes}: bit n for pages of 2^n bytes, so 4 KiB and 2 MiB are 0x201000n`, { pageSizes });
  }
  if (aperture !== undefined) checkRange('the aperture', aperture);
  for (const [address, ranges] of Object.entries(reserved)) {
    if (!present.has(address)) refuse(`reserved names ${address}, which the machine does not have`, { address });
    for (const range of ranges) checkRange(`a reserved range of ${address}`, range);
  }
}

function checkRange(what: string, [first, last]: readonly [bigint, bigint]): void {
  const fits = first >= 0n && first <= last && last >> 64n === 0n;
  if (!fits || first % 4096n !== 0n || (last + 1n) % 4096n !== 0n) {
    const [from, to] = [first, last].map((at) => `0x${at.toString(16)}`);
    refuse(`${what} is ${from} to ${to}: first and last address of whole pages (0x1000n, 0xffffn)`, { first, last });
  }
}

/** What a model says of itself. */
export function checkDescription(address: string, { config, bars, pin }: FunctionDescription): void {
  if (config.length !== 256 && config.length !== 4096) {
    refuse(`configuration space of ${address} has ${config.length} bytes: 256 or 4096`, { address });
  }
  if (!(pin >= 0 && pin <= 4)) refuse(`the interrupt pin of ${address} is ${pin}: 0 to 4`, { address, pin });
  if (bars.length > 6) refuse(`${address} has ${bars.length} BARs: 6 at most`, { address });
  bars.forEach((bar, index) => {
    if (bar === undefined) return;
    const { size, kind, is64 } = bar;
    if (size < (kind === 'io' ? 4 : 16) || !Number.isInteger(Math.log2(size))) {
      refuse(`BAR ${index} of ${address} has ${size} bytes: a power of two from ${kind === 'io' ? 4 : 16} on`, {
        size,
      });
    }
    if (is64 && (index === 5 || bars[index + 1] !== undefined)) {
      refuse(`BAR ${index} of ${address} has 64 bits and takes the next slot too, which is not free`, { address });
    }
  });
}
