/**
 * Registers of a device, as an object. The one way in which anything here touches a register.
 *
 * On mapped memory each call is one typed-array access of the exact width, which the JavaScript engine inlines; over
 * positioned reads and writes, and over a model, it is the same face on another class. Offsets are bytes from the window's start and must
 * be aligned to the width. An access outside the window throws `ERR_VFIO_WINDOW_RANGE`; an access after close reads
 * all-ones and stores nowhere, so that a hot loop cannot crash: such loops also test {@link closed} when they time out.
 */
export interface RegisterWindow {
  /** Length in bytes. */
  readonly length: number;
  readonly closed: boolean;
  read8(offset: number): number;
  read16(offset: number): number;
  /** Unsigned, 0 to 2^32 - 1. */
  read32(offset: number): number;
  /** One 64-bit access, for set-up only: it makes a bigint. */
  read64(offset: number): bigint;
  write8(offset: number, value: number): void;
  write16(offset: number, value: number): void;
  write32(offset: number, value: number): void;
  write64(offset: number, value: bigint): void;
  /** A part of this window, on the same memory. Closing a part closes the part alone; closing the whole closes all parts. */
  window(offset: number, length: number): RegisterWindow;
  /** Idempotent. */
  close(): void;
  /** Set by whoever made the window (to unmap what is below it); called once, when the window closes. */
  onClose?: (() => void) | undefined;
}
