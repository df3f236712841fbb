// Memory that the program already has: compiled code works on what the device delivers, without a copy.
import { Nvme } from 'vfio-drivers-example';
import type { PciDevice } from 'vfio-pci';
import { compiledChecksum } from './09-checksum.js';

export async function checksumOfDisk(open: () => Promise<PciDevice>): Promise<{ checksum: number; bytes: number }> {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
  const checksum = await compiledChecksum(memory);
  await using nvme = await Nvme.open(await open());
  using mapping = nvme.dma.map(memory); // page-aligned, stays where it is
  await nvme.namespaces[0]!.read(0n, mapping);
  return { checksum: checksum(0, mapping.length), bytes: mapping.length };
}
