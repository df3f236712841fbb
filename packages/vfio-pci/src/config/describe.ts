/** Configuration space in words. */

import { isVfioError } from 'vfio-core';
import { className, interfaceName } from '../layouts/index.js';
import { walkExtended, walkStandard } from './chain.js';
import type { Capability, ConfigSpace } from './config-space.js';
import { extendedCapability, standardCapability } from './config-space.js';

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
const flag = (name: string, on: number): string => `${name}${on === 0 ? '-' : '+'}`;

/** Like `lspci -v`: identity, command and status, BARs, capabilities with their registers. */
export function describeConfig(config: ConfigSpace): string {
  const { header } = config;
  const lines = [title(config)];
  if (config.headerType === 0 && config.subsystemVendorId !== 0) {
    lines.push(`  Subsystem: ${hex(config.subsystemVendorId, 4)}:${hex(config.subsystemId, 4)}`);
  }
  const command = header.COMMAND.fields();
  const status = header.STATUS.fields();
  lines.push(
    `  Control: ${flag('I/O', command.IO_SPACE)} ${flag('Mem', command.MEMORY_SPACE)} ${flag('BusMaster', command.BUS_MASTER)} ${flag('DisINTx', command.INTERRUPT_DISABLE)}`,
    `  Status: ${flag('Cap', status.CAPABILITIES_LIST)} ${flag('INTx', status.INTERRUPT)} ${flag('TAbort', status.RECEIVED_TARGET_ABORT)} ${flag('MAbort', status.RECEIVED_MASTER_ABORT)} ${flag('SERR', status.SIGNALED_SYSTEM_ERROR)} ${flag('PERR', status.DETECTED_PARITY_ERROR)}`,
  );
  const pin = config.interruptPin;
  if (pin >= 1 && pin <= 4) lines.push(`  Interrupt: pin ${'ABCD'[pin - 1]}, line ${header.INTERRUPT_LINE.read()}`);
  if (config.headerType === 1) {
    const { bridge } = config;
    const buses = [bridge.PRIMARY_BUS, bridge.SECONDARY_BUS, bridge.SUBORDINATE_BUS].map((bus) => hex(bus.read(), 2));
    lines.push(`  Bus: primary=${buses[0]}, secondary=${buses[1]}, subordinate=${buses[2]}`);
  }
  lines.push(...bars(config), ...lists(config));
  return lines.join('\n');
}

function title(config: ConfigSpace): string {
  const { classCode } = config;
  const face = classCode & 0xff;
  const named = interfaceName(classCode);
  const programming = face === 0 ? '' : ` (prog-if ${hex(face, 2)}${named === undefined ? '' : ` [${named}]`})`;
  const ids = `${hex(config.vendorId, 4)}:${hex(config.deviceId, 4)}`;
  const at = config.address === undefined ? '' : `${config.address} `;
  return `${at}${className(classCode)} [${hex(classCode >>> 8, 4)}]: ${ids} (rev ${hex(config.revision, 2)})${programming}`;
}

/** Values of the BARs; sizes are the region's to know, the registers do not tell them by themselves. Source: PCI 3.0, 6.2.5.1. */
function bars(config: ConfigSpace): string[] {
  const count = config.headerType === 0 ? 6 : config.headerType === 1 ? 2 : 0;
  const lines: string[] = [];
  for (let index = 0; index < count; index++) {
    const low = config.header.BAR.at(index).read();
    if (low === 0) continue;
    if ((low & 1) === 1) {
      lines.push(`  BAR${index}: I/O ports at 0x${hex((low & ~3) >>> 0, 4)}`);
      continue;
    }
    const is64 = (low & 6) === 4 && index + 1 < count;
    const high = is64 ? config.header.BAR.at(index + 1).read() : 0;
    const address = (BigInt(high) << 32n) | BigInt((low & ~15) >>> 0);
    const kind = `${is64 ? '64' : '32'}-bit, ${(low & 8) === 0 ? 'non-prefetchable' : 'prefetchable'}`;
    lines.push(`  BAR${index}: memory at 0x${address.toString(16).padStart(is64 ? 16 : 8, '0')} (${kind})`);
    if (is64) index++;
  }
  return lines;
}

function lists(config: ConfigSpace): string[] {
  const { window } = config;
  const standard = walkStandard(window);
  const extended = walkExtended(window);
  return [
    ...standard.entries.flatMap((entry) => describeCapability(standardCapability(window, entry), 2)),
    ...broken(standard.broken),
    ...extended.entries.flatMap((entry) => describeCapability(extendedCapability(window, entry), 3)),
    ...broken(extended.broken),
  ];
}

const broken = (error: { readonly summary: string } | undefined): string[] =>
  error === undefined ? [] : [`  (${error.summary})`];

function describeCapability(capability: Capability, digits: number): string[] {
  const version = capability.version === undefined ? '' : ` version ${capability.version}`;
  const head = `  Capabilities: [${hex(capability.offset, digits)}] ${capability.name}${version}`;
  return [head, ...registerLines(capability)];
}

/** The registers behind the header, indented; the reason where they do not fit. */
function registerLines(capability: Capability): string[] {
  try {
    const { ID: _id, NEXT: _next, HEADER: _header, ...registers } = capability.registers as Record<string, unknown>;
    return Object.values(registers).map((register) => `    ${String(register)}`);
  } catch (thrown) {
    if (!isVfioError(thrown) || thrown.code !== 'ERR_VFIO_MALFORMED') throw thrown;
    return [`    (${thrown.summary})`];
  }
}
