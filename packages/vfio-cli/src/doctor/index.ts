import type { SystemCalls } from 'vfio-core';
import { type Check, surroundings } from './check.js';
import { checkBoundDevices, checkDevice } from './devices.js';
import { checkIommu, checkKernel, checkModules, checkParameters } from './machine.js';
import { checkContainerAccess, checkMemlock } from './process.js';

export type { Check, CheckStatus } from './check.js';

/** What `vfio doctor --json` prints. */
export interface Diagnosis {
  /** No check failed. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

/**
 * Looks at everything that a driver needs of this machine and process, each finding with the command that cures it.
 * Nothing is changed, and no group is opened.
 * @param address the device in question; without it, every device bound to vfio-pci
 */
export function diagnose(system: SystemCalls, address?: string): Diagnosis {
  const around = surroundings(system);
  const kernel = checkKernel(around);
  const checks =
    kernel.status === 'failed'
      ? [kernel]
      : [
          kernel,
          checkIommu(around),
          ...checkModules(around),
          ...checkParameters(around),
          checkContainerAccess(around),
          checkMemlock(around),
          ...(address === undefined ? checkBoundDevices(around) : checkDevice(around, address)),
        ];
  return { ok: checks.every((check) => check.status !== 'failed'), checks };
}
