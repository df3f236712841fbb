// The smallest whole run: a driver on a simulated controller. Bundled and run where only web-standard globals exist.
import { Nvme } from 'vfio-drivers-example';
import { memoryDisk, nvmeController, simulation } from 'vfio-sim';

export async function roundtrip(): Promise<string> {
  const backend = simulation({ devices: { '0000:01:00.0': nvmeController({ disks: [memoryDisk(1 << 20)] }) } });
  const nvme = await Nvme.open('0000:01:00.0', { backend });
  try {
    const disk = nvme.namespaces[0]!;
    const buffer = nvme.dma.allocate(65536);
    for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = i * 7;
    await disk.write(8n, buffer);
    await disk.flush();
    buffer.bytes.fill(0);
    await disk.read(8n, buffer);
    for (let i = 0; i < buffer.length; i++)
      if (buffer.bytes[i] !== ((i * 7) & 255)) return `byte ${i} is ${buffer.bytes[i]}`;
    buffer.close();
    return `${nvme.interruptMode}: 65536 bytes match`;
  } finally {
    await nvme[Symbol.asyncDispose]();
    backend.close();
  }
}
