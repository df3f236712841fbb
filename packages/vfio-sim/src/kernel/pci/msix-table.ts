/** The MSI-X table and its pending bits, which the machine keeps for every model. Source: PCI Local Bus 3.0, section 6.8.2. */

export class MsixTable {
  /** 16 bytes a vector: address, upper address, data, control (bit 0 masks). */
  readonly entries: Uint8Array;
  private readonly view: DataView;
  private readonly pending: Uint8Array;

  constructor(readonly vectors: number) {
    this.entries = new Uint8Array(vectors * 16);
    this.view = new DataView(this.entries.buffer);
    this.pending = new Uint8Array(Math.ceil(vectors / 64) * 8);
    this.reset();
  }

  reset(): void {
    this.entries.fill(0);
    this.pending.fill(0);
    for (let vector = 0; vector < this.vectors; vector++) this.entries[vector * 16 + 12] = 1;
  }

  masked(vector: number): boolean {
    return ((this.entries[vector * 16 + 12] as number) & 1) !== 0;
  }

  /** Writes an entry as the kernel does; `data` undefined masks it. */
  program(vector: number, data: number | undefined): void {
    const at = vector * 16;
    this.view.setUint32(at, 0xfee0_0000, true);
    this.view.setUint32(at + 4, 0, true);
    this.view.setUint32(at + 8, data ?? 0, true);
    this.view.setUint32(at + 12, data === undefined ? 1 : 0, true);
  }

  setPending(vector: number): void {
    const byte = vector >> 3;
    this.pending[byte] = (this.pending[byte] as number) | (1 << (vector & 7));
  }

  /** Takes a pending bit. */
  takePending(vector: number): boolean {
    const byte = vector >> 3;
    const bit = 1 << (vector & 7);
    const was = ((this.pending[byte] as number) & bit) !== 0;
    this.pending[byte] = (this.pending[byte] as number) & ~bit;
    return was;
  }

  readPending(offset: number): number {
    return this.pending[offset] ?? 0;
  }

  get pendingBytes(): number {
    return this.pending.length;
  }
}
