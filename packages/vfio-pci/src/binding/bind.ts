/** Handing a function to VFIO, and giving it back. */

import { defaultBackend, Errno, type SystemCalls, servesVfio, systemError, VfioError } from 'vfio-core';
import { findDevice, type PciFunction } from '../discovery/index.js';
import { driverOf, pciDrivers, readOverride } from '../discovery/sysfs.js';
import { type Former, forget, remember } from './memory.js';
import {
  type BindOptions,
  type BindPlan,
  type BindStep,
  bindPlan,
  rollBack,
  type UnbindOptions,
  unbindPlan,
} from './plan.js';

/** What was done. */
export interface BindResult extends BindPlan {
  /** False where there was nothing to do. */
  readonly changed: boolean;
  /** The driver now; absent for none. */
  readonly driver?: string;
  /** After `bind`: the file that keeps what was before, where it could be written. */
  readonly remembered?: string;
  /** Other members of the IOMMU group that host drivers still have: as long as they do, the group cannot be used. */
  readonly stillToBind: readonly string[];
}

/**
 * Binds a function to vfio-pci by `driver_override`, and remembers the driver that it had. Needs root. With
 * `dryRun` it only checks and says the steps.
 *
 * Throws as `bindPlan`; `ERR_VFIO_PERMISSION`; `ERR_VFIO_NO_IOMMU` where the kernel refused and the machine has no IOMMU;
 * `ERR_VFIO_BIND` with the kernel's errno. A bind that fails half-way is undone (`details.rolledBack`).
 */
export function bind(address: string, options: BindOptions & { readonly dryRun?: boolean } = {}): BindResult {
  const system = options.backend ?? defaultBackend();
  const plan = bindPlan(address, options);
  const fn = findDevice(plan.address, { backend: system });
  if (plan.steps.length === 0 || options.dryRun === true) return result(system, plan, false);
  // From one VFIO driver to another: what was before is known already.
  const remembered = servesVfio(fn.driver) ? undefined : remember(system, fn, formerOf(fn));
  try {
    perform(system, fn, plan);
  } catch (thrown) {
    if (remembered !== undefined) forget(system, fn.address);
    throw thrown;
  }
  return { ...result(system, plan, true), ...(remembered === undefined ? {} : { remembered }) };
}

/**
 * Gives a function back: to the driver that it had before `bind` (of this or another process), to `to`, or else to
 * whichever driver the kernel chooses. Needs root. Throws as `unbindPlan` and {@link bind}.
 */
export function unbind(address: string, options: UnbindOptions & { readonly dryRun?: boolean } = {}): BindResult {
  const system = options.backend ?? defaultBackend();
  const plan = unbindPlan(address, options);
  if (options.dryRun === true) return result(system, plan, false);
  perform(system, findDevice(plan.address, { backend: system }), plan);
  forget(system, plan.address);
  return result(system, plan, true);
}

function formerOf(fn: PciFunction): Former {
  return {
    ...(fn.driver === undefined ? {} : { driver: fn.driver }),
    ...(fn.driverOverride === undefined ? {} : { override: fn.driverOverride }),
  };
}

function result(system: SystemCalls, plan: BindPlan, changed: boolean): BindResult {
  const driver = driverOf(system, plan.address);
  const members = findDevice(plan.address, { backend: system }).iommuGroup?.members() ?? [];
  const stillToBind = members
    .filter((one) => one.blocksGroup && one.address !== plan.address)
    .map((one) => one.address);
  return { ...plan, changed, ...(driver === undefined ? {} : { driver }), stillToBind };
}

function perform(system: SystemCalls, fn: PciFunction, plan: BindPlan): void {
  const before = readOverride(system, fn.address);
  const undo = () => rollBack(system, fn.address, plan.from, before);
  for (const step of plan.steps) {
    const answer = system.writeFile(step.path, step.value);
    if (answer < 0) throw refused(system, fn, plan, step, answer, undo());
  }
  if (plan.to === undefined || driverOf(system, fn.address) === plan.to) return;
  // Probing says nothing about a driver that refused. Asking that driver alone does.
  const direct: BindStep = { path: `${pciDrivers}/${plan.to}/bind`, value: fn.address, why: `${plan.to} is asked why` };
  const answer = system.writeFile(direct.path, direct.value);
  if (driverOf(system, fn.address) === plan.to) return;
  throw refused(system, fn, plan, direct, answer < 0 ? answer : -Errno.ENODEV, undo());
}

function refused(
  system: SystemCalls,
  fn: PciFunction,
  plan: BindPlan,
  step: BindStep,
  answer: number,
  rolledBack: boolean,
): VfioError {
  const rights = answer === -Errno.EACCES || answer === -Errno.EPERM;
  const noIommu = !rights && servesVfio(plan.to) && fn.iommuGroup === undefined;
  const now = driverOf(system, fn.address);
  const back = rolledBack
    ? `It is as before (${now ?? 'no driver'}).`
    : `It could not be put back: it has ${now ?? 'no driver'} now.`;
  const cause = systemError(answer, { syscall: 'write', path: step.path });
  return new VfioError(
    rights ? 'ERR_VFIO_PERMISSION' : noIommu ? 'ERR_VFIO_NO_IOMMU' : 'ERR_VFIO_BIND',
    `${fn.address} could not be given to ${plan.to ?? 'another driver'}: ${step.why} - ${cause.errnoName}. ${back}`,
    {
      ...(rights ? { remedy: 'Changing drivers is root’s: run it with sudo.' } : {}),
      syscall: 'write',
      path: step.path,
      errno: -answer,
      details: { address: fn.address, from: plan.from, to: plan.to, step, rolledBack, driver: now },
      cause,
    },
  );
}
