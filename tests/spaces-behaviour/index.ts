/**
 * Address spaces and the devices in them, as cases. The same cases run on the simulation and on real kernels, by each way into the kernel.
 * What the disk holds is compared by SHA-256 of what was to be written.
 */

import {
  type DmaSpace,
  defaultBackend,
  type IovaSpace,
  isVfioError,
  openSpace,
  type SystemCalls,
  type WayOption,
} from 'vfio-core';
import { Edu, Nvme } from 'vfio-drivers-example';
import { PciDevice } from 'vfio-pci';
import { equal } from '../support/equal.js';
import { codeOf, type Made, memoryKinds, refused, size } from './memory-kinds.js';

/** Where the cases run. */
export interface SpacesBench {
  readonly backend?: SystemCalls;
  readonly way: Exclude<WayOption, 'auto'>;
  /** Two NVMe controllers, and an edu device that reaches 28 bits, each in a group of its own. */
  readonly nvme: string;
  readonly otherNvme: string;
  readonly edu: string;
  /** Sizes of the huge pages that are set aside. */
  readonly hugePages: readonly number[];
  /** How often the kernel was asked to map something, where that is counted. */
  readonly asked?: () => number;
}

export interface SpacesCase {
  readonly title: string;
  readonly run: (bench: SpacesBench) => Promise<void>;
  /** The case needs these huge pages. */
  readonly hugePages?: number | undefined;
}

/** Numbers that look random and are the same each time. */
function fill(bytes: Uint8Array, seed: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let state = seed | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

async function sha256(bytes: Uint8Array): Promise<string> {
  // A copy: digest() takes no shared memory.
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const open = (bench: SpacesBench): IovaSpace =>
  openSpace({ way: bench.way, ...(bench.backend === undefined ? {} : { backend: bench.backend }) });

const device = (bench: SpacesBench, address: string, space: DmaSpace): Promise<PciDevice> =>
  PciDevice.open(address, { space, ...(bench.backend === undefined ? {} : { backend: bench.backend }) });

const disk = async (bench: SpacesBench, address: string, space: DmaSpace): Promise<Nvme> =>
  Nvme.open(await device(bench, address, space));

const refusal = (opening: Promise<unknown>): Promise<unknown> =>
  opening.then(
    () => 'it opened',
    (error) => (isVfioError(error) ? error.code : error),
  );

/** A disk writes from memory and reads into it, whichever kind it is; other memory of the same space is the judge. */
async function roundTrip(nvme: Nvme, made: Made, judge: Made, seed: number): Promise<void> {
  const [namespace] = nvme.namespaces;
  if (namespace === undefined) throw new Error('the controller has no namespace');
  const blocks = size / namespace.blockSize;
  const [here, there] = [made.bytes.subarray(0, size), judge.bytes.subarray(0, size)];
  fill(here, seed);
  const written = await sha256(here);
  await namespace.write(0n, made.buffer, { blocks });
  there.fill(0);
  await namespace.read(0n, judge.buffer, { blocks });
  equal(await sha256(there), written, 'what the disk took from the memory');
  fill(there, seed + 1);
  const wanted = await sha256(there);
  await namespace.write(BigInt(blocks), judge.buffer, { blocks });
  here.fill(0);
  await namespace.read(BigInt(blocks), made.buffer, { blocks });
  equal(await sha256(here), wanted, 'what the disk put into the memory');
}

const [ordinary] = memoryKinds;

export const spacesBehaviour: readonly SpacesCase[] = [
  {
    title: 'says by which way it reaches the kernel, and that this way was asked for',
    run: async (bench) => {
      using space = open(bench);
      equal(space.way, { name: bench.way, reason: 'it was asked for' }, 'the way');
    },
  },
  ...memoryKinds.map(
    ({ title, make, hugePages }): SpacesCase => ({
      title: `an NVMe controller takes from and fills ${title}`,
      hugePages,
      run: async (bench) => {
        using space = open(bench);
        await using nvme = await disk(bench, bench.nvme, space);
        const before = space.headroom();
        const [made, judge] = [make(space), ordinary!.make(space)];
        await roundTrip(nvme, made, judge, 77);
        const { address } = made.buffer;
        equal(space.lookup(address + 4097n)?.buffer === made.buffer, true, 'the buffer at an address inside it');
        equal(space.lookup(address + 4097n)?.offset, 4097, 'the place of that address in the buffer');
        equal(space.addressOf(made.buffer.bytes, 4097), address + 4097n, 'the address of a byte of the buffer');
        made.free();
        judge.free();
        equal(space.lookup(address), undefined, 'what is there once the buffer is closed');
        equal(space.headroom(), before, 'what is left, once the buffers are closed');
      },
    }),
  ),
  {
    title: 'takes a device again that left its driver meanwhile',
    run: async (bench) => {
      const system = bench.backend ?? defaultBackend();
      using space = open(bench);
      const away = async () => {
        (await device(bench, bench.nvme, space)).close();
        // unbind() refuses while the group is open, as a container keeps it.
        const bus = '/sys/bus/pci';
        equal(system.writeFile(`${bus}/devices/${bench.nvme}/driver_override`, 'vfio-pci'), 0, 'driver_override');
        equal(system.writeFile(`${bus}/drivers/vfio-pci/unbind`, bench.nvme), 0, 'unbind');
        equal(system.writeFile(`${bus}/drivers/vfio-pci/bind`, bench.nvme), 0, 'bind');
      };
      await away();
      {
        await using nvme = await disk(bench, bench.nvme, space);
        const [made, judge] = [ordinary!.make(space), ordinary!.make(space)];
        await roundTrip(nvme, made, judge, 79);
        made.free();
        judge.free();
      }
      // What is mapped stays so in an iommufd; a container loses it, and says so.
      const kept = space.allocate(size);
      await away();
      if (bench.way === 'container') {
        equal(await refusal(device(bench, bench.nvme, space)), 'ERR_VFIO_MAPPING', 'opening it while a buffer is open');
        space.unmapAll();
        equal(kept.closed, true, 'whether the buffer is closed');
      }
      await using nvme = await disk(bench, bench.nvme, space);
      const [made, judge] = [ordinary!.make(space), ordinary!.make(space)];
      await roundTrip(nvme, made, judge, 80);
    },
  },
  {
    title: 'refuses memory that is not page-aligned or can move, and says so',
    run: async (bench) => {
      using space = open(bench);
      await using _device = await device(bench, bench.edu, space);
      for (const { title, map } of refused)
        equal(
          codeOf(() => map(space)),
          'ERR_VFIO_ARGUMENT',
          title,
        );
    },
  },
  {
    title: 'two disks in one space copy through one buffer',
    run: async (bench) => {
      using space = open(bench);
      await using first = await disk(bench, bench.nvme, space);
      await using second = await disk(bench, bench.otherNvme, space);
      const buffer = space.allocate(size);
      fill(buffer.bytes, 5);
      const wanted = await sha256(buffer.bytes);
      const [from, to] = [first.namespaces[0]!, second.namespaces[0]!];
      const blocks = size / from.blockSize;
      await from.write(64n, buffer, { blocks });
      buffer.bytes.fill(0);
      await from.read(64n, buffer, { blocks });
      await to.write(128n, buffer, { blocks });
      buffer.bytes.fill(0);
      await to.read(128n, buffer, { blocks });
      equal(await sha256(buffer.bytes), wanted, 'what went through both disks');
    },
  },
  {
    title: 'a disk and an edu device in one space use the same bytes at the same address',
    run: async (bench) => {
      using space = open(bench);
      await using nvme = await disk(bench, bench.nvme, space);
      await using edu = await Edu.open(await device(bench, bench.edu, space));
      const shared = space.allocate(4096, { below: 1n << 28n });
      const back = space.allocate(4096, { below: 1n << 28n });
      fill(shared.bytes, 9);
      const wanted = await sha256(shared.bytes.subarray(0, 1024));
      const namespace = nvme.namespaces[0]!;
      const blocks = 4096 / namespace.blockSize;
      await namespace.write(0n, shared, { blocks });
      shared.bytes.fill(0);
      await namespace.read(0n, shared, { blocks });
      await edu.copyIn(shared, 1024);
      await edu.copyOut(back, 1024);
      equal(await sha256(back.bytes.subarray(0, 1024)), wanted, 'what came by way of the disk and edu');
    },
  },
  {
    title: 'devices in spaces of their own find different memory at the same address',
    run: async (bench) => {
      using mine = open(bench);
      using yours = open(bench);
      await using nvme = await disk(bench, bench.nvme, mine);
      await using edu = await Edu.open(await device(bench, bench.edu, yours));
      const at = 1n << 26n;
      const [forNvme, forEdu] = [mine.allocate(4096, { at }), yours.allocate(4096, { at })];
      equal([forNvme.address, forEdu.address], [at, at], 'addresses');
      fill(forNvme.bytes, 1);
      fill(forEdu.bytes, 2);
      const [a, b] = [await sha256(forNvme.bytes), await sha256(forEdu.bytes.subarray(0, 2048))];
      const namespace = nvme.namespaces[0]!;
      const blocks = 4096 / namespace.blockSize;
      await namespace.write(0n, forNvme, { blocks });
      await edu.copyIn(forEdu, 2048);
      forNvme.bytes.fill(0);
      forEdu.bytes.fill(0);
      await namespace.read(0n, forNvme, { blocks });
      await edu.copyOut(forEdu, 2048);
      equal(
        [await sha256(forNvme.bytes), await sha256(forEdu.bytes.subarray(0, 2048))],
        [a, b],
        'what each device brought back',
      );
    },
  },
  {
    title: 'a disk reaches the registers of another device, where the kernel maps them, and else is refused in words',
    run: async (bench) => {
      using space = open(bench);
      await using nvme = await disk(bench, bench.nvme, space);
      await using edu = await device(bench, bench.edu, space);
      const map = () => space.map({ device: edu, region: 0, length: 4096 });
      if (bench.way !== 'container') {
        equal(codeOf(map), 'ERR_VFIO_MAPPING', 'registers by way of iommufd');
        return;
      }
      const registers = map();
      equal([registers.length, registers.bytes.length], [4096, 0], 'bytes of the registers and of their view');
      const block = space.allocate(4096);
      const words = new DataView(block.bytes.buffer, block.bytes.byteOffset);
      // Edu's DMA source, destination and count; its command register gets 0, which starts nothing.
      for (const [index, value] of [0x1122_3344_5566n, 0x40000n, 0x77n, 0n].entries())
        words.setBigUint64(8 * index, value, true);
      const namespace = nvme.namespaces[0]!;
      const blocks = 4096 / namespace.blockSize;
      await namespace.write(0n, block, { blocks });
      await namespace.read(0n, registers, { blocks: 1, offset: 0x80 });
      const window = edu.bar(0).window(0, 0x100);
      equal(
        [0x80, 0x88, 0x90].map((offset) => window.read64(offset)),
        [0x1122_3344_5566n, 0x40000n, 0x77n],
        'what the disk put into the registers',
      );
      edu.close();
      equal(registers.closed, true, 'whether the registers are out of reach once their device is closed');
    },
  },
  {
    title: 'unmaps everything in one go, and goes on',
    run: async (bench) => {
      using space = open(bench);
      await using edu = await Edu.open(await device(bench, bench.edu, space));
      const before = space.headroom();
      const buffers = Array.from({ length: 300 }, () => space.allocate(4096));
      const compiled = memoryKinds[1]!.make(space);
      space.unmapAll();
      equal(
        [...buffers, compiled.buffer].every(({ closed }) => closed),
        true,
        'whether all are closed',
      );
      equal(space.headroom(), before, 'what is left');
      const buffer = space.allocate(2048, { below: 1n << 28n });
      fill(buffer.bytes, 3);
      const wanted = await sha256(buffer.bytes);
      await edu.copyIn(buffer, 2048);
      buffer.bytes.fill(0);
      await edu.copyOut(buffer, 2048);
      equal(await sha256(buffer.bytes), wanted, 'what edu had meanwhile');
    },
  },
  {
    title: 'puts memory where it is asked to, once, and refuses what is not free or not usable',
    run: async (bench) => {
      using space = open(bench);
      await using _device = await device(bench, bench.edu, space);
      const at = 0x12_3450_0000n;
      const first = space.allocate(8192, { at });
      equal(first.address, at, 'the address');
      for (const [where, what] of [
        [at, 'the same'],
        [at + 4096n, 'its second page'],
        [0xfee0_0000n, 'the window of interrupt messages'],
        [0n, 'page 0'],
      ] as const) {
        equal(
          codeOf(() => space.allocate(4096, { at: where })),
          'ERR_VFIO_NO_IOVA',
          what,
        );
      }
      equal(
        codeOf(() => space.allocate(4096, { at: at + 1n })),
        'ERR_VFIO_ARGUMENT',
        'inside a page',
      );
      first.close();
      equal(space.allocate(4096, { at: at + 4096n }).address, at + 4096n, 'the address that was given back');
    },
  },
  {
    title: 'keeps what is short-lived apart from what stays',
    run: async (bench) => {
      using space = open(bench);
      await using _device = await device(bench, bench.edu, space);
      const staying: bigint[] = [];
      const passing: bigint[] = [];
      for (let turn = 0; turn < 50; turn++) {
        staying.push(space.allocate(4096).address);
        using short = space.allocate(4096 * (1 + (turn % 5)), { shortLived: true });
        passing.push(short.address);
      }
      const steps = staying.slice(1).map((address, index) => address - staying[index]!);
      equal(
        steps.every((step) => step === 4096n),
        true,
        'whether what stays lies without gaps',
      );
      equal(
        passing.every((address) => address < staying[0]! || address > staying[49]!),
        true,
        'whether the others are elsewhere',
      );
    },
  },
  {
    title: 'lets a device read what it may only read, and write what it may only write',
    run: async (bench) => {
      using space = open(bench);
      await using edu = await Edu.open(await device(bench, bench.edu, space));
      const below = 1n << 28n;
      const source = space.allocate(2048, { below, direction: 'device-reads' });
      const target = space.allocate(2048, { below, direction: 'device-writes' });
      fill(source.bytes, 4);
      await edu.copyIn(source, 2048);
      await edu.copyOut(target, 2048);
      equal(await sha256(target.bytes), await sha256(source.bytes), 'what arrived');
    },
  },
  {
    title:
      'refuses a mapping that exceeds the limit on locked memory before the kernel is asked, where the limit holds',
    run: async (bench) => {
      using space = open(bench);
      await using _device = await device(bench, bench.edu, space);
      const { memlock, largestFree } = space.headroom();
      equal(largestFree > 0n, true, 'whether there are free addresses');
      if (memlock.left === undefined || memlock.left === Number.POSITIVE_INFINITY) return;
      const asked = bench.asked?.();
      equal(
        codeOf(() => space.allocate(memlock.left! + 4096)),
        'ERR_VFIO_MEMLOCK',
        'a page more than is left',
      );
      equal(bench.asked?.(), asked, 'how often the kernel was asked');
    },
  },
];
