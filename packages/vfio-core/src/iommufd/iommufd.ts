/** `/dev/iommu`: address spaces and page tables as objects with numbers, for devices by their own files. Source: linux/iommufd.h. */

import { exitPhase } from '../container/exit-phases.js';
import { notPermitted } from '../container/refusals.js';
import { Errno } from '../errors/errno.js';
import { type CallFacts, check } from '../errors/system-error.js';
import { OwnDescriptor } from '../seam/own-descriptor.js';
import { type Fd, type IoctlPlaces, OpenFlag, type SystemCalls } from '../seam/system-calls.js';
import { IommufdIoctl, type IommufdIoctlName, iommufdConstants, iommufdStructs } from '../uapi/iommufd.js';
import { decode, encode } from '../uapi/struct.js';

const path = '/dev/iommu';

/** What a call of {@link Iommufd.call} takes beside its bytes. */
export interface IommufdCall extends CallFacts {
  readonly places?: IoctlPlaces;
}

/** What the errnos of iommufd mean in general ([IFD-17] to [IFD-19]); each call says more. */
const general: CallFacts = {
  codes: {
    EINVAL: 'ERR_VFIO_ARGUMENT',
    ENOENT: 'ERR_VFIO_ARGUMENT',
    EOVERFLOW: 'ERR_VFIO_ARGUMENT',
    EOPNOTSUPP: 'ERR_VFIO_NOT_SUPPORTED',
    E2BIG: 'ERR_VFIO_NOT_SUPPORTED',
    ENOTTY: 'ERR_VFIO_NOT_SUPPORTED',
  },
  means: {
    ENOENT: 'the iommufd has no such object',
    EOVERFLOW: 'an address or a length goes beyond 64 bits',
    EOPNOTSUPP: 'the kernel, or the IOMMU behind the device, does not support this',
    E2BIG: 'the kernel is too old for this',
    ENOTTY: 'the kernel is too old for this call',
  },
};

/** `/dev/iommu`, opened. Each opening is a set of objects of its own, which end with it and with the devices bound to it. */
export class Iommufd {
  readonly path: string;
  readonly system: SystemCalls;
  private readonly descriptor: OwnDescriptor;
  private readonly atClose = new Set<() => void>();

  private constructor(system: SystemCalls, name: string, fd: Fd) {
    this.system = system;
    this.path = name;
    this.descriptor = new OwnDescriptor(system, fd, exitPhase.container, 'the iommufd');
  }

  /** Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`. */
  static open(system: SystemCalls): Iommufd {
    const fd = system.open(path, OpenFlag.readWrite | OpenFlag.closeOnExec);
    if (fd < 0) {
      throw notPermitted(system, path, fd, {
        what: `opening ${path}`,
        codes: { ENOENT: 'ERR_VFIO_NOT_LOADED', ENODEV: 'ERR_VFIO_NOT_LOADED', ENXIO: 'ERR_VFIO_NOT_LOADED' },
        means: {
          ENOENT: 'iommufd is not loaded, or the kernel has none (before 6.2)',
          ENODEV: 'the module iommufd could not be loaded',
          ENXIO: 'the module iommufd could not be loaded',
        },
        remedy: 'Load it:  modprobe iommufd',
      });
    }
    return new Iommufd(system, path, fd);
  }

  /** Takes over a descriptor that another process opened. Objects that others made in it stay theirs. */
  static adopt(system: SystemCalls, fd: Fd): Iommufd {
    return new Iommufd(system, `descriptor ${fd}`, fd);
  }

  get fd(): Fd {
    return this.descriptor.fd;
  }

  get closed(): boolean {
    return this.descriptor.closed;
  }

  /**
   * Ends an object by its number ([IFD-20]). Throws `ERR_VFIO_BUSY` for one in use, `ERR_VFIO_ARGUMENT` for one that is not there.
   */
  destroy(id: number): void {
    this.call('IOMMU_DESTROY', encode(iommufdStructs.iommu_destroy, { id }), {
      means: { EBUSY: 'the object is in use: a device is attached to it, or another object stands on it' },
      details: { id },
    });
  }

  /** What pinned memory is charged to, against RLIMIT_MEMLOCK ([IFD-27]). `user` by default. */
  get accounting(): 'user' | 'process' {
    return this.option(iommufdConstants.IOMMU_OPTION_RLIMIT_MODE, 0) === 1n ? 'process' : 'user';
  }

  /**
   * Only before the first object is made, else `ERR_VFIO_BUSY`; `ERR_VFIO_PERMISSION` without CAP_SYS_RESOURCE.
   */
  setAccounting(to: 'user' | 'process'): void {
    this.setOption(iommufdConstants.IOMMU_OPTION_RLIMIT_MODE, 0, to === 'process' ? 1n : 0n, {
      means: {
        EPERM: 'charging another than the user needs CAP_SYS_RESOURCE',
        EBUSY: 'the iommufd has objects already',
      },
    });
  }

  /**
   * Charges all pinned memory to this process from now on, after it was passed on by another. Only while everything was mapped from
   * files ({@link Ioas.mapFile}), else `ERR_VFIO_ARGUMENT`. Since 6.14; `ERR_VFIO_NOT_SUPPORTED` before.
   */
  changeProcess(): void {
    this.call('IOMMU_IOAS_CHANGE_PROCESS', encode(iommufdStructs.iommu_ioas_change_process), {
      means: {
        EINVAL: 'something was mapped by its address, and only mappings of files can go over to another process',
        ENOMEM: 'the limit on locked memory (RLIMIT_MEMLOCK) of this process is too small',
      },
      codes: { ENOMEM: 'ERR_VFIO_MEMLOCK' },
    });
  }

  /**
   * The number of the IOAS that the commands of a container act on, where this iommufd stands in a container's place ([IFD-30]);
   * undefined where there is none.
   */
  get compatibleIoas(): number | undefined {
    const { iommu_vfio_ioas } = iommufdStructs;
    const bytes = encode(iommu_vfio_ioas, { op: iommufdConstants.IOMMU_VFIO_IOAS_GET });
    const answer = this.answer('IOMMU_VFIO_IOAS', bytes);
    if (answer === -Errno.ENODEV) return undefined;
    this.check(answer, 'IOMMU_VFIO_IOAS');
    return decode(iommu_vfio_ioas, bytes).ioas_id;
  }

  /** @param id undefined: none */
  setCompatibleIoas(id: number | undefined): void {
    const op = id === undefined ? iommufdConstants.IOMMU_VFIO_IOAS_CLEAR : iommufdConstants.IOMMU_VFIO_IOAS_SET;
    this.call('IOMMU_VFIO_IOAS', encode(iommufdStructs.iommu_vfio_ioas, { op, ioas_id: id ?? 0 }), { details: { id } });
  }

  /** OPTION, read. */
  option(option: number, object: number): bigint {
    const { iommu_option } = iommufdStructs;
    const op = iommufdConstants.IOMMU_OPTION_OP_GET;
    const bytes = encode(iommu_option, { option_id: option, op, object_id: object });
    this.call('IOMMU_OPTION', bytes, { details: { option, object } });
    return decode(iommu_option, bytes).val64;
  }

  /** OPTION, set. */
  setOption(option: number, object: number, value: bigint, facts: IommufdCall = {}): void {
    const op = iommufdConstants.IOMMU_OPTION_OP_SET;
    const bytes = encode(iommufdStructs.iommu_option, { option_id: option, op, object_id: object, val64: value });
    this.call('IOMMU_OPTION', bytes, { details: { option, object, value }, ...facts });
  }

  /**
   * A command; what the kernel wrote is in `bytes`. Throws what the facts say of its errno, or what it means in general.
   * @param facts as a function where they are worth making for a refusal only
   */
  call(request: IommufdIoctlName, bytes: Uint8Array, facts: IommufdCall | (() => IommufdCall) = {}): void {
    const later = typeof facts === 'function';
    const result = this.answer(request, bytes, later ? undefined : facts.places);
    if (result < 0) this.check(result, request, later ? facts() : facts);
  }

  /** As {@link call}, off the main thread. */
  async callAsync(request: IommufdIoctlName, bytes: Uint8Array, facts: IommufdCall = {}): Promise<void> {
    this.descriptor.check(request);
    const { system, fd } = this;
    const call = system.ioctlAsync(fd, IommufdIoctl[request], bytes, facts.places);
    this.check(await this.descriptor.during(call), request, facts);
  }

  /** A command, with the kernel's bare answer. */
  answer(request: IommufdIoctlName, bytes: Uint8Array, places?: IoctlPlaces): number {
    this.descriptor.check(request);
    return this.system.ioctl(this.fd, IommufdIoctl[request], bytes, places);
  }

  /** Keeps the descriptor open for a call on another thread that names it. */
  during<T>(call: Promise<T>): Promise<T> {
    return this.descriptor.during(call);
  }

  /**
   * Runs when it closes.
   * @returns a function that takes it out again
   */
  onClose(step: () => void): () => void {
    this.atClose.add(step);
    return () => this.atClose.delete(step);
  }

  /** Idempotent. The kernel keeps it while devices are bound to it ([IFD-21]): close those first. */
  close(): void {
    for (const step of this.atClose) step();
    this.atClose.clear();
    this.descriptor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Throws for a negative `answer` what {@link call} would. */
  check(answer: number, request: IommufdIoctlName, { places: _places, ...facts }: IommufdCall = {}): void {
    check(answer, {
      syscall: 'ioctl',
      request,
      path: this.path,
      ...facts,
      codes: { ...general.codes, ...facts.codes },
      means: { ...general.means, ...facts.means },
    });
  }
}
