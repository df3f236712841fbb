/**
 * Just enough of a machine to try the paths of opening, mapping and closing: one device in one group, whose answers a test
 * can replace. Every call is written down. Not VFIO in software: that is `vfio-sim`.
 */

import { Errno } from '../errors/errno.js';
import type { DeviceMapping, ExitStep, IoctlPlaces, MemoryRequest, SystemCalls } from '../seam/system-calls.js';
import { MappedWindow } from '../seam/windows.js';
import { constants, Ioctl, type IoctlName } from '../uapi/constants.js';
import { decode, encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';

export const BDF = '0000:01:00.0';
const sys = '/sys/bus/pci/devices';

/** Answers an ioctl: a number, or undefined for the usual answer. */
export type Answer = (argument: number | Uint8Array | undefined) => number | undefined;

export interface Script {
  /** Text of a file; a negative errno. */
  readonly files?: Record<string, string | number>;
  /** Target of a link; a negative errno. */
  readonly links?: Record<string, string | number>;
  readonly lists?: Record<string, string[]>;
  /** What opening answers. */
  readonly opens?: Record<string, number>;
  readonly ioctls?: Partial<Record<IoctlName, Answer>>;
  /** What mapping part of a region answers. */
  readonly mapDevice?: number;
  /** What mapping a window afresh answers. */
  readonly remap?: number;
  /** What a group's flags are. */
  readonly groupFlags?: number;
  readonly memfd?: number;
  readonly noDriverDirectory?: boolean;
}

const u32 = (bytes: number | Uint8Array | undefined, at: number, value: number) =>
  new DataView((bytes as Uint8Array).buffer).setUint32(at, value, true);

export class ScriptedKernel {
  readonly log: string[] = [];
  /** Open descriptors: what each is. */
  readonly open = new Map<number, string>();
  /** Mapped device addresses: start and size. */
  readonly mappings = new Map<bigint, bigint>();
  /** Memory mapped for the program. */
  memoryMapped = 0;
  readonly exits = new Map<number, { phase: number; step: ExitStep }>();
  /** Bytes of configuration space. */
  readonly config = new Uint8Array(256);
  faulted = false;
  private next = 100;

  constructor(readonly script: Script = {}) {
    new DataView(this.config.buffer).setUint16(4, 6, true);
  }

  /** Nothing is left open, mapped, or to be done at exit. */
  get clean(): boolean {
    return this.open.size + this.mappings.size + this.memoryMapped + this.exits.size === 0;
  }

  readonly system = this.make();

  private make(): SystemCalls {
    const usual = {
      files: { '/sys/kernel/iommu_groups/7/type': 'DMA\n' } as Record<string, string | number>,
      links: {
        [`${sys}/${BDF}/driver`]: '../../../bus/pci/drivers/vfio-pci',
        [`${sys}/${BDF}/iommu_group`]: '../../../kernel/iommu_groups/7',
      } as Record<string, string | number>,
      lists: { '/sys/kernel/iommu_groups/7/devices': [BDF] } as Record<string, string[]>,
    };
    const look = <T>(name: 'files' | 'links' | 'lists', path: string): T | number =>
      ((this.script[name]?.[path] ?? usual[name][path]) as T) ?? -Errno.ENOENT;
    const fd = (what: string): number => {
      this.open.set(this.next, what);
      return this.next++;
    };
    const calls: Partial<SystemCalls> = {
      name: 'scripted',
      pageSize: 4096,
      open: (path) => {
        this.log.push(`open ${path}`);
        return this.script.opens?.[path] ?? fd(path);
      },
      close: (number) => {
        this.log.push(`close ${this.open.get(number)}`);
        // The kernel drops every mapping with the container.
        if (this.open.get(number)?.startsWith('/dev/vfio/vfio')) this.mappings.clear();
        return this.open.delete(number) ? 0 : -Errno.EBADF;
      },
      ioctl: (number, request, argument, places) => this.ioctl(number, request, argument, places, fd),
      ioctlAsync: async (number, request, argument, places) => this.ioctl(number, request, argument, places, fd),
      pread: (_fd, into, offset) => {
        into.set(this.config.subarray(offset % 2 ** 40, (offset % 2 ** 40) + into.length));
        return into.length;
      },
      pwrite: (_fd, from, offset) => {
        this.log.push(`pwrite ${Math.floor(offset / 2 ** 40)}:${offset % 2 ** 40} [${[...from]}]`);
        this.config.set(from, offset % 2 ** 40);
        return from.length;
      },
      mapDevice: (_fd, offset, length) => this.mapDevice(offset, length),
      memory: (request) => this.memory(request),
      addressOf: (buffer) => (buffer.byteLength % 4096 === 0 ? 0x7f00_0000_0000n : -Errno.EINVAL),
      memfd: () => this.script.memfd ?? fd('memfd'),
      truncate: (_fd, bytes) => {
        this.log.push(`truncate ${bytes}`);
        return 0;
      },
      punchHole: (_fd, offset, length) => {
        this.log.push(`punch ${offset}+${length}`);
        return 0;
      },
      readFile: (path) => look('files', path),
      readLink: (path) => look('links', path),
      list: (path) => look('lists', path),
      status: (path) => {
        const listed = [BDF, ...Object.values(this.script.lists ?? {}).flat()].map((name) => `${sys}/${name}`);
        const known = ['/dev/vfio/vfio', '/dev/vfio/7', ...listed];
        if (!this.script.noDriverDirectory) known.push('/sys/bus/pci/drivers/vfio-pci');
        return known.includes(path) ? { type: 'character device', mode: 0o600, uid: 0, gid: 0 } : -Errno.ENOENT;
      },
      onExit: (phase, step) => {
        const handle = this.next++;
        this.exits.set(handle, { phase, step });
        return handle;
      },
      cancelExit: (handle) => void this.exits.delete(handle),
    };
    return calls as SystemCalls;
  }

  private memory(request: MemoryRequest) {
    this.memoryMapped++;
    let bytes = new Uint8Array(request.length);
    let mapped = true;
    this.log.push('mmap memory');
    return {
      get bytes() {
        return bytes;
      },
      address: 0x7e00_0000_0000n,
      length: request.length,
      unmap: () => {
        if (!mapped) return;
        mapped = false;
        this.memoryMapped--;
        this.log.push('munmap memory');
        bytes = new Uint8Array(0);
      },
    };
  }

  private mapDevice(offset: number, length: number): DeviceMapping | number {
    if (this.script.mapDevice !== undefined) return this.script.mapDevice;
    this.log.push(`mmap window ${offset % 2 ** 40}+${length}`);
    this.memoryMapped++;
    const window = new MappedWindow(new Uint8Array(length));
    let mapped = true;
    const kernel = this;
    return {
      window,
      address: 0x7d00_0000_0000n,
      length,
      get faulted() {
        return kernel.faulted;
      },
      remap: () => {
        this.log.push('remap window');
        if (this.script.remap !== undefined) return this.script.remap;
        kernel.faulted = false;
        return 0;
      },
      unmap: () => {
        if (!mapped) return;
        mapped = false;
        this.memoryMapped--;
        this.log.push('munmap window');
        window.close();
      },
    };
  }

  private ioctl(
    fd: number,
    request: number,
    argument: number | Uint8Array | undefined,
    places: IoctlPlaces | undefined,
    open: (what: string) => number,
  ): number {
    const file = this.open.get(fd);
    if (file === undefined) return -Errno.EBADF;
    const name = this.nameOf(file, request);
    const scripted = this.script.ioctls?.[name]?.(argument);
    this.log.push(scripted === undefined ? name : `${name} -> ${scripted}`);
    if (scripted !== undefined) return scripted;
    const bytes = argument as Uint8Array;
    switch (name) {
      case 'VFIO_CHECK_EXTENSION':
        return [1, 3, 9].includes(argument as number) ? 1 : 0;
      case 'VFIO_GROUP_GET_STATUS':
        u32(bytes, 4, this.script.groupFlags ?? 1);
        return 0;
      case 'VFIO_GROUP_SET_CONTAINER':
        return places?.fds?.length === 1 ? 0 : -Errno.EFAULT;
      case 'VFIO_GROUP_GET_DEVICE_FD':
        return open('device');
      case 'VFIO_DEVICE_GET_INFO':
        bytes.set(encode(structs.vfio_device_info, { flags: 3, num_regions: 9, num_irqs: 5 }));
        return 0;
      case 'VFIO_DEVICE_GET_REGION_INFO': {
        const { index } = decode(structs.vfio_region_info, bytes);
        const size = index === 7 ? 256n : index === 0 ? 0x4000n : 0n;
        const flags = index === 0 ? 7 : index === 7 ? 3 : 0;
        bytes.set(encode(structs.vfio_region_info, { index, flags, size, offset: BigInt(index) << 40n }));
        return 0;
      }
      case 'VFIO_IOMMU_GET_INFO':
        bytes.set(encode(structs.vfio_iommu_type1_info, { flags: 1, iova_pgsizes: 0xfffffffffffff000n }));
        return 0;
      case 'VFIO_IOMMU_MAP_DMA': {
        const { iova, size } = decode(structs.vfio_iommu_type1_dma_map, bytes);
        this.mappings.set(iova, size);
        return 0;
      }
      case 'VFIO_IOMMU_UNMAP_DMA': {
        const { iova } = decode(structs.vfio_iommu_type1_dma_unmap, bytes);
        bytes.set(encode(structs.vfio_iommu_type1_dma_unmap, { iova, size: this.mappings.get(iova) ?? 0n }));
        this.mappings.delete(iova);
        return 0;
      }
      default:
        return 0;
    }
  }

  /** One number has several names; the file tells them apart. */
  private nameOf(file: string, request: number): IoctlName {
    const names = (Object.keys(Ioctl) as IoctlName[]).filter((name) => constants[name] === request);
    const fits = names.find((name) => (file === 'device') === name.startsWith('VFIO_DEVICE'));
    return fits as IoctlName;
  }
}
