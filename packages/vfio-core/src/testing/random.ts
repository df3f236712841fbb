/** Random numbers that a seed repeats: for properties that run millions of steps, where each step must cost little. */

/** xorshift128, seeded by splitmix32. */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  constructor(readonly seed: number) {
    let state = seed | 0;
    const mixed = () => {
      state = (state + 0x9e3779b9) | 0;
      let value = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
      return value ^ (value >>> 15);
    };
    [this.a, this.b, this.c, this.d] = [mixed(), mixed(), mixed(), mixed() | 1];
  }

  /** 32 bits, unsigned. */
  word(): number {
    const mixed = this.d ^ (this.d << 11);
    this.d = this.c;
    this.c = this.b;
    this.b = this.a;
    this.a = this.a ^ (this.a >>> 19) ^ mixed ^ (mixed >>> 8);
    return this.a >>> 0;
  }

  /** 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor((this.word() / 2 ** 32) * count);
  }

  /** True once in `count` times. */
  once(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}
