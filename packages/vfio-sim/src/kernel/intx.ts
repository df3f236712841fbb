/** The interrupt pin: section 5.6 of the behaviours. */

import type { Device } from './device.js';
import { EBUSY, EINVAL, ENOTTY } from './errno.js';
import type { EventFd } from './eventfd.js';
import { eventFdOf, type Interrupts, Irq, type IrqCall } from './irqs.js';
import { Command } from './pci/hardware-config.js';

export class Intx {
  /** The user's DisINTx bit: no INTx event at all while it is set. */
  userDisabled = false;
  private eventfd: EventFd | undefined;
  private masked = false;
  private stopListening: (() => void) | undefined;

  constructor(
    private readonly device: Device,
    private readonly owner: Interrupts,
  ) {}

  /** The pin is asserted and gets through: mask, then tell ([IRQ-43]). */
  arrived(): void {
    if (this.masked) return;
    this.setMask(true);
    this.tell();
  }

  mask({ start, count, kind, values }: IrqCall): number {
    if (!this.owner.intx || start !== 0 || count !== 1) return -EINVAL;
    if (kind === 'eventfd') return -ENOTTY;
    if (kind === 'none' || values[0] !== 0) this.maskNow();
    return 0;
  }

  unmask({ start, count, kind, values }: IrqCall): number {
    if (!this.owner.intx || start !== 0 || count !== 1) return -EINVAL;
    if (kind === 'eventfd') return this.listen(values[0] as number);
    if (kind === 'none' || values[0] !== 0) this.unmaskNow();
    return 0;
  }

  trigger({ start, count, kind, values }: IrqCall): number {
    const { owner } = this;
    if (owner.intx && count === 0 && kind === 'none') {
      this.disable();
      owner.mode = undefined;
      return 0;
    }
    if ((!owner.intx && owner.mode !== undefined) || start !== 0 || count !== 1) return -EINVAL;
    if (kind === 'eventfd') return this.enable(values[0] as number);
    if (!owner.intx) return -EINVAL;
    if (kind === 'none' || values[0] !== 0) this.tell();
    return 0;
  }

  disabledByUser(disabled: boolean): void {
    if (disabled === this.userDisabled) return;
    this.userDisabled = disabled;
    if (this.owner.intx) {
      if (disabled) this.maskNow();
      else this.unmaskNow();
    } else if (this.owner.mode === undefined) {
      this.setHardwareMask(disabled);
    }
  }

  disable(): void {
    this.stopListening?.();
    this.stopListening = undefined;
    this.eventfd = undefined;
    this.masked = false;
  }

  private enable(fd: number): number {
    const file = eventFdOf(this.device, fd);
    // A bad descriptor leaves the old one where it is ([IRQ-54]).
    if (typeof file === 'number') return file;
    this.eventfd = file;
    if (this.owner.intx) return 0;
    this.owner.mode = Irq.INTX;
    this.setMask(this.userDisabled);
    return 0;
  }

  private listen(fd: number): number {
    const file = eventFdOf(this.device, fd);
    if (typeof file === 'number') return file;
    if (file === undefined) {
      this.stopListening?.();
      this.stopListening = undefined;
      return 0;
    }
    if (this.stopListening !== undefined) return -EBUSY;
    const signalled = () => {
      if (this.device.machine.kernel.since('5.11')) file.take();
      this.unmaskNow();
    };
    const stop = file.listen({
      signalled,
      hungUp: () => {
        stop();
        this.stopListening = undefined;
      },
    });
    this.stopListening = stop;
    if (file.count > 0) signalled();
    return 0;
  }

  private maskNow(): void {
    if (!this.masked) this.setMask(true);
  }

  /** While the device still asserts, the line stays masked and the user is told at once ([IRQ-46]). */
  private unmaskNow(): void {
    if (!this.owner.intx || !this.masked || this.userDisabled) return;
    if (this.device.function.pinPending) this.tell();
    else this.setMask(false);
  }

  private tell(): void {
    if (!this.userDisabled) this.eventfd?.signal();
  }

  private setMask(masked: boolean): void {
    this.masked = masked;
    this.setHardwareMask(masked);
  }

  /** Masking is done in the device's own command register, where the user does not see it ([IRQ-45]), unless `nointxmask` forbids. */
  private setHardwareMask(masked: boolean): void {
    const { function: fn, masksInDevice } = this.device;
    if (!masksInDevice) return;
    const { command } = fn.config;
    fn.writeConfig(4, 2, masked ? command | Command.disableIntx : command & ~Command.disableIntx);
  }
}
