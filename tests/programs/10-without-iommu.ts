// Without an IOMMU, on purpose: the same driver.
import type { SystemCalls } from 'vfio-core';
import { Nvme } from 'vfio-drivers-example';
import { openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';

export async function roundTripWithoutIommu(
  address: string,
  options: { backend?: SystemCalls } = {},
): Promise<boolean> {
  const device = PciDevice.from(
    await openUnsafe(address, {
      acknowledge: 'this device can read and write all memory of this machine',
      ...options,
    }),
  );
  await using nvme = await Nvme.open(device);
  const disk = nvme.namespaces[0]!;
  using buffer = nvme.dma.allocate(65536);
  for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = i * 13;
  await disk.write(0n, buffer);
  buffer.bytes.fill(0);
  await disk.read(0n, buffer);
  return buffer.bytes.every((byte, i) => byte === ((i * 13) & 255));
}
