/**
 * What reached the IOMMU, from the kernel's own trace events of it (iommu:map, iommu:unmap), beside what was asked for at the
 * seam: two witnesses that know nothing of each other. A boot with an IOMMU only.
 */

import { closeSync, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import type { SystemCalls } from 'vfio-core';
import { check, command } from './guest.js';

/** A range of device addresses that was mapped or unmapped. */
export interface IommuRange {
  readonly op: 'map' | 'unmap';
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/** One event of the kernel: one physically contiguous piece. */
export interface IommuEvent extends IommuRange {
  /** Where the first byte lies in the machine's memory; of a `map` only. */
  readonly physical?: bigint;
}

const folder = '/sys/kernel/tracing';
const set = (file: string, text: string) => writeFileSync(`${folder}/${file}`, text);

/** Line of the trace: the thread, its process, which event, and what the kernel prints. Source: trace/events/iommu.h. */
const event =
  /-(?<thread>\d+) +\( *(?<process>\d+|-+)\) .*: (?<op>map|unmap): IOMMU: iova=(?<iova>0x[0-9a-f]+) - 0x[0-9a-f]+ (?:paddr=(?<physical>0x[0-9a-f]+) )?size=(?<size>\d+)(?: unmapped_size=(?<unmapped>\d+))?$/;

/** Whether a thread is of this process. The kernel knows its process only once it has been switched to in the traced time. */
const ours = ({ thread, process: owner }: { readonly thread: string; readonly process: string }): boolean =>
  owner.startsWith('-') ? existsSync(`/proc/self/task/${thread}`) : Number(owner) === process.pid;

/** The trace of one stretch of time. Only this process counts, with all its threads, unless `everybody` is said. */
export class IommuTrace {
  private constructor(private readonly everybody: boolean) {}

  /**
   * From now on. What opening does is no request of a program (the kernel tries out large pages at the lowest addresses), so start
   * after it where all is compared.
   */
  static start({ everybody = false } = {}): IommuTrace {
    if (!existsSync(`${folder}/events`)) command('mount', '-t', 'tracefs', 'tracefs', folder);
    for (const name of ['map', 'unmap']) set(`events/iommu/${name}/enable`, '0');
    set('buffer_size_kb', '8192');
    set('options/record-tgid', '1');
    set('trace', '');
    for (const name of ['map', 'unmap']) set(`events/iommu/${name}/enable`, '1');
    set('tracing_on', '1');
    return new IommuTrace(everybody);
  }

  /** What came so far, in order. Throws where the kernel dropped some. */
  events(): IommuEvent[] {
    const lines = readFileSync(`${folder}/trace`, 'utf8').split('\n');
    const [, held, written] = /entries-in-buffer\/entries-written: (\d+)\/(\d+)/.exec(lines.join('\n')) ?? [];
    check(held !== undefined && held === written, `the trace holds ${held} of ${written} events`);
    return lines.flatMap((line): IommuEvent[] => {
      if (line === '' || line.startsWith('#')) return [];
      const found = event.exec(line)?.groups;
      check(found !== undefined, `a line of the trace that is not understood: ${line}`);
      if (!this.everybody && !ours(found as Record<'thread' | 'process', string>)) return [];
      const { op, iova, physical, size, unmapped = size } = found as Record<string, string>;
      const range = { iova: BigInt(iova as string), size: BigInt(unmapped as string) };
      return [op === 'map' ? { op, ...range, physical: BigInt(physical as string) } : { op: 'unmap', ...range }];
    });
  }

  /** Ends the trace: all that came. */
  stop(): IommuEvent[] {
    for (const name of ['map', 'unmap']) set(`events/iommu/${name}/enable`, '0');
    return this.events();
  }
}

/** Pieces that follow each other, in time and in place, as one: what the kernel cuts by physical pages, a program asked for whole. */
export function joined(ranges: readonly IommuRange[]): IommuRange[] {
  const all: { op: IommuRange['op']; iova: bigint; size: bigint }[] = [];
  for (const { op, iova, size } of ranges) {
    if (size === 0n) continue;
    const last = all.at(-1);
    if (last !== undefined && last.op === op && last.iova + last.size === iova) last.size += size;
    else all.push({ op, iova, size });
  }
  return all;
}

/** Where each page of device addresses leads after all these events: device address to physical one, by pages of 4 KiB. */
export function pagesAfter(events: readonly IommuEvent[]): Map<bigint, bigint> {
  const pages = new Map<bigint, bigint>();
  for (const { op, iova, size, physical } of events) {
    for (let at = 0n; at < size; at += 4096n) {
      if (op === 'map') pages.set(iova + at, (physical as bigint) + at);
      else pages.delete(iova + at);
    }
  }
  return pages;
}

/** Physical address of a page of this process; 0 where none is there. Source: the kernel's Documentation/admin-guide/mm/pagemap.rst. */
export function physicalOf(address: bigint): bigint {
  const file = openSync('/proc/self/pagemap', 'r');
  try {
    const bytes = new BigUint64Array(1);
    check(readSync(file, bytes, 0, 8, (address / 4096n) * 8n) === 8, 'no entry of pagemap');
    const entry = bytes[0] as bigint;
    return entry >> 63n === 1n ? (entry & ((1n << 55n) - 1n)) * 4096n : 0n;
  } finally {
    closeSync(file);
  }
}

/** A mapping or unmapping that the kernel granted, as the bytes of the call had it. */
export interface Granted extends IommuRange {
  /** The program's address; of a `map` only. */
  readonly address?: bigint;
}

/** A backend that notes what of mapping and unmapping is asked for and granted, at the seam, by literal numbers of the interface. */
export function noting(system: SystemCalls): { readonly system: SystemCalls; readonly granted: Granted[] } {
  const granted: Granted[] = [];
  const note = (request: number, argument: number | Uint8Array | undefined, result: number): number => {
    if (result < 0 || !(argument instanceof Uint8Array)) return result;
    const view = new DataView(argument.buffer, argument.byteOffset, argument.byteLength);
    const at = (offset: number) => view.getBigUint64(offset, true);
    // VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP.
    if (request === 0x3b71) granted.push({ op: 'map', address: at(8), iova: at(16), size: at(24) });
    if (request === 0x3b72) granted.push({ op: 'unmap', iova: at(8), size: at(16) });
    if (request === 0x3b85) granted.push({ op: 'map', address: at(16), size: at(24), iova: at(32) });
    if (request === 0x3b86) granted.push({ op: 'unmap', iova: at(8), size: at(16) });
    return result;
  };
  const noted = new Proxy(system, {
    get(target, name) {
      if (name === 'ioctl')
        return (...call: Parameters<SystemCalls['ioctl']>) => note(call[1], call[2], target.ioctl(...call));
      if (name === 'ioctlAsync')
        return async (...call: Parameters<SystemCalls['ioctl']>) =>
          note(call[1], call[2], await target.ioctlAsync(...call));
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { system: noted, granted };
}
