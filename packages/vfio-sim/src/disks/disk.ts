/** What a simulated controller stores its blocks on. */

/**
 * A store of blocks of one size. Every call is synchronous and moves whole blocks: lengths are multiples of {@link blockSize}, and the
 * controller has checked the range. A call that throws becomes a media error of the command that asked for it.
 */
export interface Disk {
  /** Bytes in a block: 512 or 4096. */
  readonly blockSize: number;
  /** How many blocks there are. */
  readonly blocks: number;
  /** Writes are refused with Namespace is Write Protected. */
  readonly readOnly?: boolean;
  /** Fills `into` from block number `block` on. A block that was never written reads as zeroes. */
  read(block: number, into: Uint8Array): void;
  /** Stores `from` from block number `block` on. */
  write(block: number, from: Uint8Array): void;
  /** Makes blocks read as zeroes again, and gives their room back where that is possible. */
  clear(block: number, count: number): void;
  /** What was written is safe after this. */
  flush(): void;
  /** Idempotent. */
  close(): void;
}

/** Block sizes that the controller offers. */
export type BlockSize = 512 | 4096;
