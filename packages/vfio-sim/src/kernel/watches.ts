/** Callbacks on eventfds, run from the event loop. */

import type { EventWatch } from 'vfio-core';
import type { EventFd } from './eventfd.js';
import type { Pump } from './pump.js';

interface Watch {
  readonly file: EventFd;
  readonly onCount: (count: number) => void;
}

export class Watches {
  private readonly active = new Set<Watch>();

  get any(): boolean {
    return this.active.size > 0;
  }

  add(file: EventFd, onCount: (count: number) => void, pump: Pump): EventWatch {
    const watch: Watch = { file, onCount };
    this.active.add(watch);
    let held = false;
    const unref = () => {
      if (held) pump.release();
      held = false;
    };
    pump.kick();
    return {
      ref: () => {
        if (!held && this.active.has(watch)) {
          held = true;
          pump.hold();
        }
      },
      unref,
      close: () => {
        this.active.delete(watch);
        unref();
      },
    };
  }

  /** Calls back for each watch whose counter is above 0. @returns whether there was one */
  dispatch(): boolean {
    let called = false;
    for (const watch of [...this.active]) {
      if (!this.active.has(watch) || watch.file.count === 0) continue;
      called = true;
      const count = watch.file.take();
      try {
        watch.onCount(count);
      } catch (error) {
        // As from any callback of the event loop: an uncaught exception, and the watch goes on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    return called;
  }

  clear(): void {
    this.active.clear();
  }
}
