/** A device of the kernel's VFIO, over its descriptor. Source: linux/vfio.h. */

import { exitPhase } from '../container/exit-phases.js';
import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check, systemError } from '../errors/system-error.js';
import type { RegisterWindow } from '../seam/register-window.js';
import { type DeviceMapping, type Fd, Protection, type SystemCalls } from '../seam/system-calls.js';
import { PositionedWindow } from '../seam/windows.js';
import { Ioctl } from '../uapi/constants.js';
import { type DecodedRegion, decodeDeviceInfo, decodeIrqInfo, decodeRegionInfo } from '../uapi/replies.js';
import { decode, encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import { COMMAND, checkDecoding, goneAfterTouch } from './decoding.js';
import {
  type DeviceChannel,
  type DeviceInfo,
  IrqIndex,
  type IrqInfo,
  type IrqRequest,
  type MappedRange,
  RegionIndex,
  type RegionInfo,
} from './device.js';
import { disableIrq, encodeIrqRequest } from './irq-set.js';
import { mappableSpan } from './mappable-span.js';

/** A bit of the command register. Source: PCI Local Bus Specification 3.0, 6.2.2. */
const BUS_MASTER = 1 << 2;
/** Regions stand at index * 2^40 in the descriptor ([DEV-5]). */
const regionOffset = (index: number): number => index * 2 ** 40;

const longestReply = 1 << 20;

/** What another thread needs to use the same device: see {@link KernelChannel.share}. Plain data. */
export interface ChannelTicket {
  readonly fd: Fd;
  readonly address: string;
}

export interface KernelChannelOptions {
  /**
   * False for a channel on a descriptor that somebody else closes: closing it only unmaps its own windows. True by default: the
   * descriptor, interrupts and bus mastering end with this channel, at process exit and a Worker's end too.
   */
  readonly owner?: boolean;
}

/** {@link DeviceChannel} over a VFIO device descriptor, which it takes over. */
export class KernelChannel implements DeviceChannel {
  readonly system: SystemCalls;
  readonly fd: Fd;
  readonly address: string;
  remappings = 0;
  private readonly owner: boolean;
  private readonly regions = new Map<number, DecodedRegion>();
  private readonly mappings = new Map<DeviceMapping, number>();
  private readonly positioned = new Set<PositionedWindow>();
  /** Interrupt indexes that were switched on through this channel. */
  private readonly irqsOn = new Set<number>();
  private readonly exits: number[] = [];
  private known: DeviceInfo | undefined;
  /** A window faulted that is closed by now. */
  private faulted = false;
  private shut = false;
  private running: Promise<unknown> | undefined;

  constructor(system: SystemCalls, fd: Fd, address: string, options: KernelChannelOptions = {}) {
    this.system = system;
    this.fd = fd;
    this.address = address;
    this.owner = options.owner ?? true;
    if (this.owner) this.registerExit();
  }

  /**
   * A channel of this thread on a device that another thread of the process opened. Closing it leaves the device open.
   * @param ticket from {@link share}
   */
  static attach(system: SystemCalls, ticket: ChannelTicket): KernelChannel {
    return new KernelChannel(system, ticket.fd, ticket.address, { owner: false });
  }

  share(): ChannelTicket {
    return { fd: this.fd, address: this.address };
  }

  get closed(): boolean {
    return this.shut;
  }

  info(): DeviceInfo {
    if (this.known === undefined) {
      const bytes = encode(structs.vfio_device_info);
      this.call('VFIO_DEVICE_GET_INFO', bytes);
      this.known = decodeDeviceInfo(bytes);
    }
    return this.known;
  }

  region(index: number): DecodedRegion {
    const known = this.regions.get(index);
    if (known !== undefined) return known;
    const struct = structs.vfio_region_info;
    this.checkIndex(index, this.info().regionCount, 'region');
    let bytes = encode(struct, { index });
    for (let round = 0; round < 3; round++) {
      this.call('VFIO_DEVICE_GET_REGION_INFO', bytes, { codes: { EINVAL: 'ERR_VFIO_ARGUMENT' }, details: { index } });
      const { argsz } = decode(struct, bytes);
      if (argsz <= bytes.length || argsz > longestReply) break;
      // The reply has capabilities and no room for them ([DEV-14]).
      bytes = encode(struct, { index }, argsz);
    }
    const region = decodeRegionInfo(bytes);
    this.regions.set(index, region);
    return region;
  }

  read(region: number, offset: number, into: Uint8Array): void {
    const place = this.place(region, offset, into.length);
    if (into.length > 0) this.moved('pread', this.system.pread(this.fd, into, place), region, offset, into.length);
  }

  write(region: number, offset: number, from: Uint8Array): void {
    const place = this.place(region, offset, from.length);
    if (from.length > 0) this.moved('pwrite', this.system.pwrite(this.fd, from, place), region, offset, from.length);
  }

  window(
    region: number,
    offset: number,
    length: number,
    access: 'auto' | 'mapped' | 'positioned' = 'auto',
  ): RegisterWindow {
    const place = this.place(region, offset, length);
    const info = this.region(region);
    const span = access === 'positioned' ? undefined : mappableSpan(info, offset, length, this.system.pageSize);
    if (span !== undefined) {
      const mapping = this.mapSpan(info, span);
      if (typeof mapping !== 'number') return this.mappedWindow(mapping, offset - span.start, length);
      // Kernels before 4.16 refuse the pages of the MSI-X table without saying so in advance ([DEV-22]).
      if (access === 'mapped' || mapping !== -Errno.EINVAL) {
        throw notMapped(mapping, info, offset, length);
      }
    }
    if (access === 'mapped') throw notMappable(info, offset, length);
    const window = new PositionedWindow(this.system, this.fd, place, length);
    this.positioned.add(window);
    window.onClose = () => this.positioned.delete(window);
    return window;
  }

  mapRange(region: number, offset: number, length: number): MappedRange {
    this.place(region, offset, length);
    const info = this.region(region);
    const span = mappableSpan(info, offset, length, this.system.pageSize);
    if (span === undefined || span.start !== offset || span.length !== length) throw notMappable(info, offset, length);
    const mapping = this.mapSpan(info, span);
    if (typeof mapping === 'number') throw notMapped(mapping, info, offset, length);
    this.keep(mapping);
    return { address: mapping.address, close: () => this.unmap(mapping) };
  }

  irq(index: number): IrqInfo {
    this.checkIndex(index, this.info().irqCount, 'interrupt index');
    const bytes = encode(structs.vfio_irq_info, { index });
    const result = this.system.ioctl(this.fd, Ioctl.VFIO_DEVICE_GET_IRQ_INFO, bytes);
    // So kernels say that a conventional device has no ERR interrupt ([IRQ-4]).
    if (result === -Errno.EINVAL) {
      return { index, count: 0, eventfd: false, maskable: false, automasked: false, noResize: false };
    }
    this.answered(result, 'VFIO_DEVICE_GET_IRQ_INFO');
    return decodeIrqInfo(bytes);
  }

  setIrqs(request: IrqRequest): number {
    const { bytes, places } = encodeIrqRequest(request);
    const result = this.call('VFIO_DEVICE_SET_IRQS', bytes, {
      code: 'ERR_VFIO_IRQ',
      codes: { ENODEV: 'ERR_VFIO_DEVICE_GONE' },
      details: { index: request.index, start: request.start, action: request.action },
      places,
    });
    if (result === 0 && request.action === 'trigger') {
      if (request.data.kind === 'eventfd' && request.data.fds.length > 0) this.irqsOn.add(request.index);
      if (request.data.kind === 'none' && request.data.count === 0) this.irqsOn.delete(request.index);
    }
    return result;
  }

  async reset(): Promise<void> {
    this.open();
    const call = this.system.ioctlAsync(this.fd, Ioctl.VFIO_DEVICE_RESET);
    const ended = this.running === undefined ? call : Promise.all([this.running, call]);
    this.running = ended;
    const result = await call.finally(() => {
      if (this.running === ended) this.running = undefined;
    });
    this.answered(result, 'VFIO_DEVICE_RESET', {
      what: `resetting ${this.address}`,
      codes: { EINVAL: 'ERR_VFIO_NOT_SUPPORTED' },
    });
  }

  checkAlive(): void {
    this.call('VFIO_DEVICE_GET_INFO', encode(structs.vfio_device_info));
    const dead = [...this.mappings.keys()].filter((mapping) => mapping.faulted);
    if (dead.length === 0 && !this.faulted) return;
    const { address, system, fd } = this;
    const config = regionOffset(RegionIndex.CONFIG);
    if (this.info().pci) checkDecoding(address, (at, into) => system.pread(fd, into, config + at));
    else throw goneAfterTouch(address);
    for (const mapping of dead) {
      check(mapping.remap(), { what: `mapping registers of ${address} afresh`, syscall: 'mmap', details: { address } });
    }
    this.faulted = false;
    this.remappings++;
  }

  // What follows is for the device's close, one method a phase. None of it throws: closing the descriptor does the same in the
  // kernel ([LIFE-3]), and a device that is gone answers nothing but errors.

  /** Switches off every interrupt index that was switched on through this channel. */
  interruptsOff(): void {
    for (const index of this.irqsOn) {
      this.system.ioctl(this.fd, Ioctl.VFIO_DEVICE_SET_IRQS, encodeIrqRequest(disableIrq(index)).bytes);
    }
    this.irqsOn.clear();
  }

  /** Clears the bus master bit: from here on the device starts no DMA. */
  busMasterOff(): void {
    if (!this.owner) return;
    const word = new Uint8Array(2);
    const place = regionOffset(RegionIndex.CONFIG) + COMMAND;
    if (this.system.pread(this.fd, word, place) !== 2 || ((word[0] as number) & BUS_MASTER) === 0) return;
    word[0] = (word[0] as number) & ~BUS_MASTER;
    this.system.pwrite(this.fd, word, place);
  }

  /** Closes and unmaps all windows: a mapping alone keeps a device alive in the kernel ([DEV-26]). */
  closeWindows(): void {
    for (const mapping of [...this.mappings.keys()]) this.unmap(mapping);
    for (const window of [...this.positioned]) window.close();
  }

  /** Resolves when no reset is under way any more; undefined if none is. */
  get pending(): Promise<unknown> | undefined {
    return this.running?.catch(() => undefined);
  }

  /** Idempotent. The windows too, for a channel that is used alone. */
  close(): void {
    if (this.shut) return;
    this.closeWindows();
    this.shut = true;
    for (const exit of this.exits) this.system.cancelExit(exit);
    if (this.owner) this.system.close(this.fd);
  }

  private mapSpan(info: RegionInfo, span: { readonly start: number; readonly length: number }): DeviceMapping | number {
    const protection = (info.readable ? Protection.read : 0) | (info.writable ? Protection.write : 0);
    return this.system.mapDevice(this.fd, info.fileOffset + span.start, span.length, protection);
  }

  private mappedWindow(mapping: DeviceMapping, offset: number, length: number): RegisterWindow {
    this.keep(mapping);
    const window = mapping.window.window(offset, length);
    window.onClose = () => this.unmap(mapping);
    return window;
  }

  /** Until it is unmapped: with the windows, or where no JavaScript runs any more. */
  private keep(mapping: DeviceMapping): void {
    const exit = this.system.onExit(exitPhase.windows, {
      call: 'munmap',
      address: mapping.address,
      length: mapping.length,
    });
    this.mappings.set(mapping, exit);
  }

  private unmap(mapping: DeviceMapping): void {
    const exit = this.mappings.get(mapping);
    if (exit === undefined) return;
    this.faulted ||= mapping.faulted;
    this.mappings.delete(mapping);
    this.system.cancelExit(exit);
    mapping.window.close();
    mapping.unmap();
  }

  private registerExit(): void {
    const { system, fd } = this;
    // Whichever interrupt mode is on; switching off one that is not is refused, without harm ([IRQ-22], [IRQ-30]).
    for (const index of [IrqIndex.INTX, IrqIndex.MSI, IrqIndex.MSIX]) {
      const { bytes } = encodeIrqRequest(disableIrq(index));
      const step = { call: 'ioctl', fd, request: Ioctl.VFIO_DEVICE_SET_IRQS, bytes } as const;
      this.exits.push(system.onExit(exitPhase.interrupts, step));
    }
    // The list cannot read, so it clears bus mastering together with decoding, in the command register's low byte.
    const offset = regionOffset(RegionIndex.CONFIG) + COMMAND;
    this.exits.push(
      system.onExit(exitPhase['bus master'], { call: 'pwrite', fd, bytes: new Uint8Array(1), offset }),
      system.onExit(exitPhase.device, { call: 'close', fd }),
    );
  }

  private place(region: number, offset: number, length: number): number {
    this.open();
    const { size, fileOffset } = this.region(region);
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (!whole || offset + length > size) {
      throw new VfioError(
        'ERR_VFIO_ARGUMENT',
        `${length} bytes at offset ${offset} do not lie inside region ${region}, which has ${size} bytes.`,
        { details: { region, offset, length, size } },
      );
    }
    return fileOffset + offset;
  }

  private moved(syscall: 'pread' | 'pwrite', done: number, region: number, offset: number, length: number): void {
    const details = { region, offset, length };
    const what = `access to ${length} bytes at 0x${offset.toString(16)} of region ${region} of ${this.address}`;
    if (done < 0) throw systemError(done, { what, syscall, details });
    if (done < length) {
      throw new VfioError('ERR_VFIO_SHORT_ACCESS', `${what} ended after ${done}.`, { syscall, details });
    }
    if (done > length) {
      throw new VfioError('ERR_VFIO_MALFORMED', `${what} claims to have moved ${done}.`, { syscall, details });
    }
  }

  private checkIndex(index: number, count: number, what: string): void {
    if (Number.isInteger(index) && index >= 0 && index < count) return;
    throw new VfioError('ERR_VFIO_ARGUMENT', `${this.address} has no ${what} ${index}; it has 0 to ${count - 1}.`, {
      details: { index, count },
    });
  }

  private open(): void {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', `${this.address} was closed.`);
  }

  private call(
    request: keyof typeof Ioctl,
    bytes: Uint8Array,
    { places, ...facts }: CallFacts & { places?: Parameters<SystemCalls['ioctl']>[3] & object } = {},
  ): number {
    this.open();
    return this.answered(this.system.ioctl(this.fd, Ioctl[request], bytes, places), request, facts);
  }

  private answered(result: number, request: keyof typeof Ioctl, facts: CallFacts = {}): number {
    return check(result, { what: `${request} on ${this.address}`, syscall: 'ioctl', request, ...facts });
  }
}

const partOf = ({ index }: RegionInfo, offset: number, length: number): string =>
  `${length} bytes at 0x${offset.toString(16)} of region ${index}`;

const notMapped = (result: number, region: RegionInfo, offset: number, length: number): VfioError =>
  systemError(result, {
    what: `mapping ${partOf(region, offset, length)}`,
    syscall: 'mmap',
    details: { region: region.index, offset, length },
  });

const notMappable = (region: RegionInfo, offset: number, length: number): VfioError =>
  new VfioError('ERR_VFIO_NOT_SUPPORTED', `${partOf(region, offset, length)} cannot be mapped, or not all of them.`, {
    remedy: 'Ask for a part inside region(index).mappableAreas, or for { access: "positioned" }.',
    details: { region: region.index, offset, length, mappableAreas: region.mappableAreas },
  });
