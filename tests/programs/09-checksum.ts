// The compiled code of program 9: a checksum (FNV-1a, 32 bits) over a part of the memory that it is given.

const module = new Uint8Array(
  [
    '00 61 73 6d 01 00 00 00', // (module
    '01 07 01 60 02 7f 7f 01 7f', //   (type (func (param i32 i32) (result i32)))
    '02 12 01 03 65 6e 76 06 6d 65 6d 6f 72 79 02 03 80 02 80 02', //   (import "env" "memory" (memory 256 256 shared))
    '03 02 01 00',
    '07 0c 01 08 63 68 65 63 6b 73 75 6d 00 00', //   (func (export "checksum") (param $at i32) (param $length i32) (result i32)
    '0a 3d 01 3b 01 02 7f', //     (local $end i32) (local $hash i32)
    '20 00 20 01 6a 21 02', //     (local.set $end (i32.add (local.get $at) (local.get $length)))
    '41 c5 bb f2 88 78 21 03', //     (local.set $hash (i32.const 0x811c9dc5))
    '02 40 03 40', //     (block $done (loop $next
    '20 00 20 02 4f 0d 01', //       (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
    '20 03 20 00 2d 00 00 73', //       (i32.xor (local.get $hash) (i32.load8_u (local.get $at)))
    '41 93 83 80 08 6c 21 03', //       (local.set $hash (i32.mul ... (i32.const 0x01000193)))
    '20 00 41 01 6a 21 00', //       (local.set $at (i32.add (local.get $at) (i32.const 1)))
    '0c 00 0b 0b', //       (br $next)))
    '20 03 0b', //     (local.get $hash)))
  ].flatMap((line) => line.split(' ').map((byte) => Number.parseInt(byte, 16))),
);

/** Compiles it for a shared memory of 256 pages (16 MiB). The function takes a place in the memory and a length in bytes. */
export async function compiledChecksum(memory: WebAssembly.Memory): Promise<(at: number, length: number) => number> {
  const { instance } = await WebAssembly.instantiate(module, { env: { memory } });
  const checksum = instance.exports.checksum as (at: number, length: number) => number;
  return (at, length) => checksum(at, length) >>> 0;
}

/** The same in JavaScript, for whoever writes the disk. */
export function checksumOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash >>> 0;
}
