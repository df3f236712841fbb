/** Which bits of a block of configuration space are virtual, and which the user may write. */

export class Permissions {
  /** Bits that come from the shadow copy; the others come from the hardware. */
  readonly virtual: Uint8Array;
  /** Bits that the user's writes reach. */
  readonly writable: Uint8Array;

  constructor(readonly length: number) {
    this.virtual = new Uint8Array(length);
    this.writable = new Uint8Array(length);
  }

  /** All bits raw: what belongs to no known capability ([CFG-8]). */
  static raw(length: number): Permissions {
    const permissions = new Permissions(length);
    permissions.writable.fill(0xff);
    return permissions;
  }

  byte(offset: number, virtual: number, writable: number): this {
    this.virtual[offset] = virtual;
    this.writable[offset] = writable;
    return this;
  }

  word(offset: number, virtual: number, writable: number): this {
    return this.byte(offset, virtual & 0xff, writable & 0xff).byte(offset + 1, virtual >>> 8, writable >>> 8);
  }

  dword(offset: number, virtual: number, writable: number): this {
    this.word(offset, virtual & 0xffff, writable & 0xffff);
    return this.word(offset + 2, virtual >>> 16, writable >>> 16);
  }

  /** No bit can be written: such writes do not even look at the user's bytes ([CFG-64]). */
  get readOnly(): boolean {
    return this.writable.every((mask) => mask === 0);
  }
}

/** All bits. */
export const ALL8 = 0xff;
export const ALL16 = 0xffff;
export const ALL32 = 0xffff_ffff;
