/** /sys, as far as PCI and VFIO show there. */

import type { Bus } from '../bus.js';
import { EINVAL, ENODEV, ENOENT } from '../errno.js';
import type { Group } from '../group.js';
import type { Machine } from '../machine.js';
import { HUGE_PAGE } from '../memory.js';
import type { Slot } from '../pci/slot.js';
import {
  action,
  type DirectoryNode,
  directory,
  type FileNode,
  link,
  listing,
  type Node,
  setting,
  text,
} from './nodes.js';

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;

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
      'pci0000:00': listing(addresses, (address) => deviceFolder(bus, bus.slots.get(address) as Slot)),
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
        (number) => groupFolder(bus.groups.get(Number(number)) as Group),
      ),
      mm: directory({ hugepages: directory({ 'hugepages-2048kB': hugePages(machine) }) }),
    }),
    module: directory(loaded ? modules(machine) : {}),
    block: directory({}),
    class: directory({
      iommu: listing(
        () => (machine.iommu ? ['dmar0'] : []),
        () => directory({}),
      ),
      vfio: listing(
        () => nodeNames(bus),
        (name) => link(`../../devices/virtual/vfio/${name}`),
      ),
      nvme: directory({}),
      block: directory({}),
    }),
  });
}

/** Names of the group nodes, as below /dev/vfio. */
export const nodeNames = (bus: Bus): string[] =>
  [...bus.groups.values()].filter((group) => group.exists).map((group) => group.node);

function withSlot(bus: Bus, written: string, act: (slot: Slot) => number): number {
  const slot = bus.slots.get(written.trim());
  return slot === undefined ? -ENODEV : act(slot);
}

function driverFolder(bus: Bus, name: string): DirectoryNode {
  const files: Record<string, Node> = {
    bind: action((written) => withSlot(bus, written, (slot) => bus.bind(slot, name))),
    unbind: action((written) => withSlot(bus, written, (slot) => bus.unbind(slot, name))),
    new_id: action((written) => idWritten(written, (id) => bus.addId(id))),
    remove_id: action((written) => idWritten(written, (id) => bus.removeId(id))),
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

function idWritten(written: string, act: (id: string) => number): number {
  const match = /^\s*([0-9a-f]{1,8})[\s:]+([0-9a-f]{1,8})/i.exec(written);
  if (match === null) return -EINVAL;
  return act(
    match
      .slice(1, 3)
      .map((part) => Number.parseInt(part, 16).toString(16).padStart(4, '0'))
      .join(' '),
  );
}

function deviceFolder(bus: Bus, slot: Slot): DirectoryNode {
  const { config } = slot.function;
  const word = (at: number) => text(() => `${hex(config.view.getUint16(at, true), 4)}\n`);
  return directory({
    vendor: word(0x00),
    device: word(0x02),
    subsystem_vendor: word(0x2c),
    subsystem_device: word(0x2e),
    class: text(() => `${hex(slot.classCode, 6)}\n`),
    revision: text(() => `${hex(config.bytes[8] as number, 2)}\n`),
    config: text(() => config.bytes.slice()),
    resource: text(() => resources(slot)),
    numa_node: text(() => '-1\n'),
    irq: text(() => '11\n'),
    enable: text(() => (slot.driver ? '1\n' : '0\n')),
    modalias: text(() => modalias(slot)),
    driver: () => (slot.driver === undefined ? undefined : link(`../../../bus/pci/drivers/${slot.driver}`)),
    driver_override: setting(
      () => `${slot.override || '(null)'}\n`,
      (written) => {
        slot.override = written.trim();
        return 0;
      },
    ),
    iommu_group: () =>
      slot.group === undefined ? undefined : link(`../../../kernel/iommu_groups/${slot.group.number}`),
    subsystem: link('../../../bus/pci'),
    reset: () => (slot.function.resettable ? action(() => resetBySysfs(slot)) : undefined),
    remove: action(() => bus.forget(slot)),
  });
}

function resetBySysfs(slot: Slot): number {
  if (slot.device !== undefined) slot.device.reset();
  else {
    slot.function.powerOn();
    slot.function.bars.restore();
  }
  return 0;
}

/** Start, end and flags of the six BARs and the ROM. Source: linux/ioport.h. */
function resources(slot: Slot): string {
  const lines: string[] = [];
  const line = (start: bigint, size: number, flags: number) =>
    [start, size === 0 ? 0n : start + BigInt(size - 1), BigInt(flags)]
      .map((value) => `0x${value.toString(16).padStart(16, '0')}`)
      .join(' ');
  for (let index = 0; index < 6; index++) {
    const bar = slot.function.bars.get(index);
    if (bar === undefined) lines.push(line(0n, 0, 0));
    else if (bar.kind === 'io') lines.push(line(bar.address, bar.size, 0x4_0101));
    else
      lines.push(line(bar.address, bar.size, 0x4_0200 | (bar.is64 ? 0x10_0004 : 0) | (bar.prefetchable ? 0x2008 : 0)));
  }
  const { romSize, romAddress } = slot.function.bars;
  lines.push(romSize === 0 ? line(0n, 0, 0) : line(BigInt(romAddress), romSize, 0x4_6200));
  return `${lines.join('\n')}\n`;
}

function modalias(slot: Slot): string {
  const { view } = slot.function.config;
  const upper = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0');
  const ids = [0x00, 0x02, 0x2c, 0x2e].map((at) => upper(view.getUint16(at, true), 8));
  const [base, sub, interface_] = [16, 8, 0].map((shift) => upper((slot.classCode >> shift) & 0xff, 2));
  return `pci:v${ids[0]}d${ids[1]}sv${ids[2]}sd${ids[3]}bc${base}sc${sub}i${interface_}\n`;
}

function groupFolder(group: Group): DirectoryNode {
  return directory({
    devices: listing(
      () => group.members.map((slot) => slot.address),
      (address) => link(`../../../../devices/pci0000:00/${address}`),
    ),
    // Only the groups of no-IOMMU mode have a name ([NOI-6]).
    name: () => (group.noiommu ? text(() => 'vfio-noiommu\n') : undefined),
    type: () => (group.noiommu ? undefined : text(() => 'DMA-FQ\n')),
    reserved_regions: text(() => (group.noiommu ? '' : '0x00000000fee00000 0x00000000feefffff msi\n')),
  });
}

function hugePages(machine: Machine): DirectoryNode {
  const { memory } = machine;
  return directory({
    nr_hugepages: setting(
      () => `${memory.hugePages}\n`,
      (written) => {
        memory.hugePages = Number(written);
        return 0;
      },
    ),
    free_hugepages: text(() => `${memory.hugePagesFree}\n`),
    resv_hugepages: text(() => '0\n'),
    surplus_hugepages: text(() => '0\n'),
    size: text(() => `${HUGE_PAGE}\n`),
  });
}

function modules(machine: Machine): Record<string, Node> {
  const { parameters, kernel, type1Loaded } = machine;
  const files = <T extends object>(module: T): DirectoryNode =>
    directory(
      Object.fromEntries(
        Object.keys(module).map((name) => [name, parameter(module as Record<string, boolean | number>, name)]),
      ),
    );
  return {
    vfio: directory({ parameters: files(parameters.vfio) }),
    ...(type1Loaded && { vfio_iommu_type1: directory({ parameters: files(parameters.vfio_iommu_type1) }) }),
    vfio_pci: directory({ parameters: files(parameters.vfio_pci) }),
    ...(kernel.since('5.15') && { vfio_pci_core: directory({}) }),
  };
}

/** A module parameter: `Y` and `N`, or a number. */
function parameter(module: Record<string, boolean | number>, name: string): FileNode {
  const show = () => {
    const value = module[name];
    return typeof value === 'boolean' ? (value ? 'Y\n' : 'N\n') : `${value}\n`;
  };
  return setting(show, (written) => {
    const value = written.trim();
    if (module[name] === undefined) return -ENOENT;
    if (typeof module[name] === 'number') module[name] = Number(value);
    else if (/^[yY1]/.test(value)) module[name] = true;
    else if (/^[nN0]/.test(value)) module[name] = false;
    else return -EINVAL;
    return 0;
  });
}
