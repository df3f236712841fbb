/** Steps that run at the process's end, in the order of their phases. */

import type { ExitStep, SystemCalls } from 'vfio-core';

interface Entry {
  readonly phase: number;
  readonly handle: number;
  readonly step: ExitStep;
}

export class ExitList {
  private entries: Entry[] = [];
  private last = 0;

  constructor(
    private readonly system: SystemCalls,
    /** munmap by address. */
    private readonly unmap: (address: bigint) => void,
  ) {}

  add(phase: number, step: ExitStep): number {
    const handle = ++this.last;
    this.entries.push({ phase, handle, step });
    return handle;
  }

  cancel(handle: number): void {
    this.entries = this.entries.filter((entry) => entry.handle !== handle);
  }

  clear(): void {
    this.entries = [];
  }

  play(): void {
    const ordered = this.entries.sort((a, b) => a.phase - b.phase || b.handle - a.handle);
    this.entries = [];
    for (const { step } of ordered) this.run(step);
  }

  private run(step: ExitStep): void {
    if (step.call === 'pwrite') this.system.pwrite(step.fd, step.bytes, step.offset);
    else if (step.call === 'ioctl') this.system.ioctl(step.fd, step.request, step.bytes);
    else if (step.call === 'munmap') this.unmap(step.address);
    else if (step.call === 'unlink') this.system.unlink(step.path);
    else this.system.close(step.fd);
  }
}
