/** What binding will do, as data: checked against the machine, carried out by nobody yet. */

import { type BackendOption, defaultBackend, type SystemCalls, servesVfio, VfioError } from 'vfio-core';
import { findDevice, type PciFunction } from '../discovery/index.js';
import { driverOf, exists, pciDevices, pciDrivers, readOverride } from '../discovery/sysfs.js';
import { hostUsage } from './host-usage.js';
import { recall } from './memory.js';
import { vfioHolders } from './vfio-holders.js';

/** One file to write. */
export interface BindStep {
  readonly path: string;
  readonly value: string;
  /** In words. */
  readonly why: string;
}

/** The way from one driver to another. */
export interface BindPlan {
  readonly address: string;
  /** The driver now; absent for none. */
  readonly from?: string;
  /** The driver afterwards; absent for none, or for whichever the kernel chooses. */
  readonly to?: string;
  /** In order. Empty where there is nothing to do. */
  readonly steps: readonly BindStep[];
}

export interface BindOptions extends BackendOption {
  /** `vfio-pci` by default; variant drivers have other names. */
  readonly driver?: string;
}

export interface UnbindOptions extends BackendOption {
  /** The driver to give it to; by default the one that it had before, else whichever the kernel chooses. */
  readonly to?: string;
}

/** Clears `driver_override`: the kernel takes an empty line for nothing. */
const nothing = '\n';

/**
 * The steps of `bind`, checked but not carried out. Throws `ERR_VFIO_ARGUMENT` for something that is no address or driver name,
 * `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_LOADED` where the driver is not there, `ERR_VFIO_BIND` for a bridge,
 * `ERR_VFIO_DEVICE_IN_USE` where a disk of it is mounted, in use as swap or held by another block device.
 */
export function bindPlan(address: string, options: BindOptions = {}): BindPlan {
  const system = options.backend ?? defaultBackend();
  const driver = driverName(options.driver ?? 'vfio-pci');
  const fn = findDevice(address, { backend: system });
  const target = { address: fn.address, ...(fn.driver === undefined ? {} : { from: fn.driver }), to: driver };
  if (fn.driver === driver) return { ...target, steps: [] };
  refuseBridge(fn);
  requireDriver(system, driver);
  refuseInUse(system, fn);
  refuseOpen(system, fn);
  return {
    ...target,
    steps: [
      override(fn.address, driver, `only ${driver} may take it from now on`),
      ...release(system, fn.address),
      probe(fn.address, `the kernel gives it to ${driver}`),
    ],
  };
}

/**
 * The steps of `unbind`, checked but not carried out. Throws as {@link bindPlan}, and `ERR_VFIO_NOT_BOUND` for a function
 * that a host driver has, `ERR_VFIO_BUSY` where a program has it open: the kernel would wait until that program ends.
 */
export function unbindPlan(address: string, options: UnbindOptions = {}): BindPlan {
  const system = options.backend ?? defaultBackend();
  const fn = findDevice(address, { backend: system });
  const former = recall(system, fn);
  const to = options.to === undefined ? former?.driver : driverName(options.to);
  if (fn.driver !== undefined && !servesVfio(fn.driver)) {
    throw new VfioError('ERR_VFIO_NOT_BOUND', `${fn.address} is bound to ${fn.driver}, and not to vfio-pci.`, {
      remedy: 'There is nothing to undo.',
      details: { address: fn.address, driver: fn.driver },
    });
  }
  if (to !== undefined) requireDriver(system, to);
  refuseOpen(system, fn);
  const target = {
    address: fn.address,
    ...(fn.driver === undefined ? {} : { from: fn.driver }),
    ...(to === undefined ? {} : { to }),
  };
  const { address: name } = fn;
  const restore = former?.override;
  // It had no driver before: it gets none.
  const none = options.to === undefined && former !== undefined && former.driver === undefined;
  const steps = [
    to === undefined
      ? override(name, restore ?? nothing, 'any driver may take it again')
      : override(name, to, `${to} is to take it`),
    ...release(system, name),
    ...(none
      ? []
      : [probe(name, to === undefined ? 'the kernel looks for its driver' : `the kernel gives it to ${to}`)]),
    ...(to === undefined ? [] : [override(name, restore ?? nothing, 'the choice is the kernel’s again')]),
  ];
  return { ...target, steps };
}

const override = (address: string, value: string, why: string): BindStep => ({
  path: `${pciDevices}/${address}/driver_override`,
  value,
  why,
});

const probe = (address: string, why: string): BindStep => ({ path: '/sys/bus/pci/drivers_probe', value: address, why });

function release(system: SystemCalls, address: string): BindStep[] {
  const driver = driverOf(system, address);
  if (driver === undefined) return [];
  return [{ path: `${pciDrivers}/${driver}/unbind`, value: address, why: `${driver} lets go of it` }];
}

/**
 * Back to where a function was, as far as the kernel lets us: after a plan failed half-way.
 * @returns whether driver and override are as before
 */
export function rollBack(
  system: SystemCalls,
  address: string,
  from: string | undefined,
  before: string | undefined,
): boolean {
  const write = (step: BindStep) => system.writeFile(step.path, step.value);
  if (driverOf(system, address) !== from) {
    write(override(address, from ?? nothing, ''));
    for (const step of release(system, address)) write(step);
    if (from !== undefined) write(probe(address, ''));
  }
  write(override(address, before ?? nothing, ''));
  return driverOf(system, address) === from && readOverride(system, address) === before;
}

/** A driver's name becomes part of a path. */
function driverName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)) return name;
  throw new VfioError('ERR_VFIO_ARGUMENT', `${JSON.stringify(name) ?? String(name)} is no driver name.`, {
    remedy: 'Names are those below /sys/bus/pci/drivers.',
    details: { driver: name },
  });
}

function requireDriver(system: SystemCalls, driver: string): void {
  if (exists(system, `${pciDrivers}/${driver}`)) return;
  throw new VfioError('ERR_VFIO_NOT_LOADED', `The kernel has no PCI driver ${driver} loaded.`, {
    remedy: `Load its module: modprobe ${driver}.`,
    path: `${pciDrivers}/${driver}`,
    details: { driver },
  });
}

function refuseBridge(fn: PciFunction): void {
  if (!fn.isBridge) return;
  throw new VfioError('ERR_VFIO_BIND', `${fn.address} (${fn.className}) is a bridge, which VFIO does not take.`, {
    remedy: 'Leave it to its driver: a bridge does not keep its group from being used.',
    details: { address: fn.address, className: fn.className },
  });
}

function refuseInUse(system: SystemCalls, fn: PciFunction): void {
  const usage = hostUsage(fn.address, { backend: system });
  if (usage.length === 0) return;
  const words = usage.map((use) => use.description).join('; ');
  throw new VfioError('ERR_VFIO_DEVICE_IN_USE', `${fn.address} (${fn.name}) is in use: ${words}.`, {
    details: { address: fn.address, usage },
  });
}

/** Whoever has the group open would make the kernel wait in `unbind`, for as long as that takes. */
function refuseOpen(system: SystemCalls, fn: PciFunction): void {
  if (!servesVfio(fn.driver) || fn.iommuGroup === undefined) return;
  const processes = vfioHolders(system, fn.iommuGroup.id);
  if (processes.length === 0) return;
  const words = processes.map(({ pid, command }) => `process ${pid}${command === undefined ? '' : ` (${command})`}`);
  throw new VfioError('ERR_VFIO_BUSY', `The IOMMU group of ${fn.address} is open in ${words.join(', ')}.`, {
    remedy: 'End that program first.',
    details: { address: fn.address, group: fn.iommuGroup.id, processes },
  });
}
