/** What is counted for each scenario, and what must be as before when it is over. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { check, field, kernelLog, note, openFiles, same } from '../guest.js';

const number = (path: string, pattern: RegExp): number => Number(pattern.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);

/** Pages that the whole machine has pinned for devices, by any process. */
function pinnedPages(): number {
  // The counters of each processor are added up only now and then.
  writeFileSync('/proc/sys/vm/stat_refresh', '1');
  return (
    number('/proc/vmstat', /^nr_foll_pin_acquired (\d+)/m) - number('/proc/vmstat', /^nr_foll_pin_released (\d+)/m)
  );
}

/** Descriptors of VFIO that other processes have. */
function vfioFilesElsewhere(): number {
  let count = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (/vfio|iommu/.test(readlinkSync(`/proc/${pid}/fd/${fd}`))) count++;
      }
    } catch {
      // It ended meanwhile.
    }
  }
  return count;
}

export interface Held {
  readonly descriptors: number;
  /** Bytes. */
  readonly locked: number;
  /** Mappings of devices, eventfds and memory files. */
  readonly maps: number;
}

export const held = (): Held => ({
  descriptors: openFiles() + vfioFilesElsewhere(),
  locked: number('/proc/self/status', /^VmLck:\s+(\d+)/m) * 1024 + pinnedPages() * 4096,
  maps: readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /anon_inode|\/dev\/vfio|memfd:/.test(line)).length,
});

const iommuFaults = (): number => kernelLog().filter(({ text }) => /DMAR: \[(DMA|INTR)/.test(text)).length;

/** One round, as it went. */
export interface Round {
  /** The target changed at that moment: between the instant before the fault and the device's stop. */
  readonly inFlight: boolean;
  /** So it did also after the call that made the fault had returned. */
  readonly changedMeanwhile: boolean;
  /** It changed once the device had been stopped. */
  readonly changedAfter: boolean;
}

/** Counts the rounds of a scenario and reports it as a field of the suite. */
export class Account {
  private times = 0;
  private inFlight = 0;
  private changedMeanwhile = 0;
  private changedAfterStop = 0;
  private iommuFaults = 0;
  /** Processes and Workers that ended otherwise than they had to. */
  crashes = 0;
  private readonly most = { descriptors: 0, locked: 0, maps: 0 };

  constructor(private readonly name: string) {}

  /** Runs `round` so often; nothing of it may be left after any of them. */
  async run(times: number, round: (number: number) => Promise<Round | readonly Round[]>): Promise<void> {
    const before = held();
    const faultsBefore = iommuFaults();
    try {
      for (let i = 1; this.times < times; i++) {
        for (const { inFlight, changedMeanwhile, changedAfter } of [await round(i)].flat()) {
          this.times++;
          if (inFlight) this.inFlight++;
          if (changedMeanwhile) this.changedMeanwhile++;
          if (changedAfter) this.changedAfterStop++;
        }
        const after = held();
        for (const key of Object.keys(this.most) as (keyof Held)[]) {
          this.most[key] = Math.max(this.most[key], after[key] - before[key]);
        }
        if (i % 5 === 0) note(`${this.name}: ${this.times} of ${times}`);
      }
      this.iommuFaults = iommuFaults() - faultsBefore;
    } finally {
      field(this.name, this.result());
    }
    const { changedMeanwhile } = this;
    same(
      this.result(),
      {
        times,
        inFlight: times,
        changedMeanwhile,
        crashes: 0,
        changedAfterStop: 0,
        iommuFaults: 0,
        descriptorsLeft: 0,
        lockedLeft: 0,
        mapsLeft: 0,
      },
      this.name,
    );
  }

  private result(): Record<string, number> {
    const { times, inFlight, changedMeanwhile, crashes, changedAfterStop, iommuFaults: faults, most } = this;
    return {
      times,
      inFlight,
      changedMeanwhile,
      crashes,
      changedAfterStop,
      iommuFaults: faults,
      descriptorsLeft: most.descriptors,
      lockedLeft: most.locked,
      mapsLeft: most.maps,
    };
  }
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Waits until `true`, looking now and then. */
export async function until(what: string, condition: () => boolean, seconds = 20): Promise<void> {
  for (const end = performance.now() + seconds * 1000; !condition(); ) {
    check(performance.now() < end, `${what}: not within ${seconds} s`);
    await pause(10);
  }
}
