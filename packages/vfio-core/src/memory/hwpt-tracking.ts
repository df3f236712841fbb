/** Written pages of an address space of an iommufd: its devices go over to page tables that keep track ([IFD-37]). */

import { Errno } from '../errors/errno.js';
import { isVfioError, VfioError } from '../errors/error.js';
import type { DeviceFile } from '../iommufd/device-file.js';
import { Hwpt } from '../iommufd/hwpt.js';
import type { Ioas } from '../iommufd/ioas.js';
import { checkDirtyRange, DirtyPages, type DirtyRange } from './dirty-pages.js';
import type { DirtySource } from './dirty-tracker.js';

/** One page table, or one for each kind of IOMMU that devices are behind. Going over leaves no gap in translation ([IFD-11]). */
export class HwptTracking implements DirtySource {
  readonly exact = true;
  readonly pageSize: number;
  private readonly ioas: Ioas;
  private readonly files = new Set<DeviceFile>();
  private readonly tables: Hwpt[] = [];
  private readonly ended: () => void;

  /** Throws `ERR_VFIO_NOT_SUPPORTED` where an IOMMU cannot; then everything is as it was. */
  constructor(ioas: Ioas, files: readonly DeviceFile[], pageSize: number, ended: () => void) {
    this.ioas = ioas;
    this.pageSize = pageSize;
    this.ended = ended;
    try {
      for (const file of files) this.add(file);
    } catch (thrown) {
      try {
        this.stop();
      } catch {
        // Why it could not begin is what matters.
      }
      throw thrown;
    }
  }

  /** One more device. */
  add(file: DeviceFile): void {
    for (const table of this.tables) {
      if (!goesOver(file, table)) continue;
      this.files.add(file);
      return;
    }
    const { deviceId: device } = file;
    if (device === undefined) {
      throw new VfioError('ERR_VFIO_NOT_SUPPORTED', `nobody told the number of ${file.address} in the iommufd.`, {
        remedy: 'Pass on its descriptor before it is bound, if what it writes is to be tracked.',
      });
    }
    const table = Hwpt.allocate({ device, ioas: this.ioas, dirtyTracking: true });
    try {
      table.setDirtyTracking(true);
      file.attach(table);
    } catch (thrown) {
      table.destroy();
      throw thrown;
    }
    this.tables.push(table);
    this.files.add(file);
  }

  read(range: DirtyRange, clear: boolean): DirtyPages {
    const [first, ...others] = this.tables.map((table) => table.readDirty(range, clear));
    // No device, so nothing was written.
    if (first === undefined) return new DirtyPages(range, new Uint8Array(checkDirtyRange(range)));
    const bitmap = Uint8Array.from(first.bitmap, (byte, at) =>
      others.reduce((bits, pages) => bits | (pages.bitmap[at] ?? 0), byte),
    );
    return new DirtyPages(range, bitmap);
  }

  /** Back to a page table of the kernel's own. One that cannot go back, being gone, keeps no other from it; then throws its error. */
  stop(): void {
    this.ended();
    const errors: unknown[] = [];
    const attempt = (step: () => void) => {
      try {
        step();
      } catch (thrown) {
        errors.push(thrown);
      }
    };
    for (const file of this.files) if (!file.closed) attempt(() => file.attach(this.ioas));
    this.files.clear();
    for (const table of this.tables.splice(0)) attempt(() => table.destroy());
    if (errors.length > 0) throw errors[0];
  }
}

/** False where the IOMMU behind the device is of another kind than the table's. */
function goesOver(file: DeviceFile, table: Hwpt): boolean {
  try {
    file.attach(table);
    return true;
  } catch (thrown) {
    if (isVfioError(thrown) && thrown.errno === Errno.EINVAL) return false;
    throw thrown;
  }
}
