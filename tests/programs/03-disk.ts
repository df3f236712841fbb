// A disk: read a buffer, and stream the rest.
import { Nvme } from 'vfio-drivers-example';
import type { PciDevice } from 'vfio-pci';

export async function readDisk(
  open: () => Promise<PciDevice>,
): Promise<{ first: Uint8Array; streamed: number; same: boolean }> {
  await using nvme = await Nvme.open(await open());
  const [disk] = nvme.namespaces;
  if (disk === undefined) throw new Error('no namespace');
  using buffer = nvme.dma.allocate(1 << 20, { contiguous: false });
  await disk.read(0n, buffer);
  const first = buffer.bytes.slice();
  let streamed = 0;
  let same = true;
  for await (const chunk of disk.stream({ from: 0n, blocks: (4 << 20) / disk.blockSize })) {
    if (streamed === 0) same = chunk.every((byte, i) => byte === first[i]);
    streamed += chunk.length;
  }
  return { first, streamed, same };
}
