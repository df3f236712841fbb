// What is in this machine? Nothing is opened, no privilege is needed.
import type { SystemCalls } from 'vfio-core';
import { devices } from 'vfio-pci';

export function whatIsHere(print: (line: string) => void, options: { backend?: SystemCalls } = {}): void {
  for (const fn of devices(options))
    print(`${fn.address} ${fn.name} ${fn.driver ?? '-'} ${fn.iommuGroup?.id ?? 'no IOMMU'}`);
}
