/**
 * What keeps the disks of the suite busy. They are slow on purpose, and the queue is long: so at any moment many reads are on their
 * way, one of them arrives each millisecond, and they go on arriving when the driver gets no turn for a while.
 */

/** Reads in flight at once. */
export const slots = 128;
/** Bytes that one of them fills. */
export const slotBytes = 8192;
export const targetBytes = slots * slotBytes;
/** Pieces of the disk that hold their own number; a prime, so that a slot meets another number each time. */
export const pieces = 127;
/** For QEMU's drive. Not for one that is unplugged: QEMU itself crashes or hangs when slow reads are left to its card. */
export const throttle = 'throttling.iops-read=1000';
