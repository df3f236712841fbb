/** The folder of a PCI function in /sys. */

import type { Bus } from '../bus.js';
import type { Machine } from '../machine.js';
import { resetAndRestore } from '../pci/saved-state.js';
import type { Slot } from '../pci/slot.js';
import { makeVirtualFunctions, virtualFunctionsOf } from '../pci/sriov.js';
import { ConfigFile } from './config-file.js';
import { action, type DirectoryNode, directory, link, setting, text } from './nodes.js';

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;

export function deviceFolder(machine: Machine, bus: Bus, slot: Slot): DirectoryNode {
  const { config } = slot.function;
  const word = (at: number) => text(() => `${hex(config.view.getUint16(at, true), 4)}\n`);
  return directory({
    vendor: word(0x00),
    device: word(0x02),
    subsystem_vendor: word(0x2c),
    subsystem_device: word(0x2e),
    class: text(() => `${hex(slot.classCode, 6)}\n`),
    revision: text(() => `${hex(config.bytes[8] as number, 2)}\n`),
    config: {
      kind: 'file',
      mode: 0o644,
      read: () => config.bytes.slice(),
      open: () => new ConfigFile(slot.address, slot.function),
    },
    resource: text(() => resources(slot)),
    numa_node: text(() => '-1\n'),
    irq: text(() => '11\n'),
    enable: text(() => (slot.driver ? '1\n' : '0\n')),
    modalias: text(() => modalias(slot)),
    // The link goes before the driver does ([LIFE-9]).
    driver: () =>
      slot.driver === undefined || slot.unbinding ? undefined : link(`../../../bus/pci/drivers/${slot.driver}`),
    driver_override: setting(
      () => `${slot.override || '(null)'}\n`,
      (written) => {
        slot.override = written.trim();
        return 0;
      },
    ),
    iommu_group: () =>
      slot.group === undefined ? undefined : link(`../../../kernel/iommu_groups/${slot.group.number}`),
    'vfio-dev': () =>
      slot.vfioName === undefined || !machine.build.IOMMUFD ? undefined : directory({ [slot.vfioName]: directory({}) }),
    sriov_totalvfs: () => (slot.virtualFunctions > 0 ? text(() => `${slot.virtualFunctions}\n`) : undefined),
    sriov_numvfs: () =>
      slot.virtualFunctions > 0
        ? setting(
            () => `${virtualFunctionsOf(bus, slot).length}\n`,
            (written) => makeVirtualFunctions(bus, slot, Number(written)),
          )
        : undefined,
    power: directory({
      runtime_status: text(() => (slot.function.powerState === 3 && bus.runtimePower ? 'suspended\n' : 'active\n')),
    }),
    subsystem: link('../../../bus/pci'),
    reset: () => (slot.resettable ? action(() => resetBySysfs(slot)) : undefined),
    remove: action(() => bus.forget(slot)),
  });
}

function resetBySysfs(slot: Slot): number {
  if (slot.device !== undefined) slot.device.reset();
  else {
    resetAndRestore(slot.function);
    if (slot.driver === 'vfio-pci') slot.idle();
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
