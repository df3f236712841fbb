/** The commands of an iommufd by number, and those that are about objects as a whole. */

import { EBUSY, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM } from '../errno.js';
import type { Machine } from '../machine.js';
import type { IommufdContext } from './context.js';
import { allocateHwpt, getDirtyBitmap, hardwareInfo, invalidate, setDirtyTracking } from './hwpt-commands.js';
import { allowIovas, copy, iovaRanges, map, mapFile, physicalAddress, unmap } from './ioas-commands.js';
import { Ioas } from './page-tables.js';

/** `view` is a copy of the structure, zeros behind what the process gave; it is written back where the command succeeds. */
export type Run = (context: IommufdContext, view: DataView) => number;

export interface Command {
  /** The least that a structure may be, bytes. */
  readonly minimum: number;
  /** What this kernel knows of the structure, bytes. */
  readonly size: number;
  readonly run: Run;
}

const command = (minimum: number, run: Run, size = minimum): Command => ({ minimum, size, run });
const unsupported: Run = () => -EOPNOTSUPP;

const table = (kernel: Machine['kernel']): [number, Command][] => {
  const known: [number, Command][] = [
    [0x80, command(8, (context, view) => context.objects.remove(view.getUint32(4, true)))],
    [0x81, command(12, allocateIoas)],
    [0x82, command(24, allowIovas)],
    [0x83, command(40, copy)],
    [0x84, command(32, iovaRanges)],
    [0x85, command(40, map)],
    [0x86, command(24, unmap)],
    [0x87, command(24, option)],
    [0x88, command(12, vfioIoas)],
  ];
  if (kernel.since('6.6')) known.push([0x89, command(24, allocateHwpt, 48)], [0x8a, command(32, hardwareInfo, 40)]);
  if (kernel.since('6.7')) known.push([0x8b, command(16, setDirtyTracking)], [0x8c, command(48, getDirtyBitmap)]);
  if (kernel.since('6.8')) known.push([0x8d, command(32, invalidate)]);
  // Page faults and virtual IOMMUs: their numbers are known here, and that is all ([IFD-39]).
  if (kernel.since('6.11')) known.push([0x8e, command(16, unsupported)]);
  if (kernel.since('6.13')) known.push([0x8f, command(40, mapFile)]);
  if (kernel.since('6.13')) known.push(...[0x90, 0x91].map((n): [number, Command] => [n, command(8, unsupported)]));
  if (kernel.since('6.14')) known.push([0x92, command(8, changeProcess)]);
  if (kernel.since('6.15')) known.push([0x93, command(8, unsupported)]);
  if (kernel.since('6.17')) known.push([0x94, command(8, unsupported)]);
  if (kernel.since('7.3')) known.push([0x95, command(40, physicalAddress)]);
  return known;
};

/** What a kernel has, by number. */
export const commands = ({ kernel }: Machine): ReadonlyMap<number, Command> => new Map(table(kernel));

function allocateIoas(context: IommufdContext, view: DataView): number {
  if (view.getUint32(4, true) !== 0) return -EOPNOTSUPP;
  const ioas = new Ioas(context.machine);
  context.objects.add(ioas);
  view.setUint32(8, ioas.id, true);
  return 0;
}

/** OPTION: RLIMIT_MODE is 0, HUGE_PAGES 1; SET is 0, GET 1. */
function option(context: IommufdContext, view: DataView): number {
  const which = view.getUint32(4, true);
  const operation = view.getUint16(8, true);
  const value = view.getBigUint64(16, true);
  const id = view.getUint32(12, true);
  if (view.getUint16(10, true) !== 0 || which > 1) return -EOPNOTSUPP;
  if (which === 0) {
    if (id !== 0 || operation > 1) return -EOPNOTSUPP;
    if (operation === 0) return setRlimitMode(context, value);
    view.setBigUint64(16, context.chargesProcess ? 1n : 0n, true);
    return 0;
  }
  const table = context.find('ioas', id)?.table;
  if (table === undefined) return -ENOENT;
  if (operation > 1) return -EOPNOTSUPP;
  if (operation === 0) return value > 1n ? -EINVAL : table.setLargePages(value === 1n);
  view.setBigUint64(16, table.largePages ? 1n : 0n, true);
  return 0;
}

/** [IFD-27]. */
function setRlimitMode(context: IommufdContext, value: bigint): number {
  if (!context.machine.rights.sysResource) return -EPERM;
  if (!context.objects.empty) return -EBUSY;
  if (value > 1n) return -EINVAL;
  context.chargesProcess = value === 1n;
  return 0;
}

/** VFIO_IOAS: GET is 0, SET 1, CLEAR 2 ([IFD-30]). */
function vfioIoas(context: IommufdContext, view: DataView): number {
  const operation = view.getUint16(8, true);
  if (view.getUint16(10, true) !== 0 || operation > 2) return -EOPNOTSUPP;
  if (operation === 2) {
    context.compatible = undefined;
    return 0;
  }
  if (operation === 1) {
    const ioas = context.find('ioas', view.getUint32(4, true));
    if (ioas === undefined) return -ENOENT;
    context.compatible = ioas;
    return 0;
  }
  if (context.compatible === undefined) return -ENODEV;
  view.setUint32(4, context.compatible.id, true);
  return 0;
}

/** Only what was mapped from files can go over to another process ([IFD-39]). */
function changeProcess(context: IommufdContext, view: DataView): number {
  if (view.getUint32(4, true) !== 0) return -EOPNOTSUPP;
  const spaces = context.objects.all.filter((object): object is Ioas => object.kind === 'ioas');
  return spaces.some(({ table }) => [...table.areas].some(({ pages }) => !pages.isFile)) ? -EINVAL : 0;
}
