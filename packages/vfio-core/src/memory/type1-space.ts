/** An address space behind a type1 IOMMU, and the groups and memory in it. */

import { type BackendOption, defaultBackend } from '../backend.js';
import { Container } from '../container/container.js';
import { exitPhase } from '../container/exit-phases.js';
import type { IommuGroup } from '../container/find-group.js';
import { Group } from '../container/group.js';
import { notViable } from '../container/refusals.js';
import { Type1 } from '../container/type1.js';
import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { SystemCalls } from '../seam/system-calls.js';
import { constants } from '../uapi/constants.js';
import { type ArenaPiece, DmaArena } from './arena.js';
import { ContiguousBuffer } from './buffer.js';
import type { AddressRange, AllocateOptions, DmaBuffer, DmaSpace } from './dma.js';
import { IovaAllocator } from './iova-allocator.js';
import type { MapRequest } from './mapper.js';
import { mappingOutOfMemory } from './memlock.js';

const brand: unique symbol = Symbol.for('vfio-core.Type1Space') as never;

/** What kernels before 5.4, which do not say it, can be relied on to translate: 39 bits are the fewest of common IOMMUs. */
const unsaid: readonly AddressRange[] = [{ start: 0n, end: 2n ** 39n - 1n }];

interface Member {
  readonly group: Group;
  devices: number;
}

interface Plan {
  readonly iova: bigint;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * {@link DmaSpace} of the kernel's type1 IOMMU. `openDevice(address)` makes one for its device and closes it after its last device;
 * one made by {@link Type1Space.open} takes several devices (`openDevice(address, { space })`) and closes when its maker says so.
 */
export class Type1Space implements DmaSpace {
  readonly kind = 'iova';
  readonly system: SystemCalls;
  readonly container: Container;
  private readonly type1: Type1;
  private readonly closesItself: boolean;
  private readonly members = new Map<string, Member>();
  private readonly buffers = new Set<ContiguousBuffer>();
  private readonly exits: number[] = [];
  private iovas: IovaAllocator | undefined;
  private arena: DmaArena | undefined;
  private size: number;
  private shut = false;
  private mapsInFlight = 0;

  private constructor(system: SystemCalls, container: Container, closesItself: boolean) {
    this.system = system;
    this.container = container;
    this.type1 = new Type1(container);
    this.closesItself = closesItself;
    this.size = system.pageSize;
    Object.defineProperty(this, brand, { value: true });
  }

  /**
   * A space for several devices. It maps nothing before its first device was opened.
   * Throws `ERR_VFIO_NOT_LOADED`, `ERR_VFIO_PERMISSION`, `ERR_VFIO_API`.
   */
  static open(options: BackendOption = {}): Type1Space {
    return Type1Space.make(options.backend ?? defaultBackend(), false);
  }

  /** @internal */
  static make(system: SystemCalls, closesItself: boolean): Type1Space {
    const container = Container.open(system);
    try {
      const version = container.apiVersion();
      if (version !== constants.VFIO_API_VERSION) {
        throw new VfioError('ERR_VFIO_API', `the kernel speaks version ${version} of VFIO; this package speaks 0.`, {
          syscall: 'ioctl',
          request: 'VFIO_GET_API_VERSION',
          path: container.path,
          details: { version },
        });
      }
      if (container.extension(constants.VFIO_TYPE1v2_IOMMU) === 0) {
        throw new VfioError('ERR_VFIO_API', 'the kernel offers no type1 IOMMU (version 2).', {
          remedy: 'Load its module:  modprobe vfio_iommu_type1',
          syscall: 'ioctl',
          request: 'VFIO_CHECK_EXTENSION',
          path: container.path,
          answer: '0',
        });
      }
      return new Type1Space(system, container, closesItself);
    } catch (thrown) {
      container.close();
      throw thrown;
    }
  }

  get pageSize(): number {
    return this.size;
  }

  get ranges(): readonly AddressRange[] {
    return this.iovas?.ranges ?? [];
  }

  get closed(): boolean {
    return this.shut;
  }

  /**
   * Puts a group into the space, or counts one more device of a group that is in it.
   * Every `join` that returned needs a {@link leave}. Throws `ERR_VFIO_GROUP_NOT_VIABLE`, `ERR_VFIO_BUSY`, `ERR_VFIO_PERMISSION`,
   * `ERR_VFIO_UNSAFE_INTERRUPTS`, ...; then nothing of the group is left open.
   */
  join(wanted: IommuGroup): Group {
    this.checkOpen();
    const known = this.members.get(wanted.path);
    if (known !== undefined) {
      known.devices++;
      return known.group;
    }
    const group = Group.open(this.system, wanted.path);
    try {
      this.attach(group, wanted);
    } catch (thrown) {
      group.close();
      throw thrown;
    }
    this.members.set(wanted.path, { group, devices: 1 });
    // A group that was kept because it was the only one is not any more.
    for (const [path, idle] of this.members) {
      if (idle.devices > 0) continue;
      this.members.delete(path);
      idle.group.close();
    }
    return group;
  }

  /**
   * One device of a group is closed. The last one of its group lets the group go, unless it is the only group: without a group the
   * kernel drops every mapping ([CTR-15]). The last one of all closes the space if a device opened it.
   */
  leave(path: string): void {
    const member = this.members.get(path);
    if (member === undefined || member.devices === 0) return;
    member.devices--;
    if (member.devices === 0 && this.members.size > 1) {
      this.members.delete(path);
      member.group.close();
    }
    if (this.closesItself && this.deviceCount === 0) this.close();
  }

  allocate(bytes: number, options: AllocateOptions = {}): DmaBuffer {
    const { piece, plan } = this.prepare(bytes, options);
    this.mapOrUndo(plan, piece.mapping.address, () => this.discard(piece, plan));
    return this.own(piece, plan, bytes);
  }

  /** As {@link allocate}, off the main thread: for tens of MiB and more, where the kernel takes long to take and clear the pages. */
  async allocateAsync(bytes: number, options: AllocateOptions = {}): Promise<DmaBuffer> {
    const { piece, plan } = this.prepare(bytes, options);
    this.mapsInFlight++;
    try {
      await this.type1.mapAsync({ ...plan, address: piece.mapping.address });
    } catch (thrown) {
      this.discard(piece, plan);
      throw this.explain(thrown, plan.size);
    } finally {
      if (--this.mapsInFlight === 0 && this.shut) this.letGo();
    }
    if (this.shut) {
      // The space was closed meanwhile, and with it all its mappings.
      this.discard(piece, plan);
      this.checkOpen();
    }
    return this.own(piece, plan, bytes);
  }

  map(memory: { readonly buffer: ArrayBufferLike } | ArrayBufferLike, options: AllocateOptions = {}): DmaBuffer {
    const buffer = 'buffer' in memory ? memory.buffer : memory;
    const bytes = 'buffer' in memory && ArrayBuffer.isView(memory) ? undefined : new Uint8Array(buffer);
    const address = bytes === undefined ? -Errno.EINVAL : this.system.addressOf(buffer);
    if (bytes === undefined || typeof address === 'number' || bytes.length % this.size !== 0) {
      throw new VfioError(
        'ERR_VFIO_ARGUMENT',
        'this memory cannot be given to a device: it is not page-aligned, or can move.',
        {
          remedy: 'Pass a WebAssembly.Memory that does not grow, or use allocate().',
          details: { pageSize: this.size },
        },
      );
    }
    const plan = this.plan(bytes.length, options);
    if (!plan.write) makeOwn(bytes, this.system.pageSize);
    this.mapOrUndo(plan, address, () => this.iovas?.free(plan.iova));
    const mapped = new ContiguousBuffer({
      bytes,
      address: plan.iova,
      ticket: undefined,
      release: () => {
        this.buffers.delete(mapped);
        this.unmap(plan);
      },
    });
    this.buffers.add(mapped);
    return mapped;
  }

  /**
   * Unmaps and frees everything, then lets groups and container go. Idempotent. While an {@link allocateAsync} is under way
   * they stay until the kernel is done with it: its descriptor must not become somebody else's under the call.
   * Throws `ERR_VFIO_BUSY` while a device is open in it.
   */
  close(): void {
    if (this.shut) return;
    if (this.deviceCount > 0) {
      throw new VfioError('ERR_VFIO_BUSY', `${this.deviceCount} devices are still open in this address space.`, {
        remedy: 'Close the devices first.',
      });
    }
    const errors: unknown[] = [];
    for (const buffer of [...this.buffers]) {
      try {
        buffer.close();
      } catch (thrown) {
        errors.push(thrown);
      }
    }
    this.shut = true;
    for (const exit of this.exits) this.system.cancelExit(exit);
    if (this.mapsInFlight === 0) this.letGo();
    if (errors.length > 0) throw errors[0];
  }

  private letGo(): void {
    this.arena?.close();
    for (const { group } of this.members.values()) group.close();
    this.members.clear();
    this.container.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private get deviceCount(): number {
    let count = 0;
    for (const { devices } of this.members.values()) count += devices;
    return count;
  }

  private attach(group: Group, wanted: IommuGroup): void {
    const { viable, flags } = group.status();
    if (!viable) throw notViable(wanted, { request: 'VFIO_GROUP_GET_STATUS', answer: `flags ${flags}` });
    try {
      group.setContainer(this.container);
    } catch (thrown) {
      // Kernels since 5.19 may say here that a host driver owns the group ([GRP-17]).
      if (isVfioError(thrown) && thrown.errno === Errno.EPERM) {
        throw notViable(wanted, { request: 'VFIO_GROUP_SET_CONTAINER', errno: Errno.EPERM });
      }
      throw thrown;
    }
    const first = this.iovas === undefined;
    if (first) this.container.setIommu(constants.VFIO_TYPE1v2_IOMMU);
    this.readRanges();
    if (first) {
      this.exits.push(this.system.onExit(exitPhase['memory unmapped'], this.type1.unmapAllStep()));
    }
  }

  /** Each device that joins may narrow what the whole space can use. */
  private readRanges(): void {
    const { pageSizes, ranges = unsaid } = this.type1.info();
    if (this.iovas !== undefined) {
      this.iovas.setRanges(ranges);
      return;
    }
    const smallest = Number(pageSizes & -pageSizes);
    this.size = Math.max(this.system.pageSize, smallest);
    this.iovas = new IovaAllocator(ranges, this.size);
    this.arena = new DmaArena(this.system, this.size);
  }

  private prepare(bytes: number, options: AllocateOptions): { piece: ArenaPiece; plan: Plan } {
    const plan = this.plan(bytes, options);
    try {
      return { piece: (this.arena as DmaArena).allocate(bytes), plan };
    } catch (thrown) {
      this.iovas?.free(plan.iova);
      throw thrown;
    }
  }

  /** Checks the wishes and takes device addresses. */
  private plan(bytes: number, { below, alignment, direction = 'both' }: AllocateOptions): Plan {
    this.checkOpen();
    if (!Number.isSafeInteger(bytes) || bytes < 1) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `${bytes} is not a number of bytes: 1 or more, whole.`);
    }
    if (alignment !== undefined && !(Number.isSafeInteger(Math.log2(alignment)) && alignment <= 2 ** 52)) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `an alignment of ${alignment} is not a power of two.`);
    }
    if (this.iovas === undefined) {
      throw new VfioError('ERR_VFIO_ARGUMENT', 'no device was opened in this address space yet.', {
        remedy: 'Open a device with it first: openDevice(address, { space }).',
      });
    }
    const size = Math.ceil(bytes / this.size) * this.size;
    const wishes = {
      ...(alignment === undefined ? {} : { alignment: BigInt(alignment) }),
      ...(below === undefined ? {} : { below }),
    };
    const iova = this.iovas.allocate(BigInt(size), wishes);
    if (iova === undefined) {
      throw new VfioError('ERR_VFIO_NO_IOVA', `no free device addresses for ${size} bytes.`, {
        details: { size, ...wishes, ranges: this.ranges },
      });
    }
    return { iova, size, read: direction !== 'device-writes', write: direction !== 'device-reads' };
  }

  private mapOrUndo(plan: Plan, address: bigint, undo: () => void): void {
    const request: MapRequest = { ...plan, address };
    try {
      this.type1.map(request);
    } catch (thrown) {
      undo();
      // Ranges narrow when another program's device joins the IOMMU's domain: the next try knows.
      if (isVfioError(thrown) && thrown.errno === Errno.EINVAL) this.readRanges();
      throw this.explain(thrown, plan.size);
    }
  }

  private explain(thrown: unknown, size: number): unknown {
    if (!isVfioError(thrown)) return thrown;
    if (thrown.errno === Errno.ENOMEM) return mappingOutOfMemory(this.system, size, thrown);
    if (thrown.errno === Errno.ENOSPC) {
      return new VfioError('ERR_VFIO_MAPPING', 'the limit on the number of DMA mappings is reached.', {
        remedy: 'Use fewer and larger buffers, or raise it:  modprobe vfio_iommu_type1 dma_entry_limit=N',
        errno: Errno.ENOSPC,
        syscall: 'ioctl',
        request: 'VFIO_IOMMU_MAP_DMA',
        cause: thrown,
      });
    }
    return thrown;
  }

  private own(piece: ArenaPiece, plan: Plan, length: number): DmaBuffer {
    const { mapping, fd, offset } = piece;
    const buffer = new ContiguousBuffer({
      bytes: mapping.bytes.subarray(0, length),
      address: plan.iova,
      ticket: { fd, offset, mapped: plan.size, length, address: plan.iova },
      release: () => {
        this.buffers.delete(buffer);
        // Out of the device's reach first. If the kernel refuses that, the memory is leaked on purpose: a device that can still
        // write to it must not write into somebody else's.
        this.unmap(plan);
        this.arena?.free(piece);
      },
    });
    this.buffers.add(buffer);
    return buffer;
  }

  private discard(piece: ArenaPiece, plan: Plan): void {
    this.arena?.free(piece);
    this.iovas?.free(plan.iova);
  }

  private unmap({ iova, size }: Plan): void {
    const done = this.type1.unmap({ iova, size });
    if (done !== BigInt(size)) {
      throw new VfioError(
        'ERR_VFIO_MAPPING',
        `the kernel unmapped ${done} bytes instead of ${size}; the memory is kept.`,
        {
          remedy: 'Something else changed the mappings of this container; close the device.',
          syscall: 'ioctl',
          request: 'VFIO_IOMMU_UNMAP_DMA',
          details: { iova, size, done },
        },
      );
    }
    this.iovas?.free(iova);
  }

  private checkOpen(): void {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the address space was closed.');
  }
}

/** Whether something is a {@link Type1Space}, of whichever copy of this package. */
export const isType1Space = (space: unknown): space is Type1Space =>
  typeof space === 'object' && space !== null && (space as Record<symbol, unknown>)[brand] === true;

/**
 * Gives each page memory of its own. Linux lends a page that nobody has written yet from one page of zeros; pinned for reading, that
 * is what the device sees for good (seen on 6.1), whatever the program writes later.
 */
function makeOwn(bytes: Uint8Array, pageSize: number): void {
  for (let at = 0; at < bytes.length; at += pageSize) Atomics.or(bytes, at, 0);
}
