/** What every backend's device mappings must do alike when the device does not answer for a while. */

import { afterEach, describe, expect, it } from 'vitest';
import { type DeviceMapping, Protection, type SystemCalls } from '../seam/system-calls.js';

const EINVAL = -22;
const allOnes = 0xffff_ffff;

/** A device, two pages of whose registers can be mapped. */
export interface Sleeper {
  readonly system: SystemCalls;
  readonly fd: number;
  /** Where the pages stand in the descriptor. */
  readonly offset: number;
  /** From here on a touch of its registers faults. */
  sleep(): void;
  /** From here on it answers again: the 32-bit registers at the beginning of its pages read {@link first} and {@link second}. */
  wake(): void;
  readonly first: number;
  readonly second: number;
  /** Closes everything. */
  end(): void;
}

/**
 * Describes what {@link DeviceMapping} promises about faults.
 * @param make a fresh device, awake; `undefined` where this machine has no such backend, and then all is skipped
 */
export function describeDeviceMapping(name: string, make: () => Sleeper | undefined): void {
  const probe = make();
  probe?.end();

  describe.skipIf(probe === undefined)(`a mapping of ${name} whose device does not answer for a while`, () => {
    const open: Sleeper[] = [];
    afterEach(() => {
      for (const sleeper of open.splice(0)) sleeper.end();
    });

    function mapped() {
      const sleeper = make() as Sleeper;
      open.push(sleeper);
      const { system, fd, offset } = sleeper;
      const mapping = system.mapDevice(fd, offset, 2 * system.pageSize, Protection.read | Protection.write);
      expect(mapping).toBeTypeOf('object');
      const { window } = mapping as DeviceMapping;
      return {
        ...sleeper,
        sleeper,
        mapping: mapping as DeviceMapping,
        window,
        part: window.window(system.pageSize, 8),
      };
    }

    it('reads all-ones where it was touched, also once the device answers again, and says so by its mark', () => {
      const { sleeper, mapping, window, part, second } = mapped();
      sleeper.sleep();
      expect(mapping.faulted).toBe(false);
      expect([window.read32(0), mapping.faulted]).toEqual([allOnes, true]);
      sleeper.wake();
      expect([window.read32(0), part.read32(0), mapping.faulted]).toEqual([allOnes, second, true]);
      mapping.unmap();
    });

    it('is mapped afresh at its address: the same window and its parts reach the device, and the mark is gone', () => {
      const { sleeper, mapping, window, part, first, second } = mapped();
      const { address } = mapping;
      for (let round = 0; round < 20; round++) {
        sleeper.sleep();
        expect([window.read32(0), part.read32(0), mapping.faulted]).toEqual([allOnes, allOnes, true]);
        sleeper.wake();
        expect(mapping.remap()).toBe(0);
        expect([window.read32(0), part.read32(0), mapping.faulted]).toEqual([first, second, false]);
      }
      expect([mapping.address, window.closed, part.closed]).toEqual([address, false, false]);
      mapping.unmap();
      expect([window.closed, part.closed]).toEqual([true, true]);
    });

    it('is marked anew by the next touch where it was mapped afresh too early', () => {
      const { sleeper, mapping, window, first } = mapped();
      sleeper.sleep();
      window.write32(0, 1);
      expect([mapping.faulted, mapping.remap(), mapping.faulted]).toEqual([true, 0, false]);
      expect([window.read32(0), mapping.faulted]).toEqual([allOnes, true]);
      sleeper.wake();
      expect([mapping.remap(), window.read32(0)]).toEqual([0, first]);
      mapping.unmap();
    });

    it('takes no harm from being mapped afresh while the device answers', () => {
      const { mapping, window, first } = mapped();
      expect([window.read32(0), mapping.remap(), window.read32(0)]).toEqual([first, 0, first]);
      mapping.unmap();
    });

    it('is not mapped afresh once it was unmapped', () => {
      const { sleeper, mapping, window } = mapped();
      sleeper.sleep();
      window.read32(0);
      mapping.unmap();
      expect([mapping.remap(), mapping.faulted, window.closed]).toEqual([EINVAL, true, true]);
    });
  });
}
