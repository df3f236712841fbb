/** Configuration space as the user of a device sees it: section 6.1 of the behaviours. Built at first open, lost at last close. */

import type { Device } from '../device.js';
import { EFAULT } from '../errno.js';
import { CapabilityId, extendedCapabilities, standardCapabilities } from '../pci/capabilities.js';
import { Command } from '../pci/hardware-config.js';
import { extendedRules } from './extended.js';
import { commandBefore, fixBars, headerPermissions } from './header.js';
import { ALL8, ALL32, Permissions } from './permissions.js';
import { standardRules } from './standard.js';

/** A capability, the header, or (undefined owner) a gap. */
interface Block {
  readonly start: number;
  readonly permissions: Permissions;
  readonly readOnly: boolean;
  /** Runs after a write was stored; `offset` is from the block's start. */
  readonly written?: (offset: number, width: number, value: number) => void;
}

export class VirtualConfig {
  private readonly shadow: Uint8Array;
  private readonly view: DataView;
  private readonly owners: (Block | undefined)[];
  private readonly gap = Permissions.raw(4);
  private barsDirty = true;

  constructor(private readonly device: Device) {
    const { config } = device.function;
    this.shadow = config.bytes.slice();
    this.view = new DataView(this.shadow.buffer);
    // Without INTx the user sees no pin ([CFG-16]).
    if (!device.machine.build.VFIO_PCI_INTX) this.shadow[0x3d] = 0;
    this.owners = Array.from({ length: this.shadow.length }, () => undefined);
    this.addHeader();
    this.addStandard();
    this.addExtended();
  }

  /** The user's COMMAND register. */
  get command(): number {
    return this.view.getUint16(4, true);
  }

  read(position: number, into: Uint8Array): number {
    if (position + into.length > this.shadow.length) return -EFAULT;
    for (let at = position; at < position + into.length; ) {
      const width = this.piece(at, position + into.length - at);
      const value = this.readPiece(at, width);
      for (let byte = 0; byte < width; byte++) into[at - position + byte] = (value >>> (8 * byte)) & 0xff;
      at += width;
    }
    return into.length;
  }

  write(position: number, from: Uint8Array): number {
    if (position + from.length > this.shadow.length) return -EFAULT;
    for (let at = position; at < position + from.length; ) {
      const width = this.piece(at, position + from.length - at);
      let value = 0;
      for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (from[at - position + byte] as number);
      this.writePiece(at, width, value);
      at += width;
    }
    return from.length;
  }

  /** Largest aligned width that stays in one block ([CFG-3]). */
  private piece(at: number, left: number): 1 | 2 | 4 {
    for (const width of [4, 2] as const) {
      if (left < width || at % width !== 0) continue;
      let same = true;
      for (let byte = 1; byte < width; byte++) same &&= this.owners[at + byte] === this.owners[at];
      if (same) return width;
    }
    return 1;
  }

  private readPiece(at: number, width: 1 | 2 | 4): number {
    const { virtual } = this.masks(at, width);
    if (at < 0x40 && this.barsDirty) {
      fixBars(this.device, this.view);
      this.barsDirty = false;
    }
    const hardware = this.device.function.readConfig(at, width);
    return ((hardware & ~virtual) | (this.shadowed(at, width) & virtual)) >>> 0;
  }

  private writePiece(at: number, width: 1 | 2 | 4, value: number): void {
    const block = this.owners[at];
    if (block?.readOnly) return;
    const { virtual, writable } = this.masks(at, width);
    if (block?.start === 0) commandBefore(this.device, this.command, at, value);
    this.setShadow(at, width, (this.shadowed(at, width) & ~(virtual & writable)) | (value & virtual & writable));
    const direct = (writable & ~virtual) >>> 0;
    if (direct !== 0) {
      // The whole width is read, merged and written back, which also clears write-one-to-clear bits beside the field ([CFG-58]).
      const hardware = this.device.function.readConfig(at, width);
      this.device.function.writeConfig(at, width, ((hardware & ~direct) | (value & direct)) >>> 0);
    }
    block?.written?.(at - block.start, width, value);
  }

  private masks(at: number, width: number): { virtual: number; writable: number } {
    const block = this.owners[at];
    const { virtual, writable } = block?.permissions ?? this.gap;
    const inside = block === undefined ? 0 : at - block.start;
    let v = 0;
    let w = 0;
    for (let byte = width - 1; byte >= 0; byte--) {
      v = (v << 8) | (virtual[inside + byte] ?? 0);
      w = (w << 8) | (writable[inside + byte] ?? 0);
    }
    return { virtual: v >>> 0, writable: w >>> 0 };
  }

  private shadowed(at: number, width: number): number {
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = (value << 8) | (this.shadow[at + byte] as number);
    return value >>> 0;
  }

  private setShadow(at: number, width: number, value: number): void {
    for (let byte = 0; byte < width; byte++) this.shadow[at + byte] = (value >>> (8 * byte)) & 0xff;
  }

  private addHeader(): void {
    this.view.setUint16(4, this.command & ~Command.disableIntx, true);
    this.own({
      start: 0,
      permissions: headerPermissions(),
      readOnly: false,
      written: (offset, width, value) => this.headerWritten(offset, width, value),
    });
  }

  private headerWritten(offset: number, width: number, value: number): void {
    if (offset === 4) {
      const decoding = Command.memory | Command.io;
      this.view.setUint16(4, (this.command & ~decoding) | (value & decoding), true);
    }
    if (offset <= 5 && offset + width > 4) this.device.irqs.disabledByUser((this.command & Command.disableIntx) !== 0);
    if ((offset >= 0x10 && offset < 0x28) || (offset >= 0x30 && offset < 0x34)) this.barsDirty = true;
  }

  /** Hidden capabilities are unlinked: the pointer before them goes past them ([CFG-29]). */
  private addStandard(): void {
    const { config } = this.device.function;
    let link = 0x34;
    let visible = false;
    for (const { id, offset } of standardCapabilities(config.bytes)) {
      const permissions = standardRules.get(id)?.(this.facts(offset));
      if (permissions === undefined) continue;
      permissions.byte(1, ALL8, 0);
      this.shadow[link] = offset;
      this.shadow[offset + 1] = 0;
      link = offset + 1;
      visible = true;
      const written = this.standardHook(id, offset);
      this.own({ start: offset, permissions, readOnly: permissions.readOnly, ...(written && { written }) });
    }
    if (visible) return;
    this.shadow[0x34] = 0;
    this.shadow[6] = (this.shadow[6] as number) & ~0x10;
  }

  private standardHook(id: number, start: number): Block['written'] {
    if (id === CapabilityId.PM) {
      return (offset, _width, value) => {
        if (offset === 4) this.setPower(start, value & 3);
      };
    }
    if (id === CapabilityId.MSI) {
      return (offset, width) => {
        if (offset <= 2 && offset + width > 2) this.fixMsi(start);
      };
    }
    if (id === CapabilityId.EXP) {
      return (offset, width) => this.resetAsked(start, offset, width, 8, 0x8000);
    }
    if (id === CapabilityId.AF) {
      return (offset, width) => this.resetAsked(start, offset, width, 4, 1);
    }
    return undefined;
  }

  private setPower(start: number, state: number): void {
    const { function: fn } = this.device;
    const control = fn.readConfig(start + 4, 2);
    fn.writeConfig(start + 4, 2, (control & ~0x8003) | state);
  }

  /** MSI is switched on by SET_IRQS alone; the corrected control word goes to the hardware ([CFG-38], [CFG-39], [CFG-59]). */
  private fixMsi(start: number): void {
    const { irqs, function: fn } = this.device;
    let control = this.view.getUint16(start + 2, true);
    if (irqs.mode !== 1) control &= ~1;
    const size = Math.min((control >>> 4) & 7, irqs.msiQueueSize);
    control = (control & ~0x70) | (size << 4);
    this.view.setUint16(start + 2, control, true);
    fn.writeConfig(start + 2, 2, control);
  }

  /** A reset bit of PCIe or AF was written: it acts and reads 0 ([CFG-42], [CFG-44]). */
  private resetAsked(start: number, offset: number, width: number, field: number, bit: number): void {
    const high = bit > 0xff ? field + 1 : field;
    if (offset > high || offset + width <= high) return;
    const control = this.view.getUint16(start + field, true);
    if ((control & bit) === 0) return;
    this.view.setUint16(start + field, control & ~bit, true);
    if (this.device.function.resettable && this.device.function.present) this.device.reset();
  }

  /** [CFG-47], [CFG-51], [CFG-53]. */
  private addExtended(): void {
    const { config } = this.device.function;
    if (!this.device.function.isExpress) return;
    let last: number | undefined;
    extendedCapabilities(config.bytes).forEach(({ id, version, offset }) => {
      const rule =
        this.device.machine.kernel.since('6.2') && id === 0x23 ? () => this.dvsec(offset) : extendedRules.get(id);
      const permissions = rule?.(this.facts(offset));
      if (permissions === undefined) {
        if (offset !== 0x100) return;
        // The first stays as an anchor without a name.
        const anchor = new Permissions(4).dword(0, ALL32, 0);
        this.view.setUint32(offset, 0, true);
        this.own({ start: offset, permissions: anchor, readOnly: true });
        last = offset;
        return;
      }
      permissions.dword(0, ALL32, 0);
      this.view.setUint32(offset, (id | (version << 16)) >>> 0, true);
      if (last !== undefined)
        this.view.setUint32(last, (this.view.getUint32(last, true) & 0xf_ffff) | (offset << 20), true);
      last = offset;
      this.own({ start: offset, permissions, readOnly: permissions.readOnly });
    });
  }

  private dvsec(offset: number): Permissions | undefined {
    const length = this.device.function.config.view.getUint32(offset + 4, true) >>> 20;
    return length === 0 ? undefined : Permissions.raw(length);
  }

  private facts(offset: number) {
    const { config } = this.device.function;
    return { kernel: this.device.machine.kernel, view: new DataView(config.bytes.buffer, offset) };
  }

  private own(block: Block): void {
    const end = Math.min(block.start + block.permissions.length, this.shadow.length);
    for (let at = block.start; at < end; at++) this.owners[at] = block;
  }
}
