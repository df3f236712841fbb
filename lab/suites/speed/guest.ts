/**
 * What the binding costs over C. The machine is emulated, and calls of JavaScript cost it more than any real one: figures are ratios
 * and differences between programs of this boot, and nothing is asserted of them.
 */

import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { defaultBackend, findGroup, type Mapper, type MemoryMapping, openDevice, openSpace } from 'vfio-core';
import { bind } from 'vfio-pci';
import { check, field, kernel, note, program, same, test } from '../guest.js';
import { report, type Turn, turns } from './times.js';

const address = '0000:00:05.0';
const system = defaultBackend();
const rounds = Number(process.env.SPEED_ROUNDS || 10);
const forever = { seconds: 1800 };

type Way = 'container' | 'iommufd';
const ways: readonly Way[] = kernel === '6.1' ? ['container'] : ['container', 'iommufd'];

/** The columns of numbers that the C program prints; `fd` is its descriptor 3. */
function inC(fd: number | undefined, ...words: readonly string[]): number[][] {
  const { status, stdout, stderr } = spawnSync(program('calls'), words, {
    stdio: ['ignore', 'pipe', 'pipe', ...(fd === undefined ? [] : [fd])],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  check(status === 0, `calls ${words.join(' ')}: ${status} ${stderr}`);
  const lines = stdout.trim().split('\n');
  const columns = (lines[0] as string).split(' ').length;
  return Array.from({ length: columns }, (_, column) => lines.map((line) => Number(line.split(' ')[column])));
}

/** Nanoseconds of two steps, `count` times. */
function timed(count: number, first: () => void, second: () => void): [number[], number[]] {
  const [one, two]: [number[], number[]] = [[], []];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    first();
    const middle = performance.now();
    second();
    const end = performance.now();
    one.push((middle - start) * 1e6);
    two.push((end - middle) * 1e6);
  }
  return [one, two];
}

test('the device is bound', () => {
  bind(address);
  // Neither side is to get huge pages by luck.
  writeFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'never');
  field('kernel', release());
  field('node', process.version);
});

test(
  'a call that does nothing',
  async () => {
    const count = 500;
    const fd = system.open('/dev/vfio/vfio', 2);
    const clock = (): void => {};
    const { nothing, version } = await turns(rounds, {
      c: () => ({
        nothing: inC(undefined, 'clock', `${count}`)[0] as number[],
        version: inC(fd, 'version', `${count}`)[0] as number[],
      }),
      seam: () => ({
        nothing: timed(count, clock, clock)[0],
        version: timed(count, () => void system.ioctl(fd, 0x3b64), clock)[0],
      }),
    });
    system.close(fd);
    report('looking at the clock', nothing ?? {});
    report('GET_API_VERSION', version ?? {});
  },
  forever,
);

/** What is mapped: `huge` pages are as large as the whole. */
const sizes = [
  { name: '4 KiB', size: 2 ** 12, memory: 'pages', count: 1000 },
  { name: '2 MiB of pages', size: 2 ** 21, memory: 'pages', count: 20 },
  { name: '2 MiB, one huge page', size: 2 ** 21, memory: 'huge', count: 50 },
  { name: '1 GiB, one huge page', size: 2 ** 30, memory: 'huge', count: 2 },
] as const;

/** Both kinds of space, as far as this suite looks into them. */
interface Inside {
  readonly type1?: Mapper & { readonly container: { readonly fd: number } };
  readonly ioas?: Mapper & { readonly id: number };
  readonly iommufd?: { readonly fd: number };
}

interface Memory {
  readonly mapping: MemoryMapping;
  readonly fd?: number;
}

function memoryOf(size: number, kind: 'pages' | 'huge'): Memory {
  const fd = kind === 'huge' ? system.memfd('speed', size) : undefined;
  if (fd !== undefined) check(fd >= 0 && system.truncate(fd, size) === 0, `memfd of huge pages: ${fd}`);
  const mapping =
    fd === undefined
      ? system.memory({ kind: 'anonymous', length: size })
      : system.memory({ kind: 'file', fd, offset: 0, length: size });
  check(typeof mapping !== 'number', `memory of ${size} bytes: ${String(mapping)}`);
  for (let at = 0; at < size; at += 4096) mapping.bytes[at] = 1;
  return fd === undefined ? { mapping } : { mapping, fd };
}

/** The bytes of both calls, made once, as a program would that counts every microsecond. */
function rawCalls({ type1, ioas }: Inside, at: bigint, iova: bigint, size: number) {
  const make = (head: readonly number[], ...values: readonly bigint[]): Uint8Array => {
    const view = new DataView(new ArrayBuffer(4 * head.length + 8 * values.length));
    for (const [index, value] of head.entries()) view.setUint32(4 * index, value, true);
    for (const [index, value] of values.entries()) view.setBigUint64(4 * head.length + 8 * index, value, true);
    return new Uint8Array(view.buffer);
  };
  const length = BigInt(size);
  return type1 !== undefined
    ? { map: [0x3b71, make([32, 3], at, iova, length)], unmap: [0x3b72, make([24, 0], iova, length)] }
    : {
        map: [0x3b85, make([40, 7, ioas?.id ?? 0, 0], at, length, iova)],
        unmap: [0x3b86, make([24, ioas?.id ?? 0], iova, length)],
      };
}

for (const way of ways)
  for (const { name, size, memory, count } of sizes)
    test(
      `map and unmap of ${name}, by way of ${way}`,
      async () => {
        const space = openSpace({ way });
        const device = await openDevice(address, { space });
        const inside = space as unknown as Inside;
        const mapper = (inside.type1 ?? inside.ioas) as Mapper;
        const fd = (inside.type1?.container ?? inside.iommufd)?.fd as number;
        const iova = 2n ** 32n;
        const hex = `0x${iova.toString(16)}`;
        const inWords = [
          inside.ioas === undefined ? 'container' : `${inside.ioas.id}`,
          memory,
          `${size}`,
          hex,
          `${count}`,
        ];

        /** Memory stays for one turn only: there is one page of 1 GiB. */
        const withMemory = (work: (memory: Memory) => [number[], number[]]): Turn => {
          const own = memoryOf(size, memory);
          try {
            const [map, unmap] = work(own);
            return { map, unmap };
          } finally {
            own.mapping.unmap();
            if (own.fd !== undefined) system.close(own.fd);
          }
        };
        const { map, unmap } = await turns(memory === 'huge' && size > 2 ** 21 ? Math.min(rounds, 3) : rounds, {
          c: () => {
            const [first, second] = inC(fd, 'map', ...inWords);
            return { map: first as number[], unmap: second as number[] };
          },
          seam: () =>
            withMemory(({ mapping }) => {
              const calls = rawCalls(inside, mapping.address, iova, size);
              const [mapNumber, mapBytes] = calls.map as [number, Uint8Array];
              const [unmapNumber, unmapBytes] = calls.unmap as [number, Uint8Array];
              return timed(
                count,
                () => void system.ioctl(fd, mapNumber, mapBytes),
                () => void system.ioctl(fd, unmapNumber, unmapBytes),
              );
            }),
          calls: () =>
            withMemory(({ mapping }) => {
              const request = { iova, address: mapping.address, size, read: true, write: true };
              return timed(
                count,
                () => mapper.map(request),
                () => void mapper.unmap(request),
              );
            }),
          space: () =>
            withMemory(({ fd: file }) => {
              // Ordinary pages are a program's own; huge ones come by their file, which the space maps for itself, and that is in it.
              const own = new WebAssembly.Memory({
                initial: Math.max(1, size >> 16),
                maximum: Math.max(1, size >> 16),
              });
              const bytes = new Uint8Array(own.buffer, 0, Math.min(size, own.buffer.byteLength)).fill(1);
              const source = file === undefined ? bytes : { fd: file, length: size };
              let buffer = space.map(source);
              buffer.close();
              return timed(
                count,
                () => {
                  buffer = space.map(source);
                },
                () => buffer.close(),
              );
            }),
        });
        const pages = size / 4096;
        report(`map, ${name}, ${way}`, map ?? {}, pages);
        report(`unmap, ${name}, ${way}`, unmap ?? {}, pages);
        same(space.headroom().largestFree > 0n, true);
        await device.close();
        space.close();
      },
      forever,
    );

for (const way of ways)
  test(
    `opening and closing a device by way of ${way}`,
    async () => {
      const count = 20;
      const words =
        way === 'container'
          ? ['open', way, `/dev/vfio/${findGroup(system, address)?.id}`, address, `${count}`]
          : [
              'open',
              way,
              `/dev/vfio/devices/${readdirSync(`/sys/bus/pci/devices/${address}/vfio-dev`)[0]}`,
              `${count}`,
            ];
      const { open, close } = await turns(rounds, {
        c: () => {
          const [first, second] = inC(undefined, ...words);
          return { open: first as number[], close: second as number[] };
        },
        device: async () => {
          const turn = { open: [] as number[], close: [] as number[] };
          for (let i = 0; i < count; i++) {
            const start = performance.now();
            const device = await openDevice(address, { way });
            const middle = performance.now();
            await device.close();
            turn.open.push((middle - start) * 1e6);
            turn.close.push((performance.now() - middle) * 1e6);
          }
          return turn;
        },
      });
      report(`open, ${way}`, open ?? {});
      report(`close, ${way}`, close ?? {});
      note(`the way of openDevice: ${way}`);
    },
    forever,
  );
