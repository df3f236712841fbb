/** Tells a WebAssembly memory from other buffers, which lie in the ordinary heap and may be freed or moved under a device. */

const pageOfWebAssembly = 65536;

/**
 * Whether this is the memory of a `WebAssembly.Memory`, which neither moves nor ends before its buffer does. For backends: the only
 * memory that the program brings along and that `SystemCalls.addressOf` may give an address.
 */
export function isImmovable(buffer: ArrayBufferLike): boolean {
  const { byteLength } = buffer;
  // Resizable ones are page-aligned too, but give pages back when they shrink.
  const { resizable, growable } = buffer as { resizable?: boolean; growable?: boolean };
  if (byteLength === 0 || byteLength % pageOfWebAssembly !== 0 || resizable || growable) return false;
  // The specification freezes the buffer of a shared memory, and lets no one detach that of another.
  return Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]'
    ? Object.isFrozen(buffer)
    : !isDetachable(buffer as ArrayBuffer);
}

/**
 * Whether the buffer could be transferred, without doing it. A clone looks at its transfer list first, then reads the
 * value, which throws here, and only at the end detaches anything. Node 22 and later refuse in the list what cannot be
 * detached; Node 20 passes over it, and so does not notice when it stands there twice, which it refuses else.
 */
function isDetachable(buffer: ArrayBuffer): boolean {
  return isValueRead([buffer]) && !isValueRead([buffer, buffer]);
}

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
