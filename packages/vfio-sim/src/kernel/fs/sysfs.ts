/** /sys, as far as PCI and VFIO show there. */

import type { Bus } from '../bus.js';
import { EINVAL, ENODEV } from '../errno.js';
import type { Group } from '../group.js';
import { MSI_WINDOW, reservedFor } from '../iommu-reach.js';
import type { Machine } from '../machine.js';
import { type HugePages, setAside } from '../memory.js';
import { type DynamicId, idWritten } from '../pci/ids.js';
import type { Slot } from '../pci/slot.js';
import { modules } from './modules.js';
import { action, type DirectoryNode, directory, link, listing, type Node, setting, text } from './nodes.js';
import { deviceFolder } from './pci-device.js';

export function sysTree(machine: Machine, bus: Bus, loaded: boolean): DirectoryNode {
  const addresses = () => [...bus.slots.keys()].sort();
  return directory({
    bus: directory({
      pci: directory({
        devices: listing(addresses, (address) => link(`../../../devices/pci0000:00/${address}`)),
        drivers: listing(
          () => bus.drivers.filter((name) => loaded || name !== 'vfio-pci'),
          (name) => driverFolder(bus, name),
        ),
        drivers_probe: action((written) => withSlot(bus, written, (slot) => bus.probeAny(slot))),
        rescan: action(() => bus.rescan()),
      }),
    }),
    devices: directory({
      'pci0000:00': listing(addresses, (address) => deviceFolder(machine, bus, bus.slots.get(address) as Slot)),
      virtual: directory({
        vfio: listing(
          () => nodeNames(bus),
          () => directory({}),
        ),
      }),
    }),
    kernel: directory({
      iommu_groups: listing(
        () => [...bus.groups.keys()].map(String),
        (number) => groupFolder(machine, bus.groups.get(Number(number)) as Group),
      ),
      mm: directory({
        hugepages: directory({
          'hugepages-2048kB': hugePages(machine.memory.huge),
          'hugepages-1048576kB': hugePages(machine.memory.giant),
        }),
      }),
    }),
    module: directory(loaded ? modules(machine) : {}),
    block: directory({}),
    class: directory({
      iommu: listing(
        () => (machine.iommu ? ['dmar0'] : []),
        () => directory({}),
      ),
      vfio: () =>
        machine.build.VFIO_GROUP
          ? listing(
              () => nodeNames(bus),
              (name) => link(`../../devices/virtual/vfio/${name}`),
            )
          : undefined,
      'vfio-dev': () =>
        machine.build.IOMMUFD
          ? listing(
              () => [...bus.slots.values()].flatMap(({ vfioName }) => vfioName ?? []),
              (name) => link(`../../devices/pci0000:00/${addressOf(bus, name)}/vfio-dev/${name}`),
            )
          : undefined,
      nvme: directory({}),
      block: directory({}),
    }),
  });
}

/** Names of the group nodes, as below /dev/vfio. */
export const nodeNames = (bus: Bus): string[] =>
  [...bus.groups.values()].filter((group) => group.exists).map((group) => group.node);

const addressOf = (bus: Bus, name: string): string | undefined =>
  [...bus.slots.values()].find(({ vfioName }) => vfioName === name)?.address;

function withSlot(bus: Bus, written: string, act: (slot: Slot) => number): number {
  const slot = bus.slots.get(written.trim());
  return slot === undefined ? -ENODEV : act(slot);
}

function driverFolder(bus: Bus, name: string): DirectoryNode {
  const files: Record<string, Node> = {
    bind: action((written) => withSlot(bus, written, (slot) => bus.bind(slot, name))),
    unbind: action((written) => withSlot(bus, written, (slot) => bus.unbind(slot, name))),
    new_id: action((written) => withId(written, (id) => bus.addId(id))),
    remove_id: action((written) => withId(written, (id) => bus.removeId(id))),
    module: link(`../../../../module/${name.replaceAll('-', '_')}`),
  };
  const bound = () => bus.bound(name).map((slot) => slot.address);
  return {
    kind: 'directory',
    names: () => [...Object.keys(files), ...bound()],
    get: (entry) =>
      Object.hasOwn(files, entry)
        ? files[entry]
        : bound().includes(entry)
          ? link(`../../../../devices/pci0000:00/${entry}`)
          : undefined,
  };
}

function withId(written: string, act: (id: DynamicId) => number): number {
  const id = idWritten(written);
  return id === undefined ? -EINVAL : act(id);
}

function groupFolder(machine: Machine, group: Group): DirectoryNode {
  return directory({
    devices: listing(
      () => group.members.map((slot) => slot.address),
      (address) => link(`../../../../devices/pci0000:00/${address}`),
    ),
    // Only the groups of no-IOMMU mode have a name ([NOI-6]).
    name: () => (group.noiommu ? text(() => 'vfio-noiommu\n') : undefined),
    type: () => (group.noiommu ? undefined : text(() => 'DMA-FQ\n')),
    reserved_regions: text(() => (group.noiommu ? '' : reservedRegions(machine, group))),
  });
}

/** First, last and kind of each range that is not for mappings, in order. */
function reservedRegions(machine: Machine, { members }: Group): string {
  const devices = members.map(({ address }) => address);
  return [
    { range: MSI_WINDOW, type: 'msi' },
    ...reservedFor(machine, devices).map((range) => ({ range, type: 'direct' })),
  ]
    .sort((a, b) => (a.range[0] < b.range[0] ? -1 : 1))
    .map(({ range, type }) => `${range.map((at) => `0x${at.toString(16).padStart(16, '0')}`).join(' ')} ${type}\n`)
    .join('');
}

function hugePages(pages: HugePages): DirectoryNode {
  return directory({
    nr_hugepages: setting(
      () => `${pages.total}\n`,
      (written) => setAside(pages, written),
    ),
    free_hugepages: text(() => `${pages.free}\n`),
    resv_hugepages: text(() => '0\n'),
    surplus_hugepages: text(() => '0\n'),
    size: text(() => `${pages.size}\n`),
  });
}
