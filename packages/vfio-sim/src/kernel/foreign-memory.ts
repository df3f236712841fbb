/** Tells a WebAssembly memory from other buffers, as the Linux backend does: only such memory stays where it is. */

const WASM_PAGE = 65536;

/** Whether this is the memory of a `WebAssembly.Memory`, which neither moves nor ends before its buffer does. */
export function isImmovable(buffer: ArrayBufferLike): boolean {
  const { byteLength } = buffer;
  const { resizable, growable } = buffer as { resizable?: boolean; growable?: boolean };
  if (byteLength === 0 || byteLength % WASM_PAGE !== 0 || resizable || growable) return false;
  const shared = Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]';
  return shared ? Object.isFrozen(buffer) : !isDetachable(buffer as ArrayBuffer);
}

/**
 * Whether the buffer could be transferred, without doing it: a clone looks at its transfer list before it reads the value, which
 * throws here. Engines refuse in the list what cannot be detached, or else pass over it and so do not notice it twice.
 */
const isDetachable = (buffer: ArrayBuffer): boolean => isValueRead([buffer]) && !isValueRead([buffer, buffer]);

function isValueRead(transfer: ArrayBuffer[]): boolean {
  let read = false;
  const value = {
    get field(): never {
      read = true;
      throw new Error('never cloned');
    },
  };
  try {
    structuredClone(value, { transfer });
  } catch {
    // Either the list or the value always throws.
  }
  return read;
}
