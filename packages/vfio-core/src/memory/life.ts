/** What the owner of a buffer and its views in other threads tell each other, in eight shared bytes. */

import { VfioError } from '../errors/error.js';

const ENDED = 0;
const VIEWS = 1;

export class BufferLife {
  readonly shared: SharedArrayBuffer;
  private readonly words: Int32Array;

  /** @param shared those of the owner, for a view */
  constructor(shared: SharedArrayBuffer = makeShared()) {
    this.shared = shared;
    this.words = new Int32Array(shared);
  }

  /** Whether the owner closed the buffer. A plain load: drivers ask it per command. */
  get ended(): boolean {
    return this.words[ENDED] !== 0;
  }

  /** Whether a view is open somewhere: then the memory must not become somebody else's. */
  get viewed(): boolean {
    return Atomics.load(this.words, VIEWS) > 0;
  }

  end(): void {
    Atomics.store(this.words, ENDED, 1);
  }

  enter(): void {
    Atomics.add(this.words, VIEWS, 1);
  }

  leave(): void {
    Atomics.sub(this.words, VIEWS, 1);
  }
}

function makeShared(): SharedArrayBuffer {
  if (typeof SharedArrayBuffer === 'undefined') {
    throw new VfioError('ERR_VFIO_NOT_SUPPORTED', 'threads cannot share memory here: there is no SharedArrayBuffer.', {
      remedy: 'Use the buffer in the thread that allocated it; a browser page must be cross-origin isolated.',
    });
  }
  return new SharedArrayBuffer(8);
}
