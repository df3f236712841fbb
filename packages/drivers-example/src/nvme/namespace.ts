/** A namespace: a disk, in blocks. The convenient calls; those without a promise per I/O are in queue.ts. */

import { type DmaBuffer, type DmaSpace, VfioError } from 'vfio-core';
import { SMALLEST_BLOCK } from './commands.js';
import type { NamespaceData } from './identify.js';
import type { AwaitedQueue, Job } from './promises.js';
import type { QueuePair } from './queue.js';
import type { QueueNamespace } from './queue-parts.js';
import { statusError } from './status.js';

/** Options of {@link Namespace.read} and {@link Namespace.write}. */
export interface TransferOptions {
  /** Blocks to move; as many as the buffer holds from `offset` on by default. */
  readonly blocks?: number;
  /** First byte in the buffer, a multiple of 4; 0 by default. */
  readonly offset?: number;
  /** Stops what is not sent yet; the promise rejects with `signal.reason` once the controller has let go of the buffer. */
  readonly signal?: AbortSignal;
}

/** Options of {@link Namespace.stream}. */
export interface StreamOptions {
  /** First block; 0n by default. */
  readonly from?: bigint;
  /** Blocks to read; to the end by default. */
  readonly blocks?: number | bigint;
  /** Bytes of each chunk, a multiple of the block size; 1 MiB by default. The last chunk may be shorter. */
  readonly chunkBytes?: number;
  readonly signal?: AbortSignal;
}

/** What a namespace needs of its controller. */
export interface NamespaceHost {
  readonly dma: DmaSpace;
  readonly readOnly: boolean;
  /** Throws where the controller is closed or has failed. */
  awaited(): AwaitedQueue;
}

const STREAM_CHUNK = 1 << 20;

/** A namespace of an open controller: `nvme.namespaces[0]`. */
export class Namespace implements QueueNamespace {
  /** Namespace id, from 1 on. */
  readonly id: number;
  /** Bytes of a block: 512, 4096, ... */
  readonly blockSize: number;
  readonly blocks: bigint;
  readonly bytes: bigint;
  /** {@link blocks} as a number, for the queue face. */
  readonly blockCount: number;
  /** Writes are refused: the controller was opened read-only, or the namespace is write protected. */
  readonly readOnly: boolean;
  /** Why this driver cannot read or write it, in words: a format with metadata, for one. */
  readonly problem: string | undefined;
  /** All that Identify said. */
  readonly data: NamespaceData;
  private readonly host: NamespaceHost;

  /** @internal */
  constructor(id: number, data: NamespaceData, host: NamespaceHost) {
    this.id = id;
    this.data = data;
    this.host = host;
    this.blockSize = data.blockSize;
    this.blocks = data.blocks;
    this.bytes = data.blocks * BigInt(data.blockSize);
    this.blockCount = Number(data.blocks);
    this.readOnly = host.readOnly || (data.attributes & 1) === 1;
    this.problem = problemOf(data);
  }

  /**
   * Reads whole blocks, from block `lba` on, into a buffer. Long reads are split into commands that run at the same time.
   *
   * The block is a bigint, as the specification counts them: 64 bits. {@link QueuePair.read} takes a number instead, because a
   * bigint per I/O is garbage per I/O.
   *
   * Rejects with `ERR_NVME_ARGUMENT` (length, range), `ERR_VFIO_CLOSED` (buffer or controller), `ERR_NVME_STATUS`,
   * `ERR_NVME_TIMEOUT`, `ERR_NVME_FATAL`, `ERR_VFIO_DEVICE_GONE`. However it settles, the controller is done with the buffer.
   */
  async read(lba: bigint, buffer: DmaBuffer, options: TransferOptions = {}): Promise<void> {
    await this.transfer('read', lba, buffer, options);
  }

  /** Writes whole blocks, as {@link read} reads them. On the medium after {@link flush}. */
  async write(lba: bigint, buffer: DmaBuffer, options: TransferOptions = {}): Promise<void> {
    if (this.readOnly) {
      throw this.refuse('it is read-only', { readOnly: true }, 'Open the controller without readOnly.');
    }
    await this.transfer('write', lba, buffer, options);
  }

  /** What was written before is on the medium when this resolves. Source: section 6.8. */
  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.host.awaited().run(new Flush(this), options.signal);
  }

  /**
   * Reads on and on; the next chunk is fetched while one is worked on. Chunks are the caller's own memory.
   *
   * ```ts
   * for await (const chunk of disk.stream({ from: 0n })) hash.update(chunk);
   * ```
   */
  async *stream(options: StreamOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { from = 0n, chunkBytes = Math.max(STREAM_CHUNK, this.blockSize), signal } = options;
    const perChunk = BigInt(this.wholeBlocks(chunkBytes));
    const end = options.blocks === undefined ? this.blocks : from + BigInt(options.blocks);
    if (from < 0n || end < from || end > this.blocks) throw this.outside(from, Number(end - from));
    const buffers: DmaBuffer[] = [];
    let lba = from;
    let ahead: { buffer: DmaBuffer; bytes: number; done: Promise<void> } | undefined;
    const fetch = (buffer: DmaBuffer) => {
      if (lba >= end) return undefined;
      const blocks = Number(end - lba < perChunk ? end - lba : perChunk);
      const done = this.read(lba, buffer, { blocks, ...(signal === undefined ? {} : { signal }) });
      done.catch(() => {}); // thrown below, when its turn comes
      lba += BigInt(blocks);
      return { buffer, bytes: blocks * this.blockSize, done };
    };
    try {
      for (let i = 0; i < 2; i++) buffers.push(this.host.dma.allocate(chunkBytes, { contiguous: false }));
      ahead = fetch(buffers[0]!);
      for (let turn = 1; ahead !== undefined; turn++) {
        const { buffer, bytes, done }: NonNullable<typeof ahead> = ahead;
        const next = fetch(buffers[turn % 2]!);
        ahead = next ?? ahead;
        await done;
        yield buffer.bytes.slice(0, bytes);
        ahead = next;
      }
    } finally {
      await ahead?.done.catch(() => {}); // the controller may still write into its buffer
      for (const buffer of buffers) buffer.close();
    }
  }

  toString(): string {
    return `namespace ${this.id}: ${this.blocks} blocks of ${this.blockSize} bytes`;
  }

  private transfer(kind: 'read' | 'write', lba: bigint, buffer: DmaBuffer, options: TransferOptions): Promise<number> {
    const { offset = 0, signal } = options;
    if (this.problem !== undefined) {
      throw new VfioError('ERR_NVME_CONTROLLER', `Namespace ${this.id} cannot be used: ${this.problem}.`, {
        details: { namespace: this.id, problem: this.problem },
      });
    }
    if (buffer.closed) {
      throw new VfioError('ERR_VFIO_CLOSED', 'The buffer was closed: the controller cannot reach it any more.', {
        remedy: 'Keep a buffer open until every command on it has completed.',
      });
    }
    if (!Number.isInteger(offset) || offset < 0 || offset % 4 !== 0) {
      throw this.refuse(`the offset in the buffer, ${offset}, is not a multiple of 4`, { offset });
    }
    const blocks = options.blocks ?? this.wholeBlocks(buffer.length - offset);
    if (!Number.isInteger(blocks) || blocks < 1) throw this.refuse(`${blocks} is no number of blocks`, { blocks });
    if (offset + blocks * this.blockSize > buffer.length) {
      throw this.refuse(`${blocks} blocks from byte ${offset} on do not fit into a buffer of ${buffer.length} bytes`, {
        blocks,
        offset,
        bufferLength: buffer.length,
      });
    }
    if (typeof lba !== 'bigint' || lba < 0n || lba + BigInt(blocks) > this.blocks) throw this.outside(lba, blocks);
    return this.host.awaited().run(new Transfer(kind, this, Number(lba), buffer, offset, blocks), signal);
  }

  /** Blocks in `bytes` bytes. */
  private wholeBlocks(bytes: number): number {
    if (bytes > 0 && bytes % this.blockSize === 0) return bytes / this.blockSize;
    throw this.refuse(`a length of ${bytes} bytes is not a multiple of the block size, ${this.blockSize}`, {
      bytes,
      blockSize: this.blockSize,
    });
  }

  private outside(lba: bigint, blocks: number): VfioError {
    const { blocks: all } = this;
    if (typeof lba !== 'bigint') return this.refuse(`a block number is a bigint, not ${String(lba)}`, { lba });
    return this.refuse(`${blocks} blocks from block ${lba} on are not in its ${all}`, {
      lba,
      blocks,
      namespaceBlocks: all,
    });
  }

  private refuse(why: string, details: Record<string, unknown>, remedy?: string): VfioError {
    return new VfioError('ERR_NVME_ARGUMENT', `Namespace ${this.id} refused: ${why}.`, {
      details: { namespace: this.id, ...details },
      ...(remedy === undefined ? {} : { remedy }),
    });
  }
}

function problemOf({ metadataBytes, blockSize }: NamespaceData): string | undefined {
  if (metadataBytes > 0) return `its format has ${metadataBytes} bytes of metadata with each block`;
  // Source: section 5.15.2.1, LBADS: less than 9 is not supported.
  if (blockSize < SMALLEST_BLOCK) return `its format has blocks of ${blockSize} bytes`;
  return undefined;
}

/** A read or write of any length, in commands of the queue's largest transfer. */
class Transfer implements Job {
  private issued = 0;

  constructor(
    private readonly kind: 'read' | 'write',
    private readonly disk: Namespace,
    private readonly lba: number,
    private readonly buffer: DmaBuffer,
    private readonly offset: number,
    private readonly blocks: number,
  ) {}

  get more(): boolean {
    return this.issued < this.blocks;
  }

  issue(queue: QueuePair, slot: number): void {
    const { disk, buffer, lba, offset, issued } = this;
    const count = Math.min(this.blocks - issued, Math.floor(queue.maxTransfer / disk.blockSize));
    queue[this.kind](slot, disk, lba + issued, buffer, count, offset + issued * disk.blockSize);
    this.issued += count;
  }

  error(status: number): Error {
    const { kind, disk, lba, blocks } = this;
    const what = `${kind === 'read' ? 'Reading' : 'Writing'} ${blocks} blocks at block ${lba} of namespace ${disk.id}`;
    return statusError(what, status, { namespace: disk.id, lba, blocks, operation: kind });
  }
}

class Flush implements Job {
  more = true;
  constructor(private readonly disk: Namespace) {}

  issue(queue: QueuePair, slot: number): void {
    queue.flush(slot, this.disk);
    this.more = false;
  }

  error(status: number): Error {
    return statusError(`Flushing namespace ${this.disk.id}`, status, { namespace: this.disk.id, operation: 'flush' });
  }
}
