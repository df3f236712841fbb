/** SET_IRQS: sections 5.4 and 5.5 of the behaviours. */

import type { UserArgument } from './argument.js';
import type { Device } from './device.js';
import { EBADF, EFAULT, EINVAL, ENOSPC, ENOTTY, ERANGE } from './errno.js';
import { EventFd } from './eventfd.js';
import { Intx } from './intx.js';
import type { InterruptSink } from './pci/function.js';
import { Command } from './pci/hardware-config.js';

/** Interrupt indexes. Source: linux/vfio.h. */
export const Irq = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;

const Flag = { NONE: 1, BOOL: 2, EVENTFD: 4, MASK: 8, UNMASK: 16, TRIGGER: 32 } as const;
const DATA = Flag.NONE | Flag.BOOL | Flag.EVENTFD;
const ACTION = Flag.MASK | Flag.UNMASK | Flag.TRIGGER;

/** Vectors of an index ([IRQ-1] to [IRQ-5]). */
export function irqCount(device: Device, index: number): number {
  const { description, isExpress } = device.function;
  if (index === Irq.INTX) return description.pin === 0 || !device.machine.build.VFIO_PCI_INTX ? 0 : 1;
  if (index === Irq.MSI) return description.msi?.vectors ?? 0;
  if (index === Irq.MSIX) return description.msix?.vectors ?? 0;
  return index === Irq.ERR ? Number(isExpress) : 1;
}

/** A SET_IRQS call whose header was found good. */
export interface IrqCall {
  readonly index: number;
  readonly start: number;
  readonly count: number;
  readonly kind: 'none' | 'bool' | 'eventfd';
  /** One byte a vector, or one descriptor a vector. */
  readonly values: readonly number[];
}

/** The eventfd behind a descriptor, none for -1, or a negative errno ([IRQ-29]). */
export function eventFdOf(device: Device, fd: number): EventFd | undefined | number {
  if (fd < 0) return undefined;
  const file = device.machine.fds.get(fd);
  if (file === undefined) return -EBADF;
  return file instanceof EventFd ? file : -EINVAL;
}

export class Interrupts implements InterruptSink {
  /** Which index is on; INTX, MSI and MSIX exclude each other. */
  mode: number | undefined;
  private vectors: (EventFd | undefined)[] = [];
  private readonly line: Intx;

  constructor(private readonly device: Device) {
    this.line = new Intx(device, this);
  }

  get intx(): boolean {
    return this.mode === Irq.INTX;
  }

  /** Log2 of the MSI vectors that are on; 0 without ([CFG-39]). */
  get msiQueueSize(): number {
    return this.mode === Irq.MSI ? Math.ceil(Math.log2(this.vectors.length)) : 0;
  }

  set(argument: UserArgument): number {
    const view = argument.view(20);
    if (view === undefined) return -EFAULT;
    const [size, flags, index, start, count] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at, true)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    if (size < 20 || index > Irq.REQ || (flags & ~(DATA | ACTION)) !== 0) return -EINVAL;
    const modern = this.device.machine.kernel.since('4.9');
    const kind = flags & Flag.NONE ? 'none' : flags & Flag.BOOL ? 'bool' : 'eventfd';
    if (modern ? ![1, 2, 4].includes(flags & DATA) : (flags & DATA) === 0) return -EINVAL;
    const available = irqCount(this.device, index);
    if ((modern || kind !== 'none') && (start >= available || start + count > available)) return -EINVAL;
    const element = { none: 0, bool: 1, eventfd: 4 }[kind];
    if (size - 20 < count * element) return -EINVAL;
    if (argument.view(20 + count * element) === undefined) return -EFAULT;
    const values = Array.from({ length: element === 0 ? 0 : count }, (_, n) =>
      element === 1 ? view.getUint8(20 + n) : view.getInt32(20 + 4 * n, true),
    );
    return this.act(flags & ACTION, { index, start, count, kind, values });
  }

  /** The pin's level matters again. */
  pin(): void {
    if (this.mode === Irq.INTX) this.line.arrived();
  }

  message(vector: number): void {
    if (this.mode === Irq.MSI || this.mode === Irq.MSIX) this.vectors[vector]?.signal();
  }

  /** The user's DisINTx bit changed ([IRQ-48], [IRQ-53]). */
  disabledByUser(disabled: boolean): void {
    this.line.disabledByUser(disabled);
  }

  /** Asks the user to let go of the device ([LIFE-9]). @returns whether somebody listens */
  askToRelease(): boolean {
    const { request } = this.device.slot.notices;
    request?.signal();
    return request !== undefined;
  }

  /** Writes the kernel's idea of MSI-X back into a table that a reset wiped ([IRQ-36]). */
  reprogram(): void {
    if (this.mode !== Irq.MSIX) return;
    this.vectors.forEach((file, vector) => {
      this.device.function.msix?.program(vector, file && vector);
    });
  }

  /** Last close: everything goes. */
  tearDown(): void {
    if (this.mode === Irq.INTX) this.line.disable();
    else if (this.mode !== undefined) this.disableMessages();
    this.mode = undefined;
    const { slot, machine } = this.device;
    // The seed kept these two ([LIFE-7]).
    if (machine.kernel.since('5.8')) slot.notices.error = slot.notices.request = undefined;
  }

  private act(action: number, call: IrqCall): number {
    if (![Flag.MASK, Flag.UNMASK, Flag.TRIGGER].includes(action as 8)) return -ENOTTY;
    if (call.index === Irq.INTX) {
      if (action === Flag.MASK) return this.line.mask(call);
      return action === Flag.UNMASK ? this.line.unmask(call) : this.line.trigger(call);
    }
    if (action !== Flag.TRIGGER) return -ENOTTY;
    if (call.index === Irq.MSI || call.index === Irq.MSIX) return this.triggerMessages(call);
    return this.triggerSingle(call);
  }

  private triggerMessages(call: IrqCall): number {
    const { index, start, count, kind, values } = call;
    const on = this.mode === index;
    if (on && count === 0 && kind === 'none') {
      this.disableMessages();
      return 0;
    }
    if (!on && this.mode !== undefined) return -EINVAL;
    if (kind === 'eventfd') {
      if (on) return this.bindBlock(start, values);
      const enabled = this.enableMessages(index, start + count);
      if (enabled !== 0) return enabled;
      const bound = this.bindBlock(start, values);
      if (bound < 0) this.disableMessages();
      return bound;
    }
    if (!on || start + count > this.vectors.length) return -EINVAL;
    for (let vector = start; vector < start + count; vector++) {
      if (kind === 'none' || values[vector - start] !== 0) this.vectors[vector]?.signal();
    }
    return 0;
  }

  /** @returns 0, a negative errno, or the number of vectors that could be had ([IRQ-26]) */
  private enableMessages(index: number, count: number): number {
    if (count === 0) return -ERANGE;
    const limit = this.device.machine.vectorLimit;
    if (limit < count) return limit > 0 ? limit : -ENOSPC;
    const { function: fn } = this.device;
    const { config } = fn;
    fn.writeConfig(4, 2, config.command | Command.disableIntx);
    this.vectors = Array.from({ length: count }, () => undefined);
    this.mode = index;
    if (index === Irq.MSI) {
      fn.writeConfig(config.msi + 2, 1, (Math.ceil(Math.log2(count)) << 4) | 1);
    } else {
      for (let vector = 0; vector < count; vector++) fn.msix?.program(vector, undefined);
      fn.writeConfig(config.msix + 3, 1, 0x80);
    }
    return 0;
  }

  private disableMessages(): void {
    const { function: fn } = this.device;
    const { config } = fn;
    if (this.mode === Irq.MSI) fn.writeConfig(config.msi + 2, 1, 0);
    else fn.writeConfig(config.msix + 3, 1, 0);
    this.mode = undefined;
    this.vectors = [];
    if (!this.line.userDisabled) fn.writeConfig(4, 2, config.command & ~Command.disableIntx);
  }

  private bindBlock(start: number, fds: readonly number[]): number {
    if (start >= this.vectors.length || start + fds.length > this.vectors.length) return -EINVAL;
    for (const [index, fd] of fds.entries()) {
      const vector = start + index;
      const file = eventFdOf(this.device, fd);
      if (typeof file === 'number') {
        for (let undo = start; undo <= vector; undo++) this.bind(undo, undefined);
        return file;
      }
      this.bind(vector, file);
    }
    return 0;
  }

  private bind(vector: number, file: EventFd | undefined): void {
    this.vectors[vector] = file;
    if (this.mode !== Irq.MSIX) return;
    this.device.function.msix?.program(vector, file && vector);
    this.device.function.msixUnmasked();
  }

  /** ERR and REQ ([IRQ-40] to [IRQ-42]). */
  private triggerSingle({ index, start, count, kind, values }: IrqCall): number {
    if (index === Irq.ERR && !this.device.function.isExpress) return -ENOTTY;
    if (start !== 0 || count > 1) return -EINVAL;
    const { notices } = this.device.slot;
    const which = index === Irq.ERR ? 'error' : 'request';
    const current = notices[which];
    const put = (file: EventFd | undefined) => {
      notices[which] = file;
    };
    if (kind === 'none') {
      if (current === undefined) return -EINVAL;
      if (count === 1) current.signal();
      else put(undefined);
      return 0;
    }
    const [value] = values;
    if (value === undefined) return -EINVAL;
    if (kind === 'bool') {
      if (value !== 0) current?.signal();
      return 0;
    }
    if (value < -1)
      return this.device.machine.kernel.since('4.8') && !this.device.machine.kernel.since('6.12') ? 0 : -EINVAL;
    const file = eventFdOf(this.device, value);
    if (typeof file === 'number') return file;
    put(file);
    return 0;
  }
}
