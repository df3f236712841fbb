/** Checks of the machine as a whole: kernel, IOMMU, modules and their parameters. */

import type { SystemCalls } from 'vfio-core';
import { type Check, exists, listNames, readText, type Surroundings } from './check.js';

export function checkKernel({ system }: Surroundings): Check {
  const release = readText(system, '/proc/sys/kernel/osrelease');
  const base = { id: 'kernel', title: 'Linux kernel' };
  if (release === undefined)
    return {
      ...base,
      status: 'failed',
      found: 'no Linux kernel here',
      cure: 'VFIO needs Linux; everywhere else use the simulation.',
    };
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  if (major < 4 || (major === 4 && minor < 5))
    return { ...base, status: 'failed', found: release, cure: 'Use a kernel of 4.5 or later.' };
  return { ...base, status: 'ok', found: release };
}

/** Devices without an IOMMU group can be bound. */
export const noiommuMode = (system: SystemCalls): boolean =>
  readText(system, '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode') === 'Y';

export function checkIommu({ system }: Surroundings): Check {
  const base = { id: 'iommu', title: 'IOMMU' };
  const groups = listNames(system, '/sys/kernel/iommu_groups');
  const real = groups.filter((id) => readText(system, `/sys/kernel/iommu_groups/${id}/name`) !== 'vfio-noiommu');
  if (real.length > 0) return { ...base, status: 'ok', found: `on, ${real.length} groups` };
  const amd = /AuthenticAMD/.test(readText(system, '/proc/cpuinfo') ?? '');
  const argument = amd ? 'amd_iommu=on' : 'intel_iommu=on';
  const cure = `Enable VT-d or AMD-Vi in the firmware and boot with ${argument}.`;
  // Somebody who switched this on knows that there is none, and drivers do run.
  if (noiommuMode(system))
    return { ...base, status: 'warning', found: 'none, and no-IOMMU mode is on: devices reach all memory', cure };
  return { ...base, status: 'failed', found: 'off, or the machine has none: there is no IOMMU group', cure };
}

export function checkModules({ system }: Surroundings): Check[] {
  const checks: Check[] = [];
  const loaded = (name: string) => exists(system, `/sys/module/${name}`);
  const drivers = exists(system, '/sys/bus/pci/drivers/vfio-pci');
  checks.push(
    drivers
      ? { id: 'module-vfio-pci', title: 'Module vfio-pci', status: 'ok', found: 'loaded' }
      : {
          id: 'module-vfio-pci',
          title: 'Module vfio-pci',
          status: 'failed',
          found: 'not loaded',
          cure: 'modprobe vfio-pci',
        },
  );
  checks.push(
    loaded('vfio_iommu_type1')
      ? { id: 'module-type1', title: 'Module vfio_iommu_type1', status: 'ok', found: 'loaded' }
      : {
          id: 'module-type1',
          title: 'Module vfio_iommu_type1',
          status: 'warning',
          found: 'not loaded (built in, or loaded at the first open)',
          cure: 'modprobe vfio_iommu_type1',
        },
  );
  checks.push(
    exists(system, '/dev/vfio/vfio')
      ? { id: 'container-node', title: '/dev/vfio/vfio', status: 'ok', found: 'present' }
      : {
          id: 'container-node',
          title: '/dev/vfio/vfio',
          // A kernel without containers has an iommufd instead.
          status: exists(system, '/dev/iommu') ? 'ok' : 'failed',
          found: exists(system, '/dev/iommu') ? 'missing, but /dev/iommu is present' : 'missing',
          cure: 'modprobe vfio-pci',
        },
  );
  return checks;
}

/** Parameters that change what a driver meets. */
const parameters = [
  {
    module: 'vfio_iommu_type1',
    name: 'allow_unsafe_interrupts',
    onYes: 'Y: devices can forge interrupts',
    cure: 'echo N > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts',
  },
  {
    module: 'vfio',
    name: 'enable_unsafe_noiommu_mode',
    onYes: 'Y: devices without an IOMMU group can be bound; they reach all memory',
    cure: 'echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode',
  },
  {
    module: 'vfio_iommu_type1',
    name: 'disable_hugepages',
    onYes: 'Y: memory is pinned and mapped page by page, which is slow',
    cure: 'echo N > /sys/module/vfio_iommu_type1/parameters/disable_hugepages',
  },
  {
    module: 'vfio_pci',
    name: 'disable_denylist',
    onYes: 'Y: devices that are known to be unsafe are taken too',
    cure: 'modprobe -r vfio-pci && modprobe vfio-pci disable_denylist=0',
  },
  {
    module: 'vfio_pci',
    name: 'enable_sriov',
    onYes: 'Y: virtual functions can be made of bound devices',
    cure: undefined,
  },
  {
    module: 'vfio_pci',
    name: 'disable_vga',
    onYes: 'Y: display controllers give up the legacy addresses',
    cure: undefined,
  },
  { module: 'vfio_pci', name: 'disable_idle_d3', onYes: 'Y: unused devices stay awake', cure: undefined },
  { module: 'vfio_pci', name: 'nointxmask', onYes: 'Y: INTx needs an exclusive interrupt line', cure: undefined },
] as const;

export function checkParameters({ system }: Surroundings): Check[] {
  const limit = readText(system, '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit');
  const title = 'Parameter vfio_iommu_type1.dma_entry_limit';
  const entries: Check[] =
    limit === undefined
      ? []
      : [{ id: 'parameter-dma_entry_limit', title, status: 'info', found: `${limit} mappings in a container` }];
  const switches = parameters.flatMap(({ module, name, onYes, cure }): Check[] => {
    const value = readText(system, `/sys/module/${module}/parameters/${name}`);
    if (value === undefined) return [];
    const base = { id: `parameter-${name}`, title: `Parameter ${module}.${name}` };
    if (value !== 'Y') return [{ ...base, status: 'ok', found: value }];
    return [
      cure === undefined
        ? { ...base, status: 'info', found: onYes }
        : { ...base, status: 'warning', found: onYes, cure },
    ];
  });
  return [...switches, ...entries];
}
