/** The ways to an address space, and which one it is. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { errnoName } from '../errors/errno.js';
import { type ErrorFacts, VfioError } from '../errors/error.js';
import { findDeviceFile } from '../iommufd/device-file.js';
import type { Way } from '../memory/dma.js';
import { IommufdSpace } from '../memory/iommufd-space.js';
import type { IovaSpace } from '../memory/iova-space.js';
import { type Descriptors, PassedOn } from '../memory/passed-on.js';
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
  const { descriptors } = options;
  const passedOn = new PassedOn(system, descriptors);
  try {
    passedOn.check();
    if (passedOn.has('group') || passedOn.has('device')) {
      throw refused('an address space takes the descriptor of a container or of an iommufd.', descriptors ?? {}, {
        remedy: 'Pass those of a group or a device to openDevice(address, { space, descriptors }).',
      });
    }
    return makeSpace(system, chooseWay(system, options), { closesItself: false, passedOn });
  } finally {
    passedOn.close();
  }
}

/** @internal */
export function makeSpace(
  system: SystemCalls,
  way: Way,
  { closesItself, passedOn }: { readonly closesItself: boolean; readonly passedOn: PassedOn },
): IovaSpace {
  if (way.name === 'iommufd')
    return IommufdSpace.make(system, { way, closesItself, iommufd: passedOn.take('iommufd') });
  return Type1Space.make(system, { way, closesItself, container: passedOn.take('container') });
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
  const byDescriptors = wayOf(descriptors, way);
  if (byDescriptors !== undefined) {
    if (way !== 'auto' && way !== byDescriptors) {
      throw refused(`the descriptors lead by way of ${byDescriptors}, not of ${way}.`, descriptors, {
        details: { way },
      });
    }
    return { name: byDescriptors, reason: 'the descriptors that were passed lead there' };
  }
  if (way !== 'auto') return { name: way, reason: 'it was asked for' };
  // Device files take a token since 6.17 only, and no kernel says whether it does ([IFD-15]).
  const iommufdFails =
    vfToken === undefined || !hasGroups(system)
      ? cannotUseFiles(system, address)
      : 'groups have taken a VF token for longer than device files';
  if (iommufdFails === undefined) {
    const whose = address === undefined ? 'devices' : address;
    return { name: 'iommufd', reason: `the kernel has files of their own for ${whose}` };
  }
  if (!there(system, '/dev/vfio/vfio') && there(system, '/dev/iommu')) {
    return { name: 'iommufd-container', reason: `${iommufdFails}, and there is no /dev/vfio/vfio` };
  }
  return { name: 'container', reason: iommufdFails };
}

/** Throws `ERR_VFIO_ARGUMENT` for descriptors that do not go together. Undefined: there are none. */
function wayOf(descriptors: Descriptors, wanted: WayOption): Exclude<WayOption, 'auto'> | undefined {
  const { container, iommufd, group, device } = descriptors;
  if (container === undefined && group === undefined) {
    return iommufd === undefined && device === undefined ? undefined : 'iommufd';
  }
  if (iommufd !== undefined) {
    throw refused('a container or a group, and an iommufd, are two ways in.', descriptors, {
      remedy: 'Pass an iommufd that stands in for a container as the container; else leave one of them out.',
    });
  }
  if (container === undefined && device !== undefined) {
    throw refused('the device was opened from its group in a container, which is missing.', descriptors, {
      remedy: 'Pass the container of the group as well:  descriptors: { container, group, device }.',
    });
  }
  return wanted === 'iommufd-container' ? wanted : 'container';
}

const refused = (what: string, descriptors: Descriptors, facts: ErrorFacts): VfioError =>
  new VfioError('ERR_VFIO_ARGUMENT', what, { ...facts, details: { ...facts.details, descriptors } });

const hasGroups = (system: SystemCalls): boolean => {
  const nodes = system.list('/dev/vfio');
  return typeof nodes !== 'number' && nodes.some((name) => /^\d+$/.test(name));
};

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
