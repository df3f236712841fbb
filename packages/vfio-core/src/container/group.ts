/** A group: what can be handed to a program as one, because the hardware cannot keep its devices apart. Source: linux/vfio.h. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check } from '../errors/system-error.js';
import { type Fd, OpenFlag, type SystemCalls } from '../seam/system-calls.js';
import { constants, Ioctl } from '../uapi/constants.js';
import { decode, encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import type { Container } from './container.js';
import { exitPhase } from './exit-phases.js';
import { notPermitted } from './refusals.js';

/** What VFIO_GROUP_GET_STATUS says ([GRP-6]). */
export interface GroupStatus {
  readonly flags: number;
  /** No host driver stands in the way. */
  readonly viable: boolean;
  /** The group is in a container. */
  readonly containerSet: boolean;
}

/** A group node, opened. The kernel opens each once at a time ([GRP-2]). */
export class Group {
  readonly system: SystemCalls;
  readonly path: string;
  readonly fd: Fd;
  private readonly exit: number;
  private container: Container | undefined;
  private shut = false;

  private constructor(system: SystemCalls, path: string, fd: Fd) {
    this.system = system;
    this.path = path;
    this.fd = fd;
    this.exit = system.onExit(exitPhase.group, { call: 'close', fd });
  }

  /**
   * Throws `ERR_VFIO_PERMISSION`, `ERR_VFIO_BUSY`, `ERR_VFIO_NO_DEVICE` for a group that is not there (any more).
   * @param group its number, or its whole path (`/dev/vfio/noiommu-0`)
   */
  static open(system: SystemCalls, group: string | number): Group {
    const path = typeof group === 'number' ? `/dev/vfio/${group}` : group;
    const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
    if (fd < 0) {
      throw notPermitted(system, path, fd, {
        what: `opening ${path}`,
        codes: { ENOENT: 'ERR_VFIO_NO_DEVICE', ENODEV: 'ERR_VFIO_NO_DEVICE', ENXIO: 'ERR_VFIO_NO_DEVICE' },
      });
    }
    return new Group(system, path, fd);
  }

  /** Takes over a descriptor that another process opened. */
  static adopt(system: SystemCalls, fd: Fd): Group {
    return new Group(system, `descriptor ${fd}`, fd);
  }

  get closed(): boolean {
    return this.shut;
  }

  status(): GroupStatus {
    const bytes = encode(structs.vfio_group_status);
    this.call('VFIO_GROUP_GET_STATUS', bytes);
    const { flags } = decode(structs.vfio_group_status, bytes);
    return {
      flags,
      viable: (flags & constants.VFIO_GROUP_FLAGS_VIABLE) !== 0,
      containerSet: (flags & constants.VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0,
    };
  }

  /**
   * Puts the group into a container ([GRP-12] to [GRP-19]).
   * Throws `ERR_VFIO_PERMISSION` where a host driver owns the group (kernels that test it here, [GRP-17]) and for a no-IOMMU
   * group without CAP_SYS_RAWIO, `ERR_VFIO_BUSY`, `ERR_VFIO_ARGUMENT` where it is in a container already, ...
   */
  setContainer(container: Container): void {
    if (container.closed) throw new VfioError('ERR_VFIO_CLOSED', 'the container was closed.');
    this.call('VFIO_GROUP_SET_CONTAINER', new Uint8Array(4), {
      places: { fds: [{ at: 0, fd: container.fd }] },
      codes: { EINVAL: 'ERR_VFIO_ARGUMENT', EBADF: 'ERR_VFIO_ARGUMENT', EBADFD: 'ERR_VFIO_ARGUMENT' },
      means: {
        EINVAL: 'the group is in a container already, or what was passed is none',
        EBADF: 'the descriptor of the container is not open',
        EBADFD: 'what was passed is no container',
        EBUSY: 'another address space has the DMA of the group',
      },
    });
    this.container = container;
    (container.groups as Set<Group>).add(this);
  }

  /** Takes the group out ([GRP-20] to [GRP-22]). Throws `ERR_VFIO_BUSY` while a device of it is open, `ERR_VFIO_ARGUMENT` where it is in none. */
  unsetContainer(): void {
    this.call('VFIO_GROUP_UNSET_CONTAINER', 0, {
      codes: { EINVAL: 'ERR_VFIO_ARGUMENT' },
      means: { EINVAL: 'the group is in no container', EBUSY: 'a device of the group is open' },
    });
    this.forget();
  }

  /**
   * Opens a device of the group, off the main thread: the kernel resets the device ([LIFE-1]).
   * Throws `ERR_VFIO_ARGUMENT` before the group is in a container with a model ([GRP-27]), `ERR_VFIO_NOT_BOUND`, `ERR_VFIO_BUSY`, ...
   * @param name as the kernel writes it, `dddd:bb:dd.f` in lower case ([GRP-26])
   * @param vfToken the secret of a physical function and its virtual ones, a UUID ([GRP-32]); it is in no error
   * @returns a descriptor, which the caller owns
   */
  async openDevice(name: string, vfToken?: string): Promise<Fd> {
    const token = vfToken === undefined ? '' : ` vf_token=${vfToken}`;
    const bytes = new TextEncoder().encode(`${name}${token}\0`);
    const request = 'VFIO_GROUP_GET_DEVICE_FD';
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', `the group ${this.path} was closed.`, { request });
    const fd = await this.system.ioctlAsync(this.fd, Ioctl[request], bytes);
    return check(fd, {
      what: `opening device ${name}`,
      syscall: 'ioctl',
      request,
      path: this.path,
      codes: { ENODEV: 'ERR_VFIO_NOT_BOUND', EINVAL: 'ERR_VFIO_ARGUMENT' },
      means: {
        ENODEV: 'it is not in this group, or not bound to vfio-pci any more',
        EINVAL:
          'the group is in no container with an IOMMU model, or the name, or the VF token in it, is not the device’s',
        EAGAIN: 'the device is being reset',
        EACCES: 'the VF token is missing, or is not that of its physical function',
      },
      ...(fd === -Errno.EACCES
        ? { remedy: 'Pass the secret of whoever drives the physical function as vfToken.' }
        : {}),
      details: { address: name },
    });
  }

  /** Idempotent. Takes the group out of its container, where no device of it is open ([GRP-23]). */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    this.system.cancelExit(this.exit);
    this.system.close(this.fd);
    this.forget();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private forget(): void {
    if (this.container !== undefined) (this.container.groups as Set<Group>).delete(this);
    this.container = undefined;
  }

  private call(
    request: keyof typeof Ioctl,
    argument: number | Uint8Array,
    { places, ...facts }: CallFacts & { places?: Parameters<SystemCalls['ioctl']>[3] & object } = {},
  ): number {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', `the group ${this.path} was closed.`, { request });
    const result = this.system.ioctl(this.fd, Ioctl[request], argument, places);
    return check(result, { syscall: 'ioctl', request, path: this.path, ...facts });
  }
}
