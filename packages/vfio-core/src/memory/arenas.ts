/** The memory files of one address space: one for each size of pages. */

import type { SystemCalls } from '../seam/system-calls.js';
import { DmaArena } from './arena.js';
import type { Backing } from './backing.js';

export class Arenas {
  private readonly system: SystemCalls;
  /** By the size of their pages: 0 for ordinary ones. */
  private readonly arenas = new Map<number, DmaArena>();

  constructor(system: SystemCalls) {
    this.system = system;
  }

  /**
   * New memory. Throws as {@link DmaArena.allocate}.
   * @param pageSize of the IOMMU, in bytes; counts for the first ordinary memory
   * @param hugePages bytes of a huge page; 0 for ordinary ones
   */
  allocate(bytes: number, pageSize: number, hugePages: number): Backing {
    const arena =
      this.arenas.get(hugePages) ?? new DmaArena(this.system, hugePages === 0 ? pageSize : hugePages, hugePages);
    this.arenas.set(hugePages, arena);
    const piece = arena.allocate(bytes);
    const { mapping, skipped, size, fd, offset } = piece;
    return {
      bytes: size === mapping.length ? mapping.bytes : mapping.bytes.subarray(skipped, skipped + size),
      address: mapping.address + BigInt(skipped),
      size,
      file: { fd, offset },
      kind: 'memory',
      mayBeLent: false,
      release: () => arena.free(piece),
    };
  }

  /** Idempotent. */
  close(): void {
    for (const arena of this.arenas.values()) arena.close();
  }
}
