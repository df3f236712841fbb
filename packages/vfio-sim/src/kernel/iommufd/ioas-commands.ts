/** The commands of address spaces: ranges, map, copy, unmap ([IFD-22] to [IFD-29]). */

import { PAGE } from '../address-space.js';
import { viewOf } from '../argument.js';
import { EBADF, EFAULT, EINVAL, EMSGSIZE, ENOENT, EOPNOTSUPP, EOVERFLOW, EPERM } from '../errno.js';
import { MemoryFile } from '../memory.js';
import type { IommufdContext } from './context.js';
import { Pages } from './pages.js';
import { overlap, type Span, TOP } from './spans.js';
import { readUser, writeUser } from './user-memory.js';

const FIXED = 1;
const WRITEABLE = 2;
const READABLE = 4;

export function iovaRanges(context: IommufdContext, view: DataView): number {
  if (view.getUint32(12, true) !== 0) return -EOPNOTSUPP;
  const table = context.find('ioas', view.getUint32(4, true))?.table;
  if (table === undefined) return -ENOENT;
  const room = view.getUint32(8, true);
  const all = table.usable;
  const given = all.slice(0, room);
  const bytes = new Uint8Array(16 * given.length);
  for (const [index, { start, last }] of given.entries()) {
    viewOf(bytes).setBigUint64(16 * index, start, true);
    viewOf(bytes).setBigUint64(16 * index + 8, last, true);
  }
  if (given.length > 0 && !writeUser(context.machine.memory.space, view.getBigUint64(16, true), bytes)) return -EFAULT;
  view.setUint32(8, all.length, true);
  view.setBigUint64(24, table.alignment, true);
  return all.length > room ? -EMSGSIZE : 0;
}

export function allowIovas(context: IommufdContext, view: DataView): number {
  if (view.getUint32(12, true) !== 0) return -EOPNOTSUPP;
  const table = context.find('ioas', view.getUint32(4, true))?.table;
  if (table === undefined) return -ENOENT;
  const spans: Span[] = [];
  for (let index = 0; index < view.getUint32(8, true); index++) {
    const address = view.getBigUint64(16, true) + BigInt(16 * index);
    const bytes = readUser(context.machine.memory.space, address, 16);
    if (bytes === undefined) return -EFAULT;
    const span = { start: viewOf(bytes).getBigUint64(0, true), last: viewOf(bytes).getBigUint64(8, true) };
    if (span.start >= span.last || spans.some((other) => overlap(other, span))) return -EINVAL;
    spans.push(span);
  }
  return table.allow(spans);
}

export function map(context: IommufdContext, view: DataView): number {
  const flags = view.getUint32(4, true);
  if ((flags & ~(FIXED | WRITEABLE | READABLE)) !== 0 || view.getUint32(12, true) !== 0) return -EOPNOTSUPP;
  const address = view.getBigUint64(16, true);
  const length = view.getBigUint64(24, true);
  const iova = view.getBigUint64(32, true);
  if (iova === TOP || length === TOP) return -EOVERFLOW;
  const access = accessOf(flags);
  if (access === undefined) return -EINVAL;
  const table = context.find('ioas', view.getUint32(8, true))?.table;
  if (table === undefined) return -ENOENT;
  const wanted = (flags & FIXED) !== 0 ? iova : undefined;
  return placed(view, 32, table.mapUser(address, length, wanted, access, context.accounting));
}

/** IOAS_MAP_FILE: like {@link map}, of a memfd ([IFD-36]). */
export function mapFile(context: IommufdContext, view: DataView): number {
  const { machine } = context;
  const flags = view.getUint32(4, true);
  if ((flags & ~(FIXED | WRITEABLE | READABLE)) !== 0) return -EOPNOTSUPP;
  const [start, length, iova] = [16, 24, 32].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint];
  if (iova === TOP || length === TOP) return -EOVERFLOW;
  const access = accessOf(flags);
  if (access === undefined) return -EINVAL;
  const table = context.find('ioas', view.getUint32(8, true))?.table;
  if (table === undefined) return -ENOENT;
  const file = machine.fds.get(view.getInt32(12, true));
  if (file === undefined) return -EBADF;
  if (!(file instanceof MemoryFile) || length === 0n) return -EINVAL;
  if (start + length > BigInt(file.store.length)) return -EINVAL;
  const { store } = file;
  const page = (number: number) => ({ store, offset: number * PAGE, length: PAGE });
  const pages = new Pages(machine, { base: 0n, page, isFile: true }, access.write, context.accounting);
  return placed(view, 32, table.map([{ pages, start, length }], (flags & FIXED) !== 0 ? iova : undefined, access));
}

export function copy(context: IommufdContext, view: DataView): number {
  const flags = view.getUint32(4, true);
  if ((flags & ~(FIXED | WRITEABLE | READABLE)) !== 0) return -EOPNOTSUPP;
  const [length, to, from] = [16, 24, 32].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint];
  if (length === TOP || from === TOP || to === TOP) return -EOVERFLOW;
  const access = accessOf(flags);
  if (access === undefined) return -EINVAL;
  const source = context.find('ioas', view.getUint32(12, true))?.table;
  if (source === undefined) return -ENOENT;
  const slices = source.slices(from, length);
  if (typeof slices === 'number') return slices;
  const table = context.find('ioas', view.getUint32(8, true))?.table;
  if (table === undefined) return -ENOENT;
  return placed(view, 24, table.map(slices, (flags & FIXED) !== 0 ? to : undefined, access));
}

export function unmap(context: IommufdContext, view: DataView): number {
  const table = context.find('ioas', view.getUint32(4, true))?.table;
  if (table === undefined) return -ENOENT;
  const iova = view.getBigUint64(8, true);
  const length = view.getBigUint64(16, true);
  if (iova === 0n && length === TOP) {
    view.setBigUint64(16, table.unmap({ start: 0n, last: TOP }).bytes, true);
    return 0;
  }
  if (iova === TOP || length === TOP) return -EOVERFLOW;
  if (length === 0n) return -EINVAL;
  if (iova + length - 1n > TOP) return -EOVERFLOW;
  const { status, bytes } = table.unmap({ start: iova, last: iova + length - 1n });
  if (status < 0) return status;
  view.setBigUint64(16, bytes, true);
  return bytes === 0n ? -ENOENT : 0;
}

/** IOAS_NOIOMMU_GET_PA: the physical address behind a device address, and how far it goes on ([NOI-32]). */
export function physicalAddress(context: IommufdContext, view: DataView): number {
  const { machine } = context;
  if (!machine.rights.sysRawio) return -EPERM;
  if (view.getUint32(4, true) !== 0 || view.getUint32(12, true) !== 0) return -EOPNOTSUPP;
  const iova = view.getBigUint64(16, true);
  const length = view.getBigUint64(24, true);
  if (length === 0n) return -EINVAL;
  if (iova + length - 1n > TOP) return -EOVERFLOW;
  const ioas = context.find('ioas', view.getUint32(8, true));
  if (ioas === undefined) return -ENOENT;
  const hwpt = [...ioas.hwpts].find(({ physical }) => physical);
  if (hwpt === undefined) return -EOPNOTSUPP;
  let found = hwpt.resolve(iova, false);
  if (found === 'protection') found = hwpt.resolve(iova, true);
  if (typeof found === 'string') return -ENOENT;
  const run = BigInt(Math.min(found.length, PAGE - (found.offset % PAGE)));
  view.setBigUint64(24, run < length ? run : length, true);
  view.setBigUint64(32, machine.memory.physicalBehind(found) ?? 0n, true);
  return 0;
}

const accessOf = (flags: number) =>
  (flags & (WRITEABLE | READABLE)) === 0
    ? undefined
    : { read: (flags & READABLE) !== 0, write: (flags & WRITEABLE) !== 0 };

/** Tells where it was placed. */
function placed(view: DataView, at: number, iova: bigint | number): number {
  if (typeof iova === 'number') return iova;
  view.setBigUint64(at, iova, true);
  return 0;
}
