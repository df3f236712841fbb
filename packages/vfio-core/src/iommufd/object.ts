/** An object of an iommufd that this program made, and so ends. */

import { exitPhase } from '../container/exit-phases.js';
import { IommufdIoctl, iommufdStructs } from '../uapi/iommufd.js';
import { encode } from '../uapi/struct.js';
import type { Iommufd } from './iommufd.js';

/** An object by its number. */
export abstract class IommufdObject {
  readonly iommufd: Iommufd;
  /** Its number in the iommufd. */
  readonly id: number;
  private forget: (() => void) | undefined;
  private gone = false;

  protected constructor(iommufd: Iommufd, id: number) {
    this.iommufd = iommufd;
    this.id = id;
    const { system, fd } = iommufd;
    const bytes = encode(iommufdStructs.iommu_destroy, { id });
    // An iommufd that came from another process outlives this one, and its objects with it.
    const exit = system.onExit(exitPhase.group, { call: 'ioctl', fd, request: IommufdIoctl.IOMMU_DESTROY, bytes });
    const takeOut = iommufd.onClose(() => {
      system.cancelExit(exit);
      this.gone = true;
    });
    this.forget = () => {
      system.cancelExit(exit);
      takeOut();
    };
  }

  /** Also once the iommufd is closed. */
  get destroyed(): boolean {
    return this.gone;
  }

  /** Idempotent. Throws `ERR_VFIO_BUSY` while a device is attached to it, or another object stands on it ([IFD-20]). */
  destroy(): void {
    if (this.gone) return;
    this.iommufd.destroy(this.id);
    this.gone = true;
    this.forget?.();
    this.forget = undefined;
  }
}
