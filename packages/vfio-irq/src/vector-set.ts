/** The array behind {@link InterruptSet}. */

import { VfioError } from 'vfio-core';
import type { Interrupt } from './interrupt.js';
import type { InterruptSet } from './interrupt-set.js';
import type { InterruptKind } from './modes.js';

export class VectorSet implements InterruptSet {
  declare readonly 0: Interrupt;
  readonly [vector: number]: Interrupt;
  readonly kind: InterruptKind;
  private readonly vectors: readonly Interrupt[];
  private readonly off: () => void;
  private ended = false;

  private constructor(kind: InterruptKind, vectors: readonly Interrupt[], off: () => void) {
    this.kind = kind;
    this.vectors = vectors;
    this.off = off;
    vectors.forEach((vector, index) => {
      Object.defineProperty(this, index, { value: vector, enumerable: true });
    });
  }

  static of(kind: InterruptKind, vectors: readonly Interrupt[], off: () => void): VectorSet {
    return new VectorSet(kind, vectors, off);
  }

  get length(): number {
    return this.vectors.length;
  }

  get closed(): boolean {
    return this.ended;
  }

  vector(vector: number): Interrupt {
    const found = this.vectors[vector];
    if (found !== undefined) return found;
    throw new VfioError('ERR_VFIO_ARGUMENT', `There is no vector ${vector}: vectors go from 0 to ${this.length - 1}.`);
  }

  [Symbol.iterator](): Iterator<Interrupt> {
    return this.vectors[Symbol.iterator]();
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.off();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
