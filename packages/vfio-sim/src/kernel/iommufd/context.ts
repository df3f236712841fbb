/** `/dev/iommu`: an iommufd, its objects and its commands, section 10 of the behaviours. */

import { type UserArgument, viewOf } from '../argument.js';
import { E2BIG, EFAULT, EINVAL, EMSGSIZE, ENOTTY } from '../errno.js';
import { OpenFile } from '../fds.js';
import type { Machine } from '../machine.js';
import type { BoundDevice } from './bound-device.js';
import { type Command, commands } from './commands.js';
import { type ObjectKind, ObjectTable } from './objects.js';
import type { Hwpt, Ioas } from './page-tables.js';
import type { Accounting } from './pages.js';
import { vfioIoctl } from './vfio-compat.js';

interface Objects {
  readonly device: BoundDevice;
  readonly ioas: Ioas;
  readonly hwpt: Hwpt;
}

/** An open `/dev/iommu`. Devices that are bound to it hold it open ([IFD-21]). */
export class IommufdContext extends OpenFile {
  readonly objects = new ObjectTable();
  /** Pinned pages are charged to the process, as type1 does, and not to the user ([IFD-27]). */
  chargesProcess: boolean;
  /** What the commands of a container act on ([IFD-30]). */
  compatible: Ioas | undefined;
  /** It stands in for a container of no-IOMMU mode ([NOI-26]). */
  noiommu = false;

  constructor(
    readonly path: '/dev/iommu' | '/dev/vfio/vfio',
    readonly machine: Machine,
  ) {
    super();
    this.chargesProcess = path === '/dev/vfio/vfio';
  }

  get accounting(): Accounting {
    if (this.machine.rights.ipcLock) return 'none';
    return this.chargesProcess ? 'process' : 'user';
  }

  /** An object by its number; undefined (ENOENT) if there is none of this kind. */
  find<Kind extends ObjectKind>(kind: Kind, id: number): Objects[Kind] | undefined {
    const object = this.objects.get(id);
    return object?.kind === kind ? (object as unknown as Objects[Kind]) : undefined;
  }

  override ioctl(request: number, argument: UserArgument): number {
    const number = request & 0xff;
    const known = commands(this.machine);
    const last = Math.max(...known.keys());
    if (number < 0x80 || number > last) return vfioIoctl(this, request, argument);
    const head = argument.view(4);
    if (head === undefined) return -EFAULT;
    const command = known.get(number);
    if (command === undefined || request !== 0x3b00 + number) return -ENOTTY;
    return this.execute(command, argument, head.getUint32(0, true));
  }

  protected override released(): void {
    this.objects.clear();
  }

  /** By the common rules: a structure may be shorter than the kernel's, or longer with zeros behind ([IFD-17]). */
  private execute(command: Command, argument: UserArgument, size: number): number {
    if (size < command.minimum) return -EINVAL;
    if (argument.view(size) === undefined) return -EFAULT;
    const given = (argument.bytes as Uint8Array).subarray(0, size);
    if (given.subarray(command.size).some((byte) => byte !== 0)) return -E2BIG;
    const own = new Uint8Array(command.size);
    own.set(given.subarray(0, command.size));
    const result = command.run(this, viewOf(own));
    if (result === 0 || result === -EMSGSIZE) given.set(own.subarray(0, Math.min(size, own.length)));
    return result;
  }
}
