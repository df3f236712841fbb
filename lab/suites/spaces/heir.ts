/**
 * A process without rights, which its parent gave open files: descriptor 3 and 4 are a container and a group, or an iommufd and a
 * device's own file. Prints what came of moving bytes through the device as JSON.
 */
import { Edu } from 'vfio-drivers-example';
import { PciDevice } from 'vfio-pci';

const [kind, address = ''] = process.argv.slice(2);
const descriptors = kind === 'container' ? { container: 3, group: 4 } : { iommufd: 3, device: 4 };
const result: Record<string, unknown> = { user: process.getuid?.() };
try {
  const device = await PciDevice.open(address, { descriptors });
  await using edu = await Edu.open(device);
  const [source, target] = [1, 2].map(() => device.dma.allocate(1024, { below: 1n << 28n }));
  if (source === undefined || target === undefined) throw new Error('no buffers');
  source.bytes.forEach((_, index, bytes) => {
    bytes[index] = (index * 7) & 0xff;
  });
  await edu.copyIn(source, 1024);
  await edu.copyOut(target, 1024);
  result.equal = target.bytes.every((byte, index) => byte === ((index * 7) & 0xff));
  result.way = device.dma.way;
  result.memlock = device.dma.headroom().memlock.limit;
} catch (thrown) {
  result.error = String(thrown);
}
console.log(JSON.stringify(result));
