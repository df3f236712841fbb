/** `/dev/vfio/devices/vfioX`: a device without its group, section 10.1 of the behaviours. */

import type { DeviceMapping } from 'vfio-core';
import type { UserArgument } from '../argument.js';
import { E2BIG, EBADF, EBADFD, EBUSY, EFAULT, EINVAL, EOPNOTSUPP } from '../errno.js';
import { OpenFile } from '../fds.js';
import type { Machine } from '../machine.js';
import type { Slot } from '../pci/slot.js';
import { checkToken, tokenOf } from '../pci/vf-token.js';
import { BoundDevice } from './bound-device.js';
import { IommufdContext } from './context.js';
import { readUser } from './user-memory.js';

const PASID = 1;
const TOKEN = 1;

/** A device file. Until it is bound to an iommufd everything but that is EINVAL ([IFD-2]). */
export class DeviceCdevFile extends OpenFile {
  readonly path: string;
  /** The open device, as a group would have given it. */
  private device: OpenFile | undefined;
  private bound: BoundDevice | undefined;

  constructor(
    private readonly slot: Slot,
    private readonly machine: Machine,
  ) {
    super();
    this.path = `/dev/vfio/devices/${slot.vfioName}`;
  }

  override get details(): string {
    return this.slot.fdinfo;
  }

  override ioctl(request: number, argument: UserArgument): number {
    if (request === 0x3b76) return this.bind(argument);
    if (this.device === undefined) return -EINVAL;
    if (request === 0x3b77) return this.attach(argument);
    if (request === 0x3b78) return this.detach(argument);
    return this.device.ioctl(request, argument);
  }

  override pread(into: Uint8Array, offset: number): number {
    return this.device?.pread(into, offset) ?? -EINVAL;
  }

  override pwrite(from: Uint8Array, offset: number): number {
    return this.device?.pwrite(from, offset) ?? -EINVAL;
  }

  override mapDevice(offset: number, length: number, protection: number): DeviceMapping | number {
    return this.device?.mapDevice(offset, length, protection) ?? -EINVAL;
  }

  protected override released(): void {
    this.device?.release();
  }

  private bind(argument: UserArgument): number {
    const { slot, machine } = this;
    const withToken = machine.kernel.since('6.17');
    const checked = check(argument, 16, withToken ? { size: 24, flags: TOKEN } : {});
    if (typeof checked === 'number') return checked;
    const fd = checked.getInt32(8, true);
    if (fd < 0) return -EINVAL;
    const group = slot.group;
    if (group === undefined || group.opened !== undefined) return -EBUSY;
    if (this.device !== undefined) return -EINVAL;
    // Earlier kernels let everybody open virtual functions this way ([IFD-15]).
    const refused = withToken ? this.checkToken(checked) : 0;
    if (refused < 0) return refused;
    const context = machine.fds.get(fd);
    if (context === undefined) return -EBADF;
    if (!(context instanceof IommufdContext)) return -EBADFD;
    if (slot.device !== undefined) return -EINVAL;
    const bound = BoundDevice.claim(context, machine, slot);
    if (typeof bound === 'number') return bound;
    const device = slot.openDevice({
      hold: () => {
        group.devicesBound++;
        slot.openedByFile = true;
      },
      release: () => {
        group.devicesBound--;
        slot.openedByFile = false;
        this.bound = undefined;
        bound.unbind();
      },
    });
    if (typeof device === 'number') {
      bound.unbind();
      return device;
    }
    this.device = device;
    this.bound = bound;
    checked.setUint32(12, bound.id, true);
    return 0;
  }

  private checkToken(view: DataView): number {
    const { slot, machine } = this;
    if ((view.getUint32(4, true) & TOKEN) === 0) return checkToken(slot, undefined, machine.log);
    const bytes = readUser(machine.memory.space, view.getBigUint64(16, true), 16);
    return bytes === undefined ? -EFAULT : checkToken(slot, tokenOf(bytes), machine.log);
  }

  private attach(argument: UserArgument): number {
    const { machine, bound } = this;
    const pasid = machine.kernel.since('6.15');
    const view = check(argument, 12, pasid ? { size: 16, flags: PASID } : {});
    if (typeof view === 'number') return view;
    // No page table here was made for that ([IFD-40]).
    if ((view.getUint32(4, true) & PASID) !== 0) return -EINVAL;
    // [IFD-16]
    if (this.slot.locked && machine.kernel.since('7.0')) return -EBUSY;
    const id = (bound as BoundDevice).attach(view.getUint32(8, true));
    if (id < 0) return id;
    view.setUint32(8, id, true);
    return 0;
  }

  private detach(argument: UserArgument): number {
    const { machine, bound } = this;
    const pasid = machine.kernel.since('6.15');
    const view = check(argument, 8, pasid ? { size: 12, flags: PASID } : {});
    if (typeof view === 'number') return view;
    if ((view.getUint32(4, true) & PASID) !== 0) return -EOPNOTSUPP;
    bound?.detach();
    return 0;
  }
}

/** A structure with `argsz` and flags: its view or a negative errno. Newer kernels know more of it than the minimum ([IFD-39]). */
function check(
  argument: UserArgument,
  minimum: number,
  { size = minimum, flags = 0 }: { size?: number; flags?: number },
): DataView | number {
  const view = argument.view(minimum);
  if (view === undefined) return -EFAULT;
  const given = view.getUint32(0, true);
  const set = view.getUint32(4, true);
  if (given < minimum || (set & ~flags) !== 0) return -EINVAL;
  if (set !== 0 && given < size) return -EINVAL;
  if (set !== 0 && argument.view(size) === undefined) return -EFAULT;
  const behind = size > minimum ? argument.bytes?.subarray(size, given) : undefined;
  return behind?.some((byte) => byte !== 0) ? -E2BIG : view;
}
