/** The memory behind DMA buffers: one memory file per address space. */

import { exitPhase } from '../container/exit-phases.js';
import { VfioError } from '../errors/error.js';
import { type CallFacts, check, systemError } from '../errors/system-error.js';
import type { Fd, MemoryMapping, SystemCalls } from '../seam/system-calls.js';

/** A page-granular piece of the file, mapped. */
export interface ArenaPiece {
  readonly mapping: MemoryMapping;
  /** Bytes of {@link mapping} before the piece: where pages are larger than the system's, it begins at a multiple of theirs. */
  readonly skipped: number;
  /** Bytes; whole pages. */
  readonly size: number;
  /** Place of the piece in the file, for a view from another thread. */
  readonly fd: Fd;
  readonly offset: number;
}

/**
 * One anonymous memory file, grown as it is needed; each piece maps its own range of it.
 *
 * Why a shared file and not private memory: another thread can map the same bytes from a descriptor and an offset; and a
 * child process made by fork shares it, where private pages that a device writes to would be split by copy-on-write, leaving
 * parent and device with different copies.
 *
 * No place in the file is used twice, so a view that outlives its buffer, in another thread, finds zeros and never somebody
 * else's buffer. The file is sparse: places that were given back cost nothing.
 */
export class DmaArena {
  private readonly system: SystemCalls;
  private readonly pageSize: number;
  private readonly hugePages: number;
  private fd: Fd = -1;
  private exit = -1;
  private length = 0;
  private shut = false;

  /**
   * @param pageSize granularity in bytes: a multiple of the system's page
   * @param hugePages bytes of the huge pages that it is made of; 0 for ordinary ones
   */
  constructor(system: SystemCalls, pageSize: number, hugePages = 0) {
    this.system = system;
    this.pageSize = pageSize;
    this.hugePages = hugePages;
  }

  /**
   * Zeroed memory that shares no page with other memory. Throws `ERR_VFIO_NO_MEMORY`.
   * @param bytes 1 or more; rounded up to whole pages
   */
  allocate(bytes: number): ArenaPiece {
    if (this.shut) throw new VfioError('ERR_VFIO_CLOSED', 'the address space was closed.');
    const fd = this.file();
    const { pageSize, system } = this;
    const size = Math.ceil(bytes / pageSize) * pageSize;
    // The system aligns to its own pages, or to huge ones.
    const length = this.hugePages === 0 ? size + pageSize - system.pageSize : size;
    const offset = this.length;
    check(system.truncate(fd, offset + length), {
      what: `growing DMA memory by ${size} bytes`,
      syscall: 'ftruncate',
      code: 'ERR_VFIO_NO_MEMORY',
    });
    const mapping = system.memory({ kind: 'file', fd, offset, length });
    if (typeof mapping === 'number') {
      system.truncate(fd, offset);
      throw systemError(mapping, { what: `mapping ${size} bytes`, syscall: 'mmap', ...this.refusal() });
    }
    this.length = offset + length;
    const skipped = Number(BigInt.asUintN(64, -mapping.address) % BigInt(pageSize));
    return { mapping, skipped, size, fd, offset: offset + skipped };
  }

  /** Unmaps a piece and gives its pages back. Only for memory that no device can reach any more. */
  free({ mapping, skipped, fd, offset }: ArenaPiece): void {
    const { length } = mapping;
    mapping.unmap();
    if (this.fd === fd) this.system.punchHole(fd, offset - skipped, length);
  }

  /** Idempotent. Pieces that were not freed stay mapped: they were leaked on purpose. */
  close(): void {
    if (this.shut) return;
    this.shut = true;
    if (this.fd < 0) return;
    this.system.cancelExit(this.exit);
    this.system.close(this.fd);
    this.fd = -1;
  }

  private file(): Fd {
    if (this.fd < 0) {
      const fd = this.hugePages === 0 ? this.system.memfd('vfio-dma') : this.system.memfd('vfio-dma', this.hugePages);
      this.fd = check(fd, { syscall: 'memfd_create', ...this.refusal() });
      this.exit = this.system.onExit(exitPhase['memory freed'], { call: 'close', fd: this.fd });
    }
    return this.fd;
  }

  private refusal(): CallFacts {
    if (this.hugePages === 0) return { code: 'ERR_VFIO_NO_MEMORY' };
    const folder = `/sys/kernel/mm/hugepages/hugepages-${this.hugePages / 1024}kB`;
    return {
      code: 'ERR_VFIO_NO_HUGEPAGES',
      remedy: `Set pages aside (as root):  echo N > ${folder}/nr_hugepages`,
      details: { hugePages: this.hugePages },
    };
  }
}
