/** Short turns of the event loop, for a loop that polls and lets others live. */

/** What Node's ports have and a browser's have not: whether they keep the process alive. */
interface Port {
  ref?(): void;
  unref?(): void;
}

/**
 * `await turns.next()` comes back after everything that waited in the event loop had its turn: a few microseconds by a
 * message, where a timer takes a millisecond or more. Between {@link next} and {@link rest} the process stays alive.
 */
export class EventLoopTurns {
  private channel: MessageChannel | undefined;
  private resume: () => void = () => {};
  private closed = false;

  next(): Promise<void> {
    return new Promise((resolve) => {
      if (typeof MessageChannel !== 'function' || this.closed) {
        setTimeout(resolve, 0);
        return;
      }
      this.resume = resolve;
      this.channel ??= this.open();
      (this.channel.port1 as Port).ref?.();
      this.channel.port2.postMessage(0);
    });
  }

  /** Nobody waits for a turn now. */
  rest(): void {
    (this.channel?.port1 as Port | undefined)?.unref?.();
  }

  /** Whoever waits is let go; later turns are timers. Idempotent. */
  close(): void {
    this.closed = true;
    this.resume();
    this.channel?.port1.close();
    this.channel = undefined;
  }

  private open(): MessageChannel {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => this.resume();
    return channel;
  }
}
