/** The ways to an address space, and which one it is. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { VfioError } from '../errors/error.js';
import type { Way } from '../memory/dma.js';
import type { IovaSpace } from '../memory/iova-space.js';
import type { Descriptors } from '../memory/member.js';
import { Type1Space } from '../memory/type1-space.js';
import type { SystemCalls } from '../seam/system-calls.js';

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
  const { container } = descriptors;
  if (way.name === 'iommufd')
    throw new VfioError('ERR_VFIO_NOT_SUPPORTED', 'iommufd with device files is not there yet.');
  return Type1Space.make(system, { way, closesItself, container });
}

/**
 * What is asked for, what descriptors lead to, or what the machine has: the device's own file before the container, since it needs no
 * group to be closed and opened again, and the container before an iommufd in its place.
 */
export function chooseWay(
  system: SystemCalls,
  {
    way = 'auto',
    descriptors = {},
  }: { readonly way?: WayOption | undefined; readonly descriptors?: Descriptors | undefined },
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
  const there = (path: string) => typeof system.status(path) !== 'number';
  if (!there('/dev/vfio/vfio') && there('/dev/iommu')) {
    return { name: 'iommufd-container', reason: 'the kernel has /dev/iommu, no device files and no /dev/vfio/vfio' };
  }
  return { name: 'container', reason: 'the kernel has no device files for iommufd' };
}
