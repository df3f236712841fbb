/** The two kinds of mapping, over the addon's. */

import { Errno } from '../errors/errno.js';
import { VfioError } from '../errors/error.js';
import type { RegisterWindow } from '../seam/register-window.js';
import type { DeviceMapping, MemoryMapping } from '../seam/system-calls.js';
import { MappedWindow } from '../seam/windows.js';
import type { Addon, MapResult, NativeMapping } from './addon.js';

/** What the addon answered, where it is not a mapping: an errno, or that this runtime allows none at all. */
export function mapped<T>(
  addon: Addon,
  result: MapResult,
  Kind: new (addon: Addon, native: NativeMapping) => T,
): T | number {
  if (typeof result === 'number') return result;
  if (result === undefined) {
    throw new VfioError('ERR_VFIO_NO_BACKEND', 'this runtime allows no memory of a device in its ArrayBuffers.', {
      remedy:
        'Run the driver in Node.js itself: Electron and other runtimes with a memory cage forbid external buffers.',
    });
  }
  try {
    return new Kind(addon, result);
  } catch (thrown) {
    // Too long for a view of it.
    addon.unmap(result.handle);
    throw thrown;
  }
}

/** Memory of the process. */
export class LinuxMemory implements MemoryMapping {
  readonly bytes: Uint8Array;
  readonly address: bigint;
  readonly length: number;
  private readonly addon: Addon;
  private handle: number;

  constructor(addon: Addon, { handle, buffer, address }: NativeMapping) {
    this.addon = addon;
    this.handle = handle;
    this.address = address;
    this.length = buffer.byteLength;
    this.bytes = new Uint8Array(buffer);
  }

  unmap(): void {
    if (this.handle < 0) return;
    const handle = this.handle;
    this.handle = -1;
    this.addon.unmap(handle);
  }
}

/** Registers. */
export class LinuxDeviceMemory implements DeviceMapping {
  readonly window: RegisterWindow;
  readonly address: bigint;
  readonly length: number;
  private readonly addon: Addon;
  private handle: number;
  private faultedBefore = false;

  constructor(addon: Addon, { handle, buffer, address }: NativeMapping) {
    this.addon = addon;
    this.handle = handle;
    this.address = address;
    this.length = buffer.byteLength;
    this.window = new MappedWindow(new Uint8Array(buffer));
  }

  get faulted(): boolean {
    return this.handle < 0 ? this.faultedBefore : this.addon.faulted(this.handle);
  }

  remap(): number {
    return this.handle < 0 ? -Errno.EINVAL : this.addon.remap(this.handle);
  }

  unmap(): void {
    if (this.handle < 0) return;
    this.faultedBefore = this.faulted;
    const handle = this.handle;
    this.handle = -1;
    this.window.close();
    this.addon.unmap(handle);
  }
}
