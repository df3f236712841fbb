/** An address space behind an IOMMU, whichever way the kernel offers it: what of the program's memory lies where for devices. */

import { exitPhase } from '../container/exit-phases.js';
import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { Fd, SystemCalls } from '../seam/system-calls.js';
import { AddressPlan } from './address-plan.js';
import { Arenas } from './arenas.js';
import { type Backing, backingOf } from './backing.js';
import { ContiguousBuffer } from './buffer.js';
import { addressIn, BufferIndex } from './buffer-index.js';
import { type DirtySource, DirtyTracker } from './dirty-tracker.js';
import type {
  AddressRange,
  AllocateOptions,
  DmaAddress,
  DmaBuffer,
  DmaSpace,
  Headroom,
  MapOptions,
  MapSource,
  Place,
  Way,
} from './dma.js';
import { LockedMemory } from './locked-memory.js';
import type { Mapper, MapRequest } from './mapper.js';
import { explainMapping, mappingsLost, tooManyMappings } from './mapping-errors.js';
import type { MemberRequest, OpenMember } from './member.js';

const brand: unique symbol = Symbol.for('vfio-core.IovaSpace') as never;

interface Plan {
  readonly iova: bigint;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
}

export interface IovaSpaceParts {
  readonly mapper: Mapper;
  readonly way: Way;
  /** Whether it closes after its last device. */
  readonly closesItself: boolean;
  /** What the kernel compares with the limit on locked memory. */
  readonly counts: Headroom['memlock']['counts'];
}

/**
 * {@link DmaSpace} over a {@link Mapper}. How devices get into it is for its kinds: `Type1Space` and `IommufdSpace`. They call
 * {@link attached} after each device, and {@link release} gives back what is theirs.
 */
export abstract class IovaSpace implements DmaSpace {
  readonly kind = 'iova';
  readonly system: SystemCalls;
  readonly way: Way;
  protected readonly mapper: Mapper;
  private readonly closesItself: boolean;
  private readonly locked: LockedMemory;
  private readonly index = new BufferIndex();
  /** What must be done before a buffer goes, where there is something. */
  private readonly dependents = new WeakMap<DmaBuffer, Set<() => void>>();
  private readonly arenas: Arenas;
  private readonly addresses: AddressPlan;
  private mappingsLeft: number | undefined;
  private exit: number | undefined;
  private shut = false;
  private mapsInFlight = 0;
  private tracker: DirtyTracker | undefined;
  /** All mappings are gone already: buffers that close need not unmap. */
  private emptied = false;

  protected constructor({ mapper, way, closesItself, counts }: IovaSpaceParts) {
    this.mapper = mapper;
    this.system = mapper.system;
    this.way = way;
    this.closesItself = closesItself;
    this.arenas = new Arenas(mapper.system);
    this.locked = new LockedMemory(mapper.system, counts);
    this.addresses = new AddressPlan(mapper.system.pageSize);
    Object.defineProperty(this, brand, { value: true });
  }

  get pageSize(): number {
    return this.addresses.pageSize;
  }

  get ranges(): readonly AddressRange[] {
    return this.addresses.ranges;
  }

  get closed(): boolean {
    return this.shut;
  }

  /**
   * Opens a device in the space. If that fails nothing of it is left open.
   * @internal
   */
  abstract openMember(request: MemberRequest): Promise<OpenMember>;

  /**
   * The container, or the iommufd.
   * @internal
   */
  abstract readonly descriptor: Fd;

  /** Devices that are open in it. */
  protected abstract readonly deviceCount: number;

  /** No buffer is open in it, or on its way. */
  protected get isEmpty(): boolean {
    return this.index.size === 0 && this.mapsInFlight === 0;
  }

  allocate(bytes: number, options: AllocateOptions = {}): DmaBuffer {
    const { backing, plan } = this.prepare(bytes, options);
    this.mapOrUndo(plan, backing, (request) => this.mapper.map(request));
    return this.own(backing, plan, bytes);
  }

  async allocateAsync(bytes: number, options: AllocateOptions = {}): Promise<DmaBuffer> {
    const { backing, plan } = this.prepare(bytes, options);
    this.mapsInFlight++;
    try {
      await this.mapper.mapAsync({ ...plan, address: backing.address });
    } catch (thrown) {
      this.discard(backing, plan);
      throw this.explain(thrown, backing);
    } finally {
      if (--this.mapsInFlight === 0 && this.shut) this.letGo();
    }
    if (this.shut) {
      // The space was closed meanwhile, and with it all its mappings.
      this.discard(backing, plan);
      this.checkOpen();
    }
    return this.own(backing, plan, bytes);
  }

  map(source: MapSource, options: MapOptions = {}): DmaBuffer {
    this.checkOpen();
    return this.place(backingOf(this.system, source, this.pageSize), options, (request) => this.mapper.map(request));
  }

  lookup(address: DmaAddress): Place | undefined {
    return this.index.at(address);
  }

  addressOf(bytes: ArrayBufferView, offset = 0): DmaAddress | undefined {
    return addressIn(this.index.buffers(), bytes, offset);
  }

  headroom(): Headroom {
    this.checkOpen();
    // A container without an IOMMU answers no questions.
    const { known, largestFree } = this.addresses;
    try {
      const mappings = known ? this.mapper.info().available : undefined;
      return { memlock: this.locked.headroom(), mappings, largestFree };
    } catch (thrown) {
      throw isInvalid(thrown) ? mappingsLost() : thrown;
    }
  }

  /**
   * Watches which pages devices write to, until the tracker is stopped.
   * Throws `ERR_VFIO_NOT_SUPPORTED` where the kernel or the IOMMU cannot, `ERR_VFIO_BUSY` while another tracker of this space runs.
   */
  trackDirty(): DirtyTracker {
    this.checkOpen();
    if (!this.addresses.known) throw noDeviceYet();
    if (this.tracker?.stopped === false) {
      throw new VfioError('ERR_VFIO_BUSY', 'written pages of this address space are tracked already.', {
        remedy: 'Use that tracker, or stop it.',
      });
    }
    this.tracker = new DirtyTracker(this.startTracking(), this.index);
    return this.tracker;
  }

  /** If the kernel refuses, nothing is freed: devices may still reach it. */
  unmapAll(): void {
    this.checkOpen();
    this.closeAll();
  }

  /**
   * Unmaps and frees everything, then lets go of what leads to the kernel. Idempotent. While an {@link allocateAsync} is under way
   * that stays until the kernel is done with it: its descriptor must not become somebody else's under the call.
   * Throws `ERR_VFIO_BUSY` while a device is open in it.
   */
  close(): void {
    if (this.shut) return;
    const { deviceCount } = this;
    if (deviceCount > 0) {
      throw new VfioError('ERR_VFIO_BUSY', `${deviceCount} devices are still open in this address space.`, {
        remedy: 'Close the devices first.',
      });
    }
    this.stopTracking();
    if (this.mapsInFlight === 0) this.emptied ||= this.parted();
    try {
      this.closeAll();
    } finally {
      this.shut = true;
      if (this.exit !== undefined) this.system.cancelExit(this.exit);
      if (this.mapsInFlight === 0) this.letGo();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Maps memory that is there, in the way of `put`. If that fails the memory is released.
   * @param length bytes that count, where the last page is not filled
   */
  protected place(
    backing: Backing,
    options: MapOptions,
    put: (request: MapRequest) => void,
    length: number = backing.size,
  ): DmaBuffer {
    let plan: Plan;
    try {
      plan = this.plan(backing.size, options, backing.kind === 'memory');
    } catch (thrown) {
      backing.release();
      throw thrown;
    }
    if (backing.mayBeLent && !plan.write) makeOwn(backing.bytes, this.system.pageSize);
    this.mapOrUndo(plan, backing, put);
    return this.own(backing, plan, length);
  }

  /** What a buffer of this space is mapped as; undefined for one of another space. The end is exclusive. */
  protected mappingOf(buffer: DmaBuffer): { readonly start: number; readonly end: number } | undefined {
    return buffer.closed ? undefined : this.index.mappingOf(buffer);
  }

  /** Runs `step` before a buffer's memory goes, or somebody else gets it. @returns a function that takes it out again */
  protected beforeItGoes(buffer: DmaBuffer, step: () => void): () => void {
    const steps = this.dependents.get(buffer) ?? new Set();
    this.dependents.set(buffer, steps.add(step));
    return () => steps.delete(step);
  }

  /** A device joined: what the whole space can use may be less now, and is there at all after the first. */
  protected attached(): void {
    this.readInfo();
    this.exit ??= this.system.onExit(exitPhase['mappings ended'], this.mapper.unmapAllStep());
  }

  /**
   * A device is about to be closed. If the space closes with it, this is the moment to unmap everything: bus mastering is off, and the
   * device is still ours. One that was unplugged takes the container's IOMMU along as soon as it is closed, on another processor, and an
   * unmapping that meets it there brings the kernel down: UNMAP_DMA takes no lock (seen on 6.1).
   */
  protected closing(): void {
    if (this.closesItself && this.deviceCount <= 1 && this.index.size > 0) this.unmapAtOnce();
  }

  /**
   * Before a space without devices unmaps: leaves what may be taken away under it.
   * @returns whether all mappings are gone with that
   */
  protected parted(): boolean {
    return false;
  }

  /** A device was closed: the last one closes the space if a device opened it. */
  protected left(): void {
    if (this.closesItself && this.deviceCount === 0) this.close();
  }

  /** Ends the tracking of written pages where what is tracked is gone, or soon will be: then the kernel may refuse, and has stopped. */
  protected stopTracking(): void {
    try {
      this.tracker?.stop();
    } catch {
      // It is stopped.
    }
  }

  /** False once the kernel dropped the IOMMU, and with it every mapping ([CTR-15]). */
  protected hasIommu(): boolean {
    try {
      this.mapper.info();
      return true;
    } catch (thrown) {
      if (isInvalid(thrown)) return false;
      throw thrown;
    }
  }

  /** The kernel's tracking of written pages, switched on. */
  protected abstract startTracking(): DirtySource;

  /** Closes descriptors and the like. Idempotent. */
  protected abstract release(): void;

  protected checkOpen(): void {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the address space was closed.');
  }

  private readInfo(): void {
    const info = this.mapper.info();
    this.mappingsLeft = info.available;
    this.addresses.update(info);
  }

  private prepare(bytes: number, options: AllocateOptions): { backing: Backing; plan: Plan } {
    const { hugePages = 0 } = options;
    const plan = this.plan(bytes, options, true, hugePages);
    try {
      return { backing: this.arenas.allocate(bytes, this.pageSize, hugePages), plan };
    } catch (thrown) {
      this.addresses.free(plan.iova);
      throw thrown;
    }
  }

  /** Checks the wishes and what is left, and takes device addresses. */
  private plan(bytes: number, options: MapOptions, locks: boolean, hugePages = 0): Plan {
    this.checkOpen();
    const { addresses } = this;
    addresses.check(bytes, options, hugePages);
    if (!addresses.known) throw noDeviceYet();
    const granule = Math.max(this.pageSize, hugePages);
    const size = Math.ceil(bytes / granule) * granule;
    if (locks) this.locked.check(size);
    if (this.mappingsLeft === 0) {
      this.mappingsLeft = this.mapper.info().available;
      if (this.mappingsLeft === 0) throw tooManyMappings();
    }
    const iova = addresses.take(size, options);
    const { direction = 'both' } = options;
    return { iova, size, read: direction !== 'device-writes', write: direction !== 'device-reads' };
  }

  private mapOrUndo(plan: Plan, backing: Backing, put: (request: MapRequest) => void): void {
    const { iova, size, read, write } = plan;
    try {
      put({ iova, size, read, write, address: backing.address });
    } catch (thrown) {
      this.discard(backing, plan);
      throw this.explain(thrown, backing);
    }
  }

  /** What a refused mapping is to be called. */
  private explain(thrown: unknown, backing: Backing): unknown {
    if (isInvalid(thrown)) {
      try {
        // Ranges narrow when another program's device joins the IOMMU's domain: the next try knows.
        this.readInfo();
      } catch (asked) {
        // For all else the refusal is what the program has to hear.
        if (isInvalid(asked)) return mappingsLost();
      }
    }
    return explainMapping(this.system, thrown, backing);
  }

  private discard(backing: Backing, { iova }: Plan): void {
    backing.release();
    this.addresses.free(iova);
  }

  private own(backing: Backing, plan: Plan, length: number): DmaBuffer {
    const { file, kind } = backing;
    const locks = kind === 'memory';
    const address = plan.iova;
    if (this.mappingsLeft !== undefined) this.mappingsLeft--;
    if (locks) this.locked.add(plan.size);
    const buffer = new ContiguousBuffer({
      bytes: length === backing.bytes.length ? backing.bytes : backing.bytes.subarray(0, length),
      length,
      address,
      ticket: file === undefined ? undefined : { ...file, mapped: plan.size, length, address },
      release: () => {
        forget?.();
        for (const step of this.dependents.get(buffer) ?? []) step();
        this.index.delete(buffer, address);
        // Out of the device's reach first. If the kernel refuses that, the memory is leaked on purpose: a device that can still
        // write to it must not write into somebody else's.
        if (!this.emptied) this.unmap(plan);
        if (this.mappingsLeft !== undefined) this.mappingsLeft++;
        if (locks) this.locked.add(-plan.size);
        this.addresses.free(address);
        backing.release();
      },
    });
    const forget = backing.beforeItGoes?.(() => buffer.close());
    this.index.add(buffer, address, plan.size);
    return buffer;
  }

  private unmap({ iova, size }: Plan): void {
    let done: bigint;
    try {
      done = this.mapper.unmap({ iova, size });
    } catch (thrown) {
      if (this.lostIommu(thrown)) return;
      throw thrown;
    }
    // Nothing was there: as in lostIommu(), a moment before the kernel drops the IOMMU too (seen on 6.1).
    if (done === BigInt(size) || done === 0n) return;
    throw new VfioError(
      'ERR_VFIO_MAPPING',
      `the kernel unmapped ${done} bytes instead of ${size}; the memory is kept.`,
      {
        remedy: 'Something else changed the mappings of this address space; close the device.',
        syscall: 'ioctl',
        details: { iova, size, done },
      },
    );
  }

  /**
   * Whether an unmapping was refused because nothing is mapped any more: a device that was unbound or unplugged and then closed takes
   * its group out of the container, and with the last group the kernel drops the IOMMU and every mapping ([CTR-15]).
   */
  private lostIommu(thrown: unknown): boolean {
    if (!isInvalid(thrown)) return false;
    try {
      return !this.hasIommu();
    } catch {
      return false;
    }
  }

  /** Where that is refused each buffer says why it cannot go. */
  private unmapAtOnce(): void {
    // What is being mapped meanwhile is in no index yet, and must not go unseen.
    if (this.emptied || this.mapsInFlight > 0) return;
    try {
      this.mapper.unmapAll();
      this.emptied = true;
    } catch {
      // One by one, then.
    }
  }

  /** One call where all go at once; where that is refused, each by itself, so that one that stays costs only its own memory. */
  private closeAll(): void {
    if (this.index.size === 0) return;
    if (this.index.size > 1) this.unmapAtOnce();
    const errors: unknown[] = [];
    for (const buffer of this.index.buffers()) {
      try {
        buffer.close();
      } catch (thrown) {
        errors.push(thrown);
      }
    }
    this.emptied = false;
    if (errors.length > 0) throw errors[0];
  }

  private letGo(): void {
    this.arenas.close();
    this.release();
  }
}

/** Whether something is an {@link IovaSpace}, of whichever copy of this package. */
export const isIovaSpace = (space: unknown): space is IovaSpace =>
  typeof space === 'object' && space !== null && (space as Record<symbol, unknown>)[brand] === true;

/** The kernel's answer where nothing is mapped any more, and where a request does not fit. */
const isInvalid = (thrown: unknown): boolean => isVfioError(thrown) && thrown.errno === Errno.EINVAL;

const noDeviceYet = (): VfioError =>
  new VfioError('ERR_VFIO_ARGUMENT', 'no device was opened in this address space yet.', {
    remedy: 'Open a device with it first: openDevice(address, { space }).',
  });

/**
 * Gives each page memory of its own. Linux lends a page that nobody has written yet from one page of zeros; pinned for reading, that
 * is what the device sees for good (seen on 6.1), whatever the program writes later.
 */
function makeOwn(bytes: Uint8Array, pageSize: number): void {
  for (let at = 0; at < bytes.length; at += pageSize) Atomics.or(bytes, at, 0);
}
