/** An IOAS, and the hardware's page tables (HWPT) that translate by it. */

import { PAGE, type Segment } from '../address-space.js';
import type { DmaFault } from '../log.js';
import type { Machine } from '../machine.js';
import type { DmaDomain } from '../pci/function.js';
import type { MappingFacts } from '../type1.js';
import { IoPagetable } from './io-pagetable.js';
import { IommufdObject } from './objects.js';
import { TOP } from './spans.js';

/** An address space of devices. */
export class Ioas extends IommufdObject {
  readonly kind = 'ioas';
  readonly table: IoPagetable;
  /** What translates by it. */
  readonly hwpts = new Set<Hwpt>();

  constructor(machine: Machine) {
    super();
    this.table = new IoPagetable(machine);
  }

  override destroyed(): void {
    this.table.unmap({ start: 0n, last: TOP });
  }
}

export class Hwpt extends IommufdObject implements DmaDomain {
  readonly kind = 'hwpt';
  /** Pages that were written since somebody asked, by number, while they are tracked. */
  readonly dirty = new Set<number>();
  tracking = false;

  /** Made by ATTACH of an IOAS; it goes with the last device. */
  readonly automatic: boolean;
  /** Allocated so that written pages can be tracked. */
  readonly tracksDirty: boolean;
  /** No hardware translates by it: it only pins ([NOI-31]). */
  readonly physical: boolean;

  constructor(
    readonly ioas: Ioas,
    { automatic = false, tracksDirty = false, physical = false },
  ) {
    super();
    this.automatic = automatic;
    this.tracksDirty = tracksDirty;
    this.physical = physical;
    ioas.users++;
  }

  /** Begins to translate: 0 or a negative errno. */
  start(): number {
    const status = this.ioas.table.addDomain(this, this.physical);
    if (status === 0) this.ioas.hwpts.add(this);
    return status;
  }

  override destroyed(): void {
    if (this.ioas.hwpts.delete(this)) this.ioas.table.removeDomain(this);
    this.ioas.users--;
  }

  get list(): MappingFacts[] {
    return [...this.ioas.table.areas].map(({ iova, length, read, write }) => ({
      iova,
      size: Number(length),
      read,
      write,
    }));
  }

  resolve(address: bigint, write: boolean): Segment | DmaFault['reason'] {
    const area = this.ioas.table.areas.at(address);
    if (area?.pinned === undefined) return 'unmapped';
    if (!(write ? area.write : area.read)) return 'protection';
    let inside = Number((area.start % BigInt(PAGE)) + (address - area.iova));
    const left = Number(area.end - address);
    for (const { store, offset, length } of area.pinned) {
      if (inside < length) {
        let run = Math.min(length - inside, left);
        if (write && this.tracking) {
          // No further than this page: how much the device writes is not known here.
          run = Math.min(run, PAGE - Number(address % BigInt(PAGE)));
          this.dirty.add(Number(address / BigInt(PAGE)));
        }
        return { store, offset: offset + inside, length: run };
      }
      inside -= length;
    }
    return 'unmapped';
  }
}
