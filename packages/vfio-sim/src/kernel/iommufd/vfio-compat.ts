/** An iommufd in the place of a container: what it answers to a container's commands ([IFD-30] to [IFD-34]). */

import type { UserArgument } from '../argument.js';
import { EFAULT, EINVAL, ENODEV, ENOTTY, EOVERFLOW, EPERM } from '../errno.js';
import { getInfo } from './compat-info.js';
import type { IommufdContext } from './context.js';
import type { IoPagetable } from './io-pagetable.js';
import { Ioas } from './page-tables.js';
import { TOP } from './spans.js';

const READ = 1;
const WRITE = 2;
const UNMAP_ALL = 2;
const TYPE1 = 1;
const TYPE1V2 = 3;
const NOIOMMU = 8;

export function vfioIoctl(context: IommufdContext, request: number, argument: UserArgument): number {
  switch (request) {
    case 0x3b64:
      return 0;
    case 0x3b65:
      return extension(context, argument.value);
    case 0x3b66:
      return setIommu(context, argument.value);
    case 0x3b70:
      return getInfo(context, argument);
    case 0x3b71:
      return map(context, argument);
    case 0x3b72:
      return unmap(context, argument);
    default:
      return -ENOTTY;
  }
}

/** SET_CONTAINER of a group with an IOMMU: 0 or a negative errno. */
export function makeCompatible(context: IommufdContext): number {
  if (context.noiommu) return -EINVAL;
  if (context.compatible !== undefined) return 0;
  context.compatible = new Ioas(context.machine);
  context.objects.add(context.compatible);
  return 0;
}

/** SET_CONTAINER of a group of no-IOMMU mode ([NOI-26]). */
export function makeNoiommu(context: IommufdContext): number {
  if (context.compatible !== undefined) return -EINVAL;
  context.noiommu = true;
  return 0;
}

function extension({ noiommu, compatible, machine }: IommufdContext, number: number): number {
  if ([TYPE1, TYPE1V2, 9].includes(number)) return noiommu ? 0 : 1;
  if (number === NOIOMMU) return machine.build.VFIO_NOIOMMU ? 1 : 0;
  if (number !== 4) return 0;
  if (compatible === undefined) return -ENODEV;
  return compatible.hwpts.size === 0 || machine.iommu?.coherent ? 1 : 0;
}

function setIommu({ noiommu, compatible, machine }: IommufdContext, type: number): number {
  if (type === NOIOMMU && noiommu) return machine.rights.sysRawio ? 0 : -EPERM;
  if ((type !== TYPE1 && type !== TYPE1V2) || noiommu) return -EINVAL;
  if (compatible === undefined) return -ENODEV;
  return type === TYPE1 ? compatible.table.setLargePages(false) : 0;
}

function map(context: IommufdContext, argument: UserArgument): number {
  const view = argument.view(32);
  if (view === undefined) return -EFAULT;
  const flags = view.getUint32(4, true);
  if (view.getUint32(0, true) < 32 || (flags & ~(READ | WRITE)) !== 0) return -EINVAL;
  if (context.compatible === undefined) return -ENODEV;
  const access = { read: (flags & READ) !== 0, write: (flags & WRITE) !== 0 };
  const [address, iova, length] = [8, 16, 24].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint];
  const result = context.compatible.table.mapUser(address, length, iova, access, context.accounting);
  return typeof result === 'number' ? result : 0;
}

function unmap({ compatible }: IommufdContext, argument: UserArgument): number {
  const view = argument.view(24);
  if (view === undefined) return -EFAULT;
  const flags = view.getUint32(4, true);
  if (view.getUint32(0, true) < 24 || (flags & ~UNMAP_ALL) !== 0) return -EINVAL;
  if (compatible === undefined) return -ENODEV;
  const { table } = compatible;
  const iova = view.getBigUint64(8, true);
  const length = view.getBigUint64(16, true);
  if ((flags & UNMAP_ALL) !== 0) {
    if (iova !== 0n || length !== 0n) return -EINVAL;
    view.setBigUint64(16, table.unmap({ start: 0n, last: TOP }).bytes, true);
    return 0;
  }
  const { status, bytes } = unmapRange(table, iova, length);
  // Written back whatever comes of it ([IFD-33]).
  if (bytes !== undefined) view.setBigUint64(16, bytes, true);
  return status;
}

/** Without large pages a range may begin and end inside of mappings. `bytes` is absent where nothing is told. */
function unmapRange(table: IoPagetable, iova: bigint, length: bigint): { status: number; bytes?: bigint } {
  const last = BigInt.asUintN(64, iova + length - 1n);
  if (!table.largePages) {
    for (const behind of iova === 0n ? [last] : [last, iova - 1n]) {
      const status = table.cut(behind);
      if (status < 0) return { status };
    }
  }
  if (length === 0n) return { status: -EINVAL, bytes: 0n };
  if (last < iova) return { status: -EOVERFLOW, bytes: 0n };
  return table.unmap({ start: iova, last });
}
