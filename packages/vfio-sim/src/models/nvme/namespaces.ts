/** Namespaces: which numbers are valid, which of them are active, and what is behind them. */

import type { Disk } from '../../disks/disk.js';
import { permanent, Status } from './status.js';

/** In a namespace field: all of them. */
export const everyNamespace = 0xffff_ffff;

export class Namespace {
  constructor(
    readonly id: number,
    readonly disk: Disk,
  ) {}

  /** Log2 of bytes (LBADS). */
  get blockShift(): number {
    return Math.log2(this.disk.blockSize);
  }
}

export class Namespaces implements Iterable<Namespace> {
  private readonly active: readonly Namespace[];

  constructor(
    disks: readonly (Disk | undefined)[],
    /** Highest valid number (NN). */
    readonly limit: number,
  ) {
    this.active = disks.flatMap((disk, i) => (disk === undefined ? [] : [new Namespace(i + 1, disk)]));
  }

  [Symbol.iterator](): Iterator<Namespace> {
    return this.active[Symbol.iterator]();
  }

  get(id: number): Namespace | undefined {
    return this.active.find((namespace) => namespace.id === id);
  }

  valid(id: number): boolean {
    return id >= 1 && id <= this.limit;
  }

  /** The active namespace, or the status for a number that is invalid or inactive (NVMe 1.4, section 6.1.5). */
  find(id: number): Namespace | number {
    return this.get(id) ?? permanent(this.valid(id) ? Status.invalidField : Status.invalidNamespace);
  }
}
