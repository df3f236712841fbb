/** Which kernel is simulated. Where kernels differ, the code asks `since('5.8')` beside the number of the behaviour. */

/** `seed` is the kernel that brought no-IOMMU mode (4.5). */
export type KernelVersion = 'seed' | `${number}.${number}`;

/** A kernel's version, comparable. */
export class Kernel {
  readonly release: string;
  private readonly rank: number;

  constructor(version: KernelVersion) {
    this.release = version === 'seed' ? '4.5' : version;
    this.rank = rankOf(this.release);
  }

  /** Whether a change that came with `version` is in this kernel. */
  since(version: `${number}.${number}`): boolean {
    return this.rank >= rankOf(version);
  }
}

function rankOf(release: string): number {
  const [major = 0, minor = 0] = release.split('.').map(Number);
  return major * 1000 + minor;
}
