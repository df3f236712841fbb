/** A latency histogram that costs nothing to feed: 64 steps an octave below 2^32 ns, kept in one Uint32Array. */
const stepsPerOctave = 64;

export class LatencyHistogram {
  private readonly counts = new Uint32Array(32 * stepsPerOctave);
  private total = 0;

  /** @param nanoseconds 1 to 2^32 - 1 */
  add(nanoseconds: number): void {
    const value = Math.max(1, Math.min(nanoseconds, 0xffffffff));
    this.counts[Math.floor(Math.log2(value) * stepsPerOctave)]!++;
    this.total++;
  }

  get count(): number {
    return this.total;
  }

  /** The latency in ns below or at which `percent` of the operations ended; 0 where there were none. */
  percentile(percent: number): number {
    const target = Math.ceil((this.total * percent) / 100);
    let seen = 0;
    for (let i = 0; i < this.counts.length; i++) {
      seen += this.counts[i]!;
      if (seen >= target && seen > 0) return Math.round(2 ** ((i + 0.5) / stepsPerOctave));
    }
    return 0;
  }
}
