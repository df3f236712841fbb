/** What a process hands to ioctl, as the kernel sees it: a number that may be an address, and memory behind it. */

import type { IoctlPlaces } from 'vfio-core';

/** Where in the process's memory an ioctl's bytes and what they point to are found. */
export interface UserMemory {
  /** Gives `bytes` an address for the length of a call. */
  lend(bytes: Uint8Array): { readonly address: bigint; readonly end: () => void };
}

/** An ioctl's argument. Reading past the bytes that the process has is what EFAULT is for. */
export class UserArgument {
  private constructor(
    /** The argument by value; 0 where it is a structure. */
    readonly value: number,
    /** The structure's bytes, if the argument is one. */
    readonly bytes: Uint8Array | undefined,
    private readonly loans: readonly (() => void)[],
  ) {}

  static from(
    argument: number | Uint8Array | undefined,
    places: IoctlPlaces | undefined,
    memory: UserMemory,
  ): UserArgument {
    if (argument === undefined || typeof argument === 'number') return new UserArgument(argument ?? 0, undefined, []);
    const view = viewOf(argument);
    const loans: (() => void)[] = [];
    for (const { at, fd } of places?.fds ?? []) view.setInt32(at, fd, true);
    for (const { at, bytes } of places?.pointers ?? []) {
      const loan = memory.lend(bytes);
      loans.push(loan.end);
      view.setBigUint64(at, loan.address, true);
    }
    return new UserArgument(0, argument, loans);
  }

  /** A view of the first `length` bytes, for reading and writing; undefined (EFAULT) if the process has no such bytes. */
  view(length: number): DataView | undefined {
    if (this.bytes === undefined || this.bytes.length < length) return undefined;
    return viewOf(this.bytes);
  }

  /** The call is over: lent addresses end. */
  end(): void {
    for (const loan of this.loans) loan();
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Appends a chain of capabilities to an info structure, by the protocol of [DEV-14] and [T1-13]. */
export function addCapabilities(
  argument: UserArgument,
  structure: { readonly size: number; readonly offsetField: number; readonly flag: number },
  capabilities: readonly { readonly id: number; readonly version: number; readonly body: Uint8Array }[],
  alignment: number,
): void {
  if (capabilities.length === 0) return;
  const bytes = argument.bytes as Uint8Array;
  const view = viewOf(bytes);
  view.setUint32(4, view.getUint32(4, true) | structure.flag, true);
  const sizes = capabilities.map(({ body }) => Math.ceil((8 + body.length) / alignment) * alignment);
  const needed = structure.size + sizes.reduce((sum, size) => sum + size, 0);
  const given = Math.min(view.getUint32(0, true), bytes.length);
  if (given < needed) {
    view.setUint32(0, needed, true);
    if (given >= structure.offsetField + 4) view.setUint32(structure.offsetField, 0, true);
    return;
  }
  view.setUint32(structure.offsetField, structure.size, true);
  let at = structure.size;
  capabilities.forEach(({ id, version, body }, index) => {
    const next = at + (sizes[index] as number);
    view.setUint16(at, id, true);
    view.setUint16(at + 2, version, true);
    view.setUint32(at + 4, index + 1 < capabilities.length ? next : 0, true);
    bytes.set(body, at + 8);
    at = next;
  });
}
