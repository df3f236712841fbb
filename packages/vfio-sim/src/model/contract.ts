/**
 * What a device in software is. This one small interface is all that a model sees and all that the simulated kernel knows of
 * it: no model knows of VFIO, containers, file descriptors or the process it runs in.
 */

/** Width of a register access in bytes. */
export type Width = 1 | 2 | 4 | 8;

/** What a device sees of the machine around it. */
export interface DeviceBus {
  /**
   * Raises an interrupt. For MSI and MSI-X `vector` says which; with INTx on, vector 0 asserts the pin until {@link lowerInterrupt}.
   * Which kind is in force is the kernel's business. Does nothing while no interrupt is enabled.
   */
  interrupt(vector: number): void;
  /** Lets go of the INTx pin. */
  lowerInterrupt(): void;
  /** Which interrupts the kernel has switched on in this device. */
  readonly interruptMode: 'none' | 'intx' | 'msi' | 'msix';
  /** Reads `into.length` bytes of memory at a device address. False (and a logged fault) where nothing is mapped, or bus mastering is off. */
  dmaRead(address: bigint, into: Uint8Array): boolean;
  /** Writes memory at a device address. False as above, or where the mapping is read-only. */
  dmaWrite(address: bigint, from: Uint8Array): boolean;
  /**
   * Lets work go on later: `work` runs once when the machine's time has reached `now + delay` (ms, 0 for as soon as possible), never
   * inside the register access that asked for it.
   */
  schedule(delay: number, work: () => void): void;
  /** The machine's clock in ms. */
  now(): number;
}

/** A base address register. */
export interface BarDescription {
  readonly kind: 'memory' | 'io';
  /** Bytes, a power of two, 16 or more (memory) or 4 or more (I/O). */
  readonly size: number;
  /** Takes two BAR slots. */
  readonly is64?: boolean;
  readonly prefetchable?: boolean;
}

/** Fixed description of a function: what the machine needs to put it on the bus. Made by `endpoint(...)`. */
export interface FunctionDescription {
  /** Configuration space as the hardware has it after reset: 256 or 4096 bytes. The machine keeps the live copy. */
  readonly config: Uint8Array;
  /** By index 0 to 5; a slot that a 64-bit BAR spills into stays undefined. */
  readonly bars: readonly (BarDescription | undefined)[];
  /** Where the MSI-X table and pending bits stand, if any; the machine emulates both. */
  readonly msix?: { readonly bar: number; readonly table: number; readonly pending: number; readonly vectors: number };
  readonly msi?: { readonly vectors: number };
  /** INTx pin, 1 to 4 (INTA to INTD), or 0. */
  readonly pin: number;
  /** Expansion ROM contents. */
  readonly rom?: Uint8Array;
}

/** A device in software. */
export interface DeviceModel {
  readonly config: FunctionDescription;
  /** Reads a register. Values are unsigned; 8 bytes come as a bigint from {@link read64} if the model has it, else as two halves, low first. */
  read(bar: number, offset: number, width: 1 | 2 | 4): number;
  write(bar: number, offset: number, width: 1 | 2 | 4, value: number): void;
  read64?(bar: number, offset: number): bigint;
  write64?(bar: number, offset: number, value: bigint): void;
  /** What a display controller has at the legacy VGA addresses: memory 0xA0000 to 0xBFFFF, ports 0x3B0 to 0x3BB and 0x3C0 to 0x3DF. */
  readonly vga?: {
    read(address: number, width: 1 | 2 | 4): number;
    write(address: number, width: 1 | 2 | 4, value: number): void;
  };
  /** Told when the kernel or driver wrote config space (offset, length), after the machine stored it. */
  configWritten?(offset: number, length: number, config: Uint8Array): void;
  /** Function reset: back to power-on values; scheduled work is dropped by the machine. */
  reset(): void;
  /** The function goes for good (simulation closed): files are closed here. */
  close?(): void;
}

/** Makes a model for a place on the bus. What `devices: { '0000:01:00.0': ... }` takes. */
export type DeviceFactory = (bus: DeviceBus) => DeviceModel;
