/** The whole way to a device: sysfs, then container, group and IOMMU, or iommufd; then the device. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { pciAddress } from '../container/pci-address.js';
import type { Device } from '../device/device.js';
import { KernelChannel } from '../device/kernel-channel.js';
import { OpenDevice } from '../device/open-device.js';
import { vfTokenBytes } from '../device/vf-token.js';
import { VfioError } from '../errors/error.js';
import type { DmaSpace } from '../memory/dma.js';
import { type IovaSpace, isIovaSpace } from '../memory/iova-space.js';
import { type Descriptors, PassedOn } from '../memory/passed-on.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { usableGroup } from './usable-group.js';
import { chooseWay, makeSpace, type WayOption } from './ways.js';

export interface OpenOptions extends BackendOption {
  /**
   * An address space to share with other devices: `device.dma` of another one, or one of `openSpace()`. By default the device gets
   * one of its own, which closes with it.
   */
  readonly space?: DmaSpace | undefined;
  /** How to reach the kernel. `auto` by default; `device.dma.way` says which it was, and why. */
  readonly way?: WayOption | undefined;
  /** Descriptors that another process opened. With a group or a device among them nothing of the machine's /sys is looked at. */
  readonly descriptors?: Descriptors | undefined;
  /**
   * For a virtual function whose physical function is driven by a program: the secret that both share, a UUID
   * (`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`). For a physical function: that virtual functions of it need from now on.
   */
  readonly vfToken?: string | undefined;
}

/**
 * Opens a PCI device that is bound to vfio-pci. Bus mastering is off, as VFIO leaves it.
 *
 * Each thing that can be wrong has its own error, and then nothing is left open: `ERR_VFIO_ARGUMENT` (not an address),
 * `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NO_IOMMU`, `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_NOT_BOUND` (which driver holds it),
 * `ERR_VFIO_PERMISSION` (whose the file is), `ERR_VFIO_BUSY`, `ERR_VFIO_GROUP_NOT_VIABLE` (which members are in the way),
 * `ERR_VFIO_UNSAFE_INTERRUPTS`, `ERR_VFIO_API`.
 *
 * @param address `dddd:bb:dd.f`; the domain may be left out
 */
export async function openDevice(address: string, options: OpenOptions = {}): Promise<Device> {
  const { space, descriptors } = options;
  const system = options.backend ?? (isIovaSpace(space) ? space.system : defaultBackend());
  const passedOn = new PassedOn(system, descriptors);
  try {
    passedOn.check();
    return await open(system, pciAddress(address), options, passedOn);
  } finally {
    // What nobody took: that was on its way when something failed.
    passedOn.close();
  }
}

async function open(system: SystemCalls, address: string, options: OpenOptions, passedOn: PassedOn): Promise<Device> {
  const { vfToken } = options;
  if (vfToken !== undefined) vfTokenBytes(vfToken);
  const shared = sharedSpace(options, passedOn);
  const way = shared === undefined ? chooseWay(system, options, address) : shared.way;
  const group = passedOn.has('group') || passedOn.has('device') ? undefined : usableGroup(system, address);
  const space = shared ?? makeSpace(system, way, { closesItself: true, passedOn });
  try {
    const { fd, closing, leave } = await space.openMember({ address, group, passedOn, vfToken });
    try {
      const channel = new KernelChannel(system, fd, address);
      const device = new OpenDevice({ channel, address, dma: space, after: leave });
      device.onClose('device', closing);
      return device;
    } catch (thrown) {
      system.close(fd);
      leave();
      throw thrown;
    }
  } catch (thrown) {
    // A space that its only device opened and that never had it.
    if (shared === undefined) space.close();
    throw thrown;
  }
}

function sharedSpace({ space, backend, way = 'auto' }: OpenOptions, passedOn: PassedOn): IovaSpace | undefined {
  if (space === undefined) return undefined;
  if (!isIovaSpace(space)) {
    throw new VfioError('ERR_VFIO_ARGUMENT', 'devices behind an IOMMU cannot share this address space.', {
      remedy: 'Pass device.dma of a device that openDevice() opened, or openSpace().',
    });
  }
  if (space.closed) throw new VfioError('ERR_VFIO_CLOSED', 'the address space was closed.');
  if (backend !== undefined && backend !== space.system) {
    throw new VfioError('ERR_VFIO_ARGUMENT', 'the address space belongs to another backend.');
  }
  if (way !== 'auto' && way !== space.way.name) {
    throw new VfioError(
      'ERR_VFIO_ARGUMENT',
      `the address space was opened by way of ${space.way.name}, not of ${way}.`,
    );
  }
  for (const kind of ['container', 'iommufd'] as const) {
    // The space's own, passed once more: it stays the space's.
    if (passedOn.get(kind) === space.descriptor) passedOn.take(kind);
  }
  const own = (['container', 'iommufd'] as const).find((kind) => passedOn.has(kind));
  if (own !== undefined || (space.way.name === 'iommufd' && passedOn.has('group'))) {
    throw new VfioError(
      'ERR_VFIO_ARGUMENT',
      `the address space has no use for the descriptor of a ${own ?? 'group'}.`,
      {
        remedy: 'Pass a container or an iommufd to openSpace(), and a group only with the space of a container.',
      },
    );
  }
  return space;
}
