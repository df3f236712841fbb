import type { SystemCalls } from 'vfio-core';
import { devices, type PciFunction } from 'vfio-pci';
import { hex, json, type Output, table } from '../output.js';

const asData = (fn: PciFunction) => ({
  address: fn.address,
  name: fn.name,
  vendor: fn.vendor,
  device: fn.device,
  class: fn.classCode,
  className: fn.className,
  driver: fn.driver ?? null,
  iommuGroup: fn.iommuGroup?.id ?? null,
  noiommu: fn.iommuGroup?.noiommu ?? false,
  bridge: fn.isBridge,
});

/** `vfio list`: every PCI function, with its driver and IOMMU group. Needs no privilege. */
export function list(system: SystemCalls, output: Output, options: { json?: boolean; bound?: boolean }): number {
  const found = devices({ backend: system }).filter((fn) => !options.bound || fn.driver === 'vfio-pci');
  if (options.json) {
    output.out(json(found.map(asData)));
    return 0;
  }
  if (found.length === 0) {
    output.out(options.bound ? 'No PCI function is bound to vfio-pci.' : 'No PCI function found.');
    return 0;
  }
  const rows = found.map((fn) => [
    fn.address,
    `${hex(fn.vendor, 4)}:${hex(fn.device, 4)}`,
    fn.driver ?? '-',
    fn.iommuGroup === undefined ? '-' : `${fn.iommuGroup.noiommu ? 'noiommu-' : ''}${fn.iommuGroup.id}`,
    fn.className,
    fn.name,
  ]);
  output.out(table(['ADDRESS', 'ID', 'DRIVER', 'GROUP', 'CLASS', 'NAME'], rows));
  return 0;
}
