/** The ways to an address space, and which one it is. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { errnoName } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { findDeviceFile } from '../iommufd/device-file.js';
import type { Way } from '../memory/dma.js';
import { IommufdSpace } from '../memory/iommufd-space.js';
import type { IovaSpace } from '../memory/iova-space.js';
import type { Descriptors } from '../memory/member.js';
import { Type1Space } from '../memory/type1-space.js';
import { OpenFlag, type SystemCalls } from '../seam/system-calls.js';

/** A way that can be asked for; `auto` takes what the machine offers. */
export type WayOption = 'auto' | Exclude<Way['name'], 'none'>;

export interface SpaceOptions extends BackendOption {
  /** How to reach the kernel: see {@link Way}. `auto` by default; `space.way` says which it was, and why. */
  readonly way?: WayOption | undefined;
  /** Descriptors that another process opened. They decide the way. */
  readonly descriptors?: Pick<Descriptors, 'container' | 'iommufd'> | undefined;
}

/**
 * Opens an address space for one or several devices: `openDevice(address, { space })`. It closes when the program says so.
 * Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_API`, `ERR_VFIO_ARGUMENT`.
 */
export function openSpace(options: SpaceOptions = {}): IovaSpace {
  const system = options.backend ?? defaultBackend();
  return makeSpace(system, chooseWay(system, options), { closesItself: false, descriptors: options.descriptors ?? {} });
}

/** @internal */
export function makeSpace(
  system: SystemCalls,
  way: Way,
  { closesItself, descriptors }: { readonly closesItself: boolean; readonly descriptors: Descriptors },
): IovaSpace {
  const { container, iommufd } = descriptors;
  if (way.name === 'iommufd') return IommufdSpace.make(system, { way, closesItself, iommufd });
  return Type1Space.make(system, { way, closesItself, container });
}

/** What decides the way, beside the machine. */
export interface WayQuestion {
  readonly way?: WayOption | undefined;
  readonly descriptors?: Descriptors | undefined;
  readonly vfToken?: string | undefined;
}

/**
 * What is asked for, what descriptors lead to, or what the machine has: the device's own file before the container, since it needs no
 * group to be closed and opened again, and the container before an iommufd in its place.
 * @param address of the device, where it is known
 */
export function chooseWay(
  system: SystemCalls,
  { way = 'auto', descriptors = {}, vfToken }: WayQuestion = {},
  address?: string,
): Way {
  const { container, iommufd, group, device } = descriptors;
  const byDescriptors =
    container !== undefined || group !== undefined
      ? way === 'iommufd-container'
        ? way
        : 'container'
      : iommufd !== undefined || device !== undefined
        ? 'iommufd'
        : undefined;
  if (byDescriptors !== undefined) {
    if (way !== 'auto' && way !== byDescriptors) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `the descriptors lead by way of ${byDescriptors}, not of ${way}.`, {
        details: { way, descriptors },
      });
    }
    return { name: byDescriptors, reason: 'the descriptors that were passed lead there' };
  }
  if (way !== 'auto') return { name: way, reason: 'it was asked for' };
  // Device files take a token since 6.17 only, and no kernel says whether it does ([IFD-15]).
  const iommufdFails =
    vfToken === undefined ? cannotUseFiles(system, address) : 'groups take a VF token on every kernel';
  if (iommufdFails === undefined) {
    const whose = address === undefined ? 'devices' : address;
    return { name: 'iommufd', reason: `the kernel has files of their own for ${whose}` };
  }
  if (!there(system, '/dev/vfio/vfio') && there(system, '/dev/iommu')) {
    return { name: 'iommufd-container', reason: `${iommufdFails}, and there is no /dev/vfio/vfio` };
  }
  return { name: 'container', reason: iommufdFails };
}

const there = (system: SystemCalls, path: string): boolean => typeof system.status(path) !== 'number';

/**
 * Why device files are not the way; undefined where they are. Rights are tried, since nobody tells them: opening these files has no
 * effect by itself ([IFD-2]), and a user who was given a group has often not been given these.
 */
function cannotUseFiles(system: SystemCalls, address: string | undefined): string | undefined {
  const files = system.list('/dev/vfio/devices');
  if (typeof files === 'number' || !there(system, '/dev/iommu')) return 'the kernel has no device files for iommufd';
  const file = address === undefined ? undefined : findDeviceFile(system, address);
  if (address !== undefined && file === undefined) return `the kernel has no device file for ${address}`;
  if (files.length === 0) return 'there is no device file yet';
  for (const path of file === undefined ? ['/dev/iommu'] : ['/dev/iommu', file]) {
    const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
    if (fd < 0) return `${path} cannot be opened (${errnoName(-fd)})`;
    system.close(fd);
  }
  return undefined;
}
