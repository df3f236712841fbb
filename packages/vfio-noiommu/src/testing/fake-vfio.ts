/** A {@link FakeMachine} with one device in a no-IOMMU group, and a log of what happened to it in which order. */

import { FakeMachine } from './fake-machine.js';

const GET_DEVICE_FD = 0x3b6a;
const GET_INFO = 0x3b6b;
const GET_REGION_INFO = 0x3b6c;
const SET_IOMMU = 0x3b66;
const CONFIG = 7;

export const address = '0000:01:00.0';

export class FakeVfio extends FakeMachine {
  /** `open /dev/vfio/vfio`, `bus master off`, `close device`, `unlink ...` */
  readonly log: string[] = [];
  /** Low byte of the command register. */
  command = 0;
  /** Answers by ioctl number, in the kernel's place. */
  readonly refuse = new Map<number, number>();
  private readonly names = new Map<number, string>();
  private fd = 1000;

  constructor() {
    super();
    const device = `/sys/bus/pci/devices/${address}`;
    this.files.set('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode', 'Y\n');
    this.files.set(`${device}/class`, '0x010802\n');
    this.links.set(`${device}/driver`, '../../../bus/pci/drivers/vfio-pci');
    this.links.set(`${device}/iommu_group`, '../../../kernel/iommu_groups/5');
    this.files.set('/sys/kernel/iommu_groups/5/name', 'vfio-noiommu\n');
  }

  get openNodes(): string[] {
    return [...this.names.values()];
  }

  override open(path: string): number {
    if (!path.startsWith('/dev/vfio/')) return super.open(path);
    return this.node(path);
  }

  override close(fd: number): number {
    const name = this.names.get(fd);
    if (name === undefined) return super.close(fd);
    this.names.delete(fd);
    this.log.push(`close ${name}`);
    return 0;
  }

  override unlink(path: string): number {
    this.log.push(`unlink ${path.slice('/dev/hugepages/'.length)}`);
    return super.unlink(path);
  }

  ioctl(_fd: number, request: number, argument?: number | Uint8Array): number {
    const refused = this.refuse.get(request);
    if (refused !== undefined) return refused;
    if (request === SET_IOMMU) this.log.push(`set IOMMU ${argument}`);
    if (!(argument instanceof Uint8Array)) return 0;
    const view = new DataView(argument.buffer, argument.byteOffset);
    if (request === GET_INFO) {
      view.setUint32(4, 2, true);
      view.setUint32(8, 9, true);
      view.setUint32(12, 5, true);
    } else if (request === GET_REGION_INFO) {
      const index = view.getUint32(8, true);
      view.setUint32(4, 3, true);
      view.setBigUint64(16, index === CONFIG ? 256n : 0n, true);
      view.setBigUint64(24, BigInt(index) << 40n, true);
    }
    return 0;
  }

  async ioctlAsync(_fd: number, request: number): Promise<number> {
    const refused = this.refuse.get(request);
    if (refused !== undefined) return refused;
    return request === GET_DEVICE_FD ? this.node('device') : 0;
  }

  override pread(fd: number, into: Uint8Array, offset: number): number {
    if (this.names.get(fd) !== 'device') return super.pread(fd, into, offset);
    into.fill(0);
    if (offset - CONFIG * 2 ** 40 === 4) into[0] = this.command;
    return into.length;
  }

  pwrite(fd: number, from: Uint8Array, offset: number): number {
    if (this.names.get(fd) !== 'device' || offset - CONFIG * 2 ** 40 !== 4) return -22;
    const before = this.command;
    this.command = from[0]!;
    if (before & 4 && !(this.command & 4)) this.log.push('bus master off');
    return from.length;
  }

  private node(name: string): number {
    const fd = this.fd++;
    this.names.set(fd, name);
    this.log.push(`open ${name}`);
    return fd;
  }
}
