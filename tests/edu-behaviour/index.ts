/**
 * What the edu device does, as cases. The same cases run on the software model and on QEMU's device behind a real kernel's VFIO: the
 * model is right only where the two agree. Expected values are literals. Source: QEMU, docs/specs/edu.rst.
 */

import { Edu } from 'vfio-drivers-example';
import { interrupts } from 'vfio-irq';
import type { PciDevice } from 'vfio-pci';
import { equal } from '../support/equal.js';

/** Where the cases run. */
export interface EduBench {
  /** Opens the device by the full way: container, group, IOMMU, device. */
  readonly open: () => Promise<PciDevice>;
  /** Device addresses that the IOMMU has refused since the start; undefined where nothing translates. */
  readonly refused?: () => Promise<readonly Refusal[]>;
}

export interface Refusal {
  readonly address: bigint;
  readonly write: boolean;
}

export interface EduBehaviour {
  readonly title: string;
  readonly iommuOnly?: boolean;
  readonly run: (bench: EduBench) => Promise<void>;
}

const modes = ['msi', 'intx', 'polled'] as const;
const INSIDE = 0x40000n;

const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

async function withEdu(bench: EduBench, kind: (typeof modes)[number], work: (edu: Edu) => Promise<void>) {
  await using edu = await Edu.open(await bench.open(), { interrupts: kind, timeout: 60_000 });
  await work(edu);
}

/** Waits until the IOMMU has said that it refused an access to `address`: kernels report that a little later. */
async function refusal(bench: EduBench, edu: Edu, before: number, wanted: Refusal): Promise<void> {
  const { system } = edu.device.channel;
  let seen: readonly Refusal[] = [];
  for (let waited = 0; waited < 20_000; waited += 50) {
    seen = (await bench.refused?.())?.slice(before) ?? [];
    if (seen.some(({ address, write }) => address === wanted.address && write === wanted.write)) return;
    await system.sleep(50);
  }
  throw new Error(
    `the IOMMU refused no ${wanted.write ? 'write' : 'read'} at ${wanted.address}: ${seen.length} others`,
  );
}

const count = async (bench: EduBench) => (await bench.refused?.())?.length ?? 0;

export const eduBehaviour: readonly EduBehaviour[] = [
  {
    title: 'says who it is, and gives back the complement of what is written to its liveness register',
    run: (bench) =>
      withEdu(bench, 'polled', async (edu) => {
        equal(edu.identification, 0x010000ed, 'identification');
        equal(edu.invert(0x12345678), 0xedcba987, 'complement');
        equal(edu.invert(0), 0xffffffff, 'complement of 0');
      }),
  },
  {
    title: 'reads all-ones where it has no register, 0 for a narrow access, and takes 64-bit registers whole',
    run: (bench) =>
      withEdu(bench, 'polled', async (edu) => {
        const window = edu.device.bar(0).window(0, 0x100);
        equal(window.read32(0x0c), 0xffffffff, 'no register');
        equal(window.read16(0x04), 0, 'a narrow access');
        window.write64(0x80, 0x1_0000_0002n);
        window.write32(0x84, 7);
        equal(window.read64(0x80), 0x1_0000_0002n, 'after a store to the upper half');
        window.write32(0x80, 5);
        equal(window.read64(0x80), 5n, 'after a store to the lower half');
      }),
  },
  {
    title: 'computes modulo 2^32 what is too large',
    run: (bench) =>
      withEdu(bench, 'polled', async (edu) => {
        const { STATUS, FACTORIAL } = edu.registers;
        for (const [n, factorial] of [
          [13, 1932053504],
          [34, 0],
        ] as const) {
          FACTORIAL.write(n);
          const { system } = edu.device.channel;
          for (let waited = 0; STATUS.BUSY.read() === 1; waited++) {
            if (waited > 8000) throw new Error(`still busy with ${n}`);
            await system.sleep(5);
          }
          equal(FACTORIAL.read(), factorial, `${n}!`);
        }
      }),
  },
  ...modes.flatMap((kind): EduBehaviour[] => [
    {
      title: `${kind}: computes factorials`,
      run: (bench) =>
        withEdu(bench, kind, async (edu) => {
          for (const [n, factorial] of [
            [10, 3628800],
            [0, 1],
            [12, 479001600],
            [5, 120],
          ] as const) {
            equal(await edu.factorial(n), factorial, `${n}!`);
          }
          equal(edu.interruptCount, kind === 'polled' ? 0 : 4, 'interrupts');
        }),
    },
    {
      title: `${kind}: interrupts for each bit that is raised`,
      run: (bench) =>
        withEdu(bench, kind, async (edu) => {
          for (const bits of [1, 0x8000, 0x20]) equal(await edu.raise(bits), bits, 'IRQ_STATUS');
          equal(edu.interruptCount, kind === 'polled' ? 0 : 3, 'interrupts');
        }),
    },
    {
      title: `${kind}: copies 4095 bytes in and out again by DMA`,
      run: (bench) =>
        withEdu(bench, kind, async (edu) => {
          using buffer = edu.allocate(4095);
          const wanted = pattern(4095, 3);
          buffer.bytes.set(wanted);
          await edu.copyIn(buffer);
          buffer.bytes.fill(0);
          await edu.copyOut(buffer, 100, 1000);
          equal([...buffer.bytes.subarray(0, 100)], [...wanted.subarray(1000, 1100)], 'bytes 1000 to 1099');
          equal(
            buffer.bytes.subarray(100).every((byte) => byte === 0),
            true,
            'bytes beyond the copy untouched',
          );
          await edu.copyOut(buffer);
          equal([...buffer.bytes], [...wanted], 'all bytes');
          equal(edu.interruptCount, kind === 'polled' ? 0 : 3, 'interrupts');
        }),
    },
  ]),
  {
    title: '[IRQ-43] INTx comes once, and again only after it is unmasked',
    run: async (bench) => {
      await using device = await bench.open();
      await using set = await interrupts(device).enable('intx');
      const irq = set[0] as (typeof set)[number];
      equal(irq.automasked, true, 'automasked');
      const window = device.bar(0).window(0, 0x100);
      const lower = () => window.write32(0x64, window.read32(0x24));
      window.write32(0x60, 1);
      equal(await irq.once({ signal: AbortSignal.timeout(60_000) }), 1, 'first');
      lower();
      window.write32(0x60, 1);
      equal(irq.wait(200), 0, 'while masked');
      irq.unmask();
      equal(irq.wait(20_000), 1, 'after unmask');
      lower();
      irq.unmask();
      equal(irq.wait(200), 0, 'with the line low');
    },
  },
  {
    title: '[IRQ-46] INTx comes again at once when it is unmasked while the device still asserts its line',
    run: async (bench) => {
      await using device = await bench.open();
      await using set = await interrupts(device).enable('intx');
      const irq = set[0] as (typeof set)[number];
      const window = device.bar(0).window(0, 0x100);
      window.write32(0x60, 1);
      equal(irq.wait(20_000), 1, 'first');
      irq.unmask();
      equal(irq.wait(20_000), 1, 'again');
      window.write32(0x64, 1);
      irq.unmask();
      equal(irq.wait(200), 0, 'with the line low');
    },
  },
  {
    title: 'a DMA read of an address that is not mapped is refused by the IOMMU, and the device goes on',
    iommuOnly: true,
    run: (bench) =>
      withEdu(bench, 'msi', async (edu) => {
        const before = await count(bench);
        await edu.transfer(0x500_0000n, INSIDE, 64, false);
        await refusal(bench, edu, before, { address: 0x500_0000n, write: false });
        equal(await edu.factorial(5), 120, '5!');
      }),
  },
  {
    title: 'a DMA write to an address that is not mapped is refused by the IOMMU, and the device goes on',
    iommuOnly: true,
    run: (bench) =>
      withEdu(bench, 'msi', async (edu) => {
        const before = await count(bench);
        await edu.transfer(INSIDE, 0x501_0000n, 64, true);
        await refusal(bench, edu, before, { address: 0x501_0000n, write: true });
        equal(await edu.factorial(6), 720, '6!');
      }),
  },
  {
    title: 'a DMA write to a buffer that was closed is refused by the IOMMU',
    iommuOnly: true,
    run: (bench) =>
      withEdu(bench, 'msi', async (edu) => {
        const before = await count(bench);
        const buffer = edu.allocate(4095);
        const { address } = buffer;
        await edu.copyIn(buffer);
        buffer.close();
        await edu.transfer(INSIDE, address, 64, true);
        await refusal(bench, edu, before, { address, write: true });
      }),
  },
  {
    title: 'a DMA write to a buffer that the device may only read is refused by the IOMMU, and its bytes stay',
    iommuOnly: true,
    run: (bench) =>
      withEdu(bench, 'msi', async (edu) => {
        const before = await count(bench);
        using buffer = edu.device.dma.allocate(4095, { below: 1n << 28n, direction: 'device-reads' });
        buffer.bytes.fill(0x77);
        // The forbidden access first: once QEMU's IOMMU has cached the translation it still refuses, but reports nothing.
        await edu.transfer(INSIDE, buffer.address, 64, true);
        await refusal(bench, edu, before, { address: buffer.address, write: true });
        await edu.transfer(buffer.address, INSIDE, 4095, false);
        await edu.transfer(INSIDE, buffer.address, 64, true);
        equal(
          buffer.bytes.every((byte) => byte === 0x77),
          true,
          'bytes as the program left them',
        );
        using other = edu.allocate(4095);
        await edu.copyOut(other);
        equal(
          other.bytes.every((byte) => byte === 0x77),
          true,
          'bytes that the device was allowed to read',
        );
      }),
  },
  {
    title: 'reads what the program writes into its own memory after it was given to the device for reading',
    iommuOnly: true,
    run: (bench) =>
      withEdu(bench, 'msi', async (edu) => {
        // Nobody has touched this memory yet.
        const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
        using mapped = edu.device.dma.map(memory, { below: 1n << 28n, direction: 'device-reads' });
        mapped.bytes.fill(0x3c);
        await edu.transfer(mapped.address + 0x8000n, INSIDE, 4095, false);
        using other = edu.allocate(4095);
        await edu.copyOut(other);
        equal(
          other.bytes.every((byte) => byte === 0x3c),
          true,
          'bytes that the program wrote',
        );
      }),
  },
];
