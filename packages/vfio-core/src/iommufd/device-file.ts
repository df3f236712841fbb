/** `/dev/vfio/devices/vfio0`: a device by a file of its own, without its group. Source: linux/vfio.h. */

import { exitPhase } from '../container/exit-phases.js';
import { notPermitted } from '../container/refusals.js';
import { vfTokenBytes } from '../device/vf-token.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check } from '../errors/system-error.js';
import { OwnDescriptor } from '../seam/own-descriptor.js';
import { type Fd, type IoctlPlaces, OpenFlag, type SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl, type IoctlName } from '../uapi/constants.js';
import { decode, encode } from '../uapi/struct.js';
import { bindTokenAt, structs } from '../uapi/structs.js';
import type { Hwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import type { Iommufd } from './iommufd.js';

export interface BindOptions {
  /** For a virtual function: the secret that it shares with its physical function's owner, a UUID. Since 6.17 ([IFD-15]). */
  readonly vfToken?: string | undefined;
}

/**
 * The file of a device: undefined where the kernel has none for it (before 6.6, not built in, not bound to a VFIO driver, no IOMMU).
 * Opens nothing and needs no privilege ([IFD-1]).
 */
export function findDeviceFile(system: SystemCalls, address: string): string | undefined {
  const names = system.list(`/sys/bus/pci/devices/${address}/vfio-dev`);
  const name = typeof names === 'number' ? undefined : names.find((entry) => /^vfio\d+$/.test(entry));
  return name === undefined ? undefined : `/dev/vfio/devices/${name}`;
}

/** A device's own file, opened. Until it is bound to an iommufd the kernel answers nothing else ([IFD-2]). */
export class DeviceFile {
  readonly system: SystemCalls;
  readonly path: string;
  /** The device's name, for messages. */
  readonly address: string;
  private readonly descriptor: OwnDescriptor;
  private id: number | undefined;

  private constructor(system: SystemCalls, address: string, path: string, fd: Fd) {
    this.system = system;
    this.address = address;
    this.path = path;
    this.descriptor = new OwnDescriptor(system, fd, exitPhase.device, `the file of ${address}`);
  }

  /**
   * Throws `ERR_VFIO_NOT_SUPPORTED` where the kernel has no such file, `ERR_VFIO_PERMISSION`, `ERR_VFIO_NO_DEVICE`.
   * @param address `dddd:bb:dd.f`
   */
  static open(system: SystemCalls, address: string): DeviceFile {
    const path = findDeviceFile(system, address);
    if (path === undefined) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `the kernel has no device file for ${address}.`, {
        remedy: 'Bind it to vfio-pci on a kernel of 6.6 or later with CONFIG_VFIO_DEVICE_CDEV, or use its container.',
        path: `/sys/bus/pci/devices/${address}/vfio-dev`,
        details: { address },
      });
    }
    const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
    if (fd < 0) {
      throw notPermitted(system, path, fd, {
        what: `opening ${path} (${address})`,
        codes: { ENOENT: 'ERR_VFIO_NO_DEVICE', ENODEV: 'ERR_VFIO_NO_DEVICE', ENXIO: 'ERR_VFIO_NO_DEVICE' },
        means: { ENODEV: 'the device is being unbound' },
      });
    }
    return new DeviceFile(system, address, path, fd);
  }

  /** Takes over a descriptor that another process opened. */
  static adopt(system: SystemCalls, address: string, fd: Fd): DeviceFile {
    return new DeviceFile(system, address, `descriptor ${fd}`, fd);
  }

  get fd(): Fd {
    return this.descriptor.fd;
  }

  get closed(): boolean {
    return this.descriptor.closed;
  }

  /** The number that {@link bind} gave; undefined before, and where another process did it. */
  get deviceId(): number | undefined {
    return this.id;
  }

  /** Whether it is bound to an iommufd already, by whoever opened it: only then it answers ([IFD-2]). */
  get bound(): boolean {
    this.descriptor.check();
    return this.system.ioctl(this.fd, Ioctl.VFIO_DEVICE_GET_INFO, encode(structs.vfio_device_info)) === 0;
  }

  /**
   * Gives the device to an iommufd, and opens it, off the main thread: the kernel resets it. Until it is attached its DMA is blocked
   * ([IFD-14]). There is no way back but closing ([IFD-9]); one that failed may be repeated.
   *
   * Throws `ERR_VFIO_BUSY` while its group is open, or the device is bound through another descriptor; `ERR_VFIO_PERMISSION` where
   * another iommufd or a driver has its group, or interrupts are not isolated (the kernel does not tell them apart, [IFD-8]);
   * `ERR_VFIO_NOT_SUPPORTED` for a token on a kernel that takes none.
   * @returns its number in the iommufd
   */
  async bind(iommufd: Iommufd, { vfToken }: BindOptions = {}): Promise<number> {
    const struct = structs.vfio_device_bind_iommufd;
    const { iommufd: fdField } = struct.fields;
    const fds = [{ at: fdField.offset, fd: iommufd.fd }];
    const token = vfToken === undefined ? undefined : vfTokenBytes(vfToken);
    const bytes =
      token === undefined
        ? encode(struct)
        : encode(struct, { flags: constants.VFIO_DEVICE_BIND_FLAG_TOKEN }, bindTokenAt + 8);
    const places = token === undefined ? { fds } : { fds, pointers: [{ at: bindTokenAt, bytes: token }] };
    await iommufd.during(
      this.callAsync('VFIO_DEVICE_BIND_IOMMUFD', bytes, places, {
        what: `binding ${this.address} to the iommufd`,
        codes: {
          EINVAL: token === undefined ? 'ERR_VFIO_BUSY' : 'ERR_VFIO_NOT_SUPPORTED',
          EBADF: 'ERR_VFIO_ARGUMENT',
          EBADFD: 'ERR_VFIO_ARGUMENT',
          ENODEV: 'ERR_VFIO_DEVICE_GONE',
        },
        means: {
          EINVAL:
            token === undefined
              ? 'the device is bound already, through this or another descriptor'
              : 'the kernel takes no token here (before 6.17), the device needs none, or it is bound already',
          EBUSY: 'its group is open, in this or another process',
          EPERM: 'another iommufd or a driver has its group, or the IOMMU does not isolate interrupts',
          EACCES: 'the token is not that of its physical function',
          EBADF: 'the iommufd is not open',
          EBADFD: 'the descriptor is not of /dev/iommu',
        },
        details: { address: this.address },
      }),
    );
    this.id = decode(struct, bytes).out_devid;
    return this.id;
  }

  /**
   * Lets the device reach what is mapped there. While it is attached elsewhere, it goes over without a gap ([IFD-11]), and with it the
   * others of its group.
   *
   * Throws `ERR_VFIO_BUSY` while the device is being reset; `ERR_VFIO_NO_MEMORY` where memory that is mapped already cannot be pinned;
   * `ERR_VFIO_MAPPING` where some of it is out of the device's reach, or gone; `ERR_VFIO_ARGUMENT` for an object of another iommufd.
   * @returns the number of the page table in use
   */
  attach(target: Ioas | Hwpt): number {
    const struct = structs.vfio_device_attach_iommufd_pt;
    const bytes = encode(struct, { pt_id: target.id });
    this.call('VFIO_DEVICE_ATTACH_IOMMUFD_PT', bytes, {
      what: `attaching ${this.address} to object ${target.id} of the iommufd`,
      codes: {
        EINVAL: 'ERR_VFIO_ARGUMENT',
        ENOENT: 'ERR_VFIO_ARGUMENT',
        EADDRINUSE: 'ERR_VFIO_MAPPING',
        EFAULT: 'ERR_VFIO_MAPPING',
        ENOTTY: 'ERR_VFIO_ARGUMENT',
      },
      means: {
        ...attachMeans,
        EINVAL: 'the device is not bound, or the IOMMU behind it cannot use this page table',
        ENOENT: 'the iommufd that the device is bound to has no such object',
        EADDRINUSE: 'memory is mapped, or ranges are promised, where the device cannot reach',
        EFAULT: 'memory that is mapped is not there any more, or of no kind that can be pinned',
      },
      details: { address: this.address, target: target.id },
    });
    return decode(struct, bytes).pt_id;
  }

  /** Blocks the device's DMA ([IFD-12]). Also where it is not attached. */
  detach(): void {
    this.call('VFIO_DEVICE_DETACH_IOMMUFD_PT', encode(structs.vfio_device_detach_iommufd_pt), {
      what: `detaching ${this.address}`,
      codes: { EINVAL: 'ERR_VFIO_ARGUMENT', ENOTTY: 'ERR_VFIO_ARGUMENT' },
      means: { ...attachMeans, EINVAL: 'the device is not bound' },
      details: { address: this.address },
    });
  }

  /** From now on the caller closes the descriptor; attaching and detaching go on here until {@link close}. */
  release(): Fd {
    return this.descriptor.release();
  }

  /** Idempotent. Detaches and unbinds. */
  close(): void {
    this.descriptor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private call(request: IoctlName, bytes: Uint8Array, facts: CallFacts): void {
    this.descriptor.check(request);
    check(this.system.ioctl(this.fd, Ioctl[request], bytes), { ...facts, request, path: this.path, syscall: 'ioctl' });
  }

  private async callAsync(request: IoctlName, bytes: Uint8Array, places: IoctlPlaces, facts: CallFacts): Promise<void> {
    this.descriptor.check(request);
    const call = this.system.ioctlAsync(this.fd, Ioctl[request], bytes, places);
    const answer = await this.descriptor.during(call);
    check(answer, { ...facts, request, path: this.path, syscall: 'ioctl' });
  }
}

const attachMeans: NonNullable<CallFacts['means']> = {
  ENOTTY: 'the device was opened from its group, where the container decides',
  EBUSY: 'the device, or one of its group, is being reset',
  ENODEV: 'the device is gone',
};
