/** A device whose kernel is a few lines: for faults that no well-kept kernel has, and for what must be asked of one. */

import {
  type ClosePhase,
  type Device,
  type DeviceChannel,
  type EventWatch,
  type IrqInfo,
  type IrqRequest,
  type SystemCalls,
  VfioError,
} from 'vfio-core';

const EAGAIN = -11;

/** Eventfds and a clock of its own. Blocked polls run `whileBlocked`, since nothing else can. */
export class FakeSystem {
  readonly name = 'fake';
  readonly pageSize = 4096;
  readonly counters = new Map<number, number>();
  readonly watches = new Set<{ fd: number; ref: boolean }>();
  readonly exits = new Map<number, unknown>();
  /** What happens to the machine while a thread is blocked, for each further poll. */
  whileBlocked: (() => void)[] = [];
  /** The next answers of `eventfd`. */
  refuse: number[] = [];
  private clock = 0;
  private next = 3;

  get calls(): SystemCalls {
    return this as unknown as SystemCalls;
  }

  eventfd(initial: number): number {
    const refused = this.refuse.shift();
    if (refused !== undefined && refused < 0) return refused;
    this.counters.set(this.next, initial);
    return this.next++;
  }

  close(fd: number): number {
    return this.counters.delete(fd) ? 0 : -9;
  }

  eventfdRead(fd: number): number {
    const count = this.counters.get(fd);
    if (count === undefined) return -9;
    this.counters.set(fd, 0);
    return count === 0 ? EAGAIN : count;
  }

  eventfdWrite(fd: number, count: number): number {
    const before = this.counters.get(fd);
    if (before === undefined) return -9;
    this.counters.set(fd, before + count);
    this.pump();
    return 0;
  }

  watch(fd: number, onCount: (count: number) => void): EventWatch | number {
    if (!this.counters.has(fd)) return -9;
    const entry = { fd, ref: false, onCount };
    this.watches.add(entry);
    this.pump();
    return {
      ref: () => {
        entry.ref = true;
      },
      unref: () => {
        entry.ref = false;
      },
      close: () => {
        this.watches.delete(entry);
      },
    };
  }

  poll(fd: number, timeout: number): number {
    if ((this.counters.get(fd) ?? 0) > 0) return 1;
    if (timeout === 0) return 0;
    this.whileBlocked.shift()?.();
    if ((this.counters.get(fd) ?? 0) > 0) return 1;
    if (timeout < 0) throw new Error('This wait would never end.');
    this.clock += timeout;
    return 0;
  }

  now(): number {
    return this.clock;
  }

  onExit(phase: number, step: unknown): number {
    const handle = this.exits.size + 100 + phase;
    this.exits.set(handle, step);
    return handle;
  }

  cancelExit(handle: number): void {
    this.exits.delete(handle);
  }

  /** The event loop's turn: a macrotask later, every watch whose eventfd has something gets it. */
  private pump(): void {
    setImmediate(() => {
      for (const watch of [...this.watches] as { fd: number; onCount?: (count: number) => void }[]) {
        const count = this.counters.get(watch.fd) ?? 0;
        if (count === 0 || !this.watches.has(watch as never)) continue;
        this.counters.set(watch.fd, 0);
        watch.onCount?.(count);
      }
    });
  }
}

export interface FakeOptions {
  readonly system?: FakeSystem;
  /** Vectors by index. */
  readonly counts?: readonly [intx: number, msi: number, msix: number, err: number, req: number];
  /** Bit 2 of the command register. */
  readonly busMaster?: boolean;
  /** Answers setIrqs in the kernel's place: a number, or an error to throw; undefined goes on. */
  readonly answer?: (request: IrqRequest) => number | VfioError | undefined;
}

/** A device on a {@link FakeSystem}: keeps who is bound to what, and signals on demand. */
export class FakeDevice {
  readonly system: FakeSystem;
  readonly address = '0000:01:00.0';
  readonly requests: IrqRequest[] = [];
  readonly bound = new Map<string, number>();
  closed = false;
  private readonly steps: [ClosePhase, () => void][] = [];
  readonly channel: DeviceChannel;

  constructor(options: FakeOptions = {}) {
    this.system = options.system ?? new FakeSystem();
    const counts = options.counts ?? [1, 4, 8, 1, 1];
    const device = this;
    this.channel = {
      system: this.system.calls,
      fd: 99,
      get closed() {
        return device.closed;
      },
      irq(index: number): IrqInfo {
        const count = counts[index] ?? 0;
        if (index === 3 && count === 0) throw new VfioError('ERR_VFIO_ARGUMENT', 'No such index.', { errno: 22 });
        const intx = index === 0;
        return { index, count, eventfd: true, maskable: intx, automasked: intx, noResize: !intx };
      },
      read(_region: number, offset: number, into: Uint8Array): void {
        const config = new Uint8Array([0x34, 0x12, 1, 0, options.busMaster === false ? 0 : 4, 0]);
        into.set(config.subarray(offset, offset + into.length));
      },
      setIrqs(request: IrqRequest): number {
        device.requests.push(request);
        const answer = options.answer?.(request);
        if (typeof answer === 'number') return answer;
        if (answer !== undefined) throw answer;
        device.apply(request);
        return 0;
      },
    } as Partial<DeviceChannel> as DeviceChannel;
  }

  get device(): Device {
    return this as unknown as Device;
  }

  onClose(phase: ClosePhase, step: () => void): () => void {
    this.steps.push([phase, step]);
    return () => {};
  }

  close(): void {
    if (this.closed) return;
    for (const [, step] of this.steps) step();
    this.closed = true;
  }

  /** The device interrupts. */
  raise(index: number, vector = 0, times = 1): void {
    const fd = this.bound.get(`${index}.${vector}`);
    if (fd !== undefined) this.system.eventfdWrite(fd, times);
  }

  private apply({ index, start, action, data }: IrqRequest): void {
    if (action !== 'trigger') return;
    if (data.kind === 'bool') {
      data.values.forEach((value, at) => {
        if (value) this.raise(index, start + at);
      });
    } else if (data.kind === 'eventfd') {
      data.fds.forEach((fd, at) => {
        if (fd < 0) this.bound.delete(`${index}.${start + at}`);
        else this.bound.set(`${index}.${start + at}`, fd);
      });
    } else if (data.count === 0) {
      for (const key of [...this.bound.keys()]) if (key.startsWith(`${index}.`)) this.bound.delete(key);
    }
  }
}
