/**
 * Drives a machine from the event loop while nobody polls it: device work first, then the callbacks of watched eventfds, and only when
 * nothing is left to do does the clock jump to the next timer.
 */

import type { VirtualTime } from './time.js';

/** Things of Node's timers and ports that browsers lack; both are optional. */
interface Unrefable {
  unref?(): void;
}

export class Pump {
  private scheduled = false;
  private closed = false;
  private holders = 0;
  private keepAlive: ReturnType<typeof setTimeout> | undefined;
  private pace: ReturnType<typeof setTimeout> | undefined;
  private readonly post: () => void;
  private readonly stop: () => void;

  /**
   * @param dispatch calls back for the watches that have something; says whether there was one
   * @param watched whether anybody watches anything at all
   */
  constructor(
    private readonly time: VirtualTime,
    private readonly dispatch: () => boolean,
    private readonly watched: () => boolean,
  ) {
    const turn = () => this.turn();
    if (typeof MessageChannel === 'function') {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = turn;
      (port1 as Unrefable).unref?.();
      this.post = () => port2.postMessage(0);
      this.stop = () => port1.close();
    } else {
      this.post = () => void setTimeout(turn, 0);
      this.stop = () => {};
    }
    time.onWork = () => this.kick();
  }

  /** Something may be to do: look in the next turn of the event loop. */
  kick(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    this.post();
  }

  /** Somebody waits: the process stays alive, and the clock may jump. Undo with {@link release}. */
  hold(): void {
    if (this.holders++ === 0) this.keepAlive = setTimeout(() => {}, 0x7fffffff);
    this.kick();
  }

  release(): void {
    if (--this.holders === 0) clearTimeout(this.keepAlive);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.keepAlive);
    clearTimeout(this.pace);
    this.stop();
  }

  private turn(): void {
    this.scheduled = false;
    if (this.closed) return;
    const ran = this.time.runDue();
    const called = this.dispatch();
    const { next } = this.time;
    if (ran || called || next <= this.time.current) {
      this.kick();
      return;
    }
    if (next === Number.POSITIVE_INFINITY) return;
    if (this.holders > 0) {
      this.time.advance(next);
      this.kick();
    } else if (this.watched()) {
      // Nobody waits, but somebody would like to hear: time passes as it does outside.
      clearTimeout(this.pace);
      this.pace = setTimeout(() => {
        this.time.advance(next);
        this.kick();
      }, next - this.time.current);
      (this.pace as Unrefable).unref?.();
    }
  }
}
