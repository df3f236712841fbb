import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The block device of the namespace of a controller that the kernel's driver holds. */
export async function blockDevice(address: string): Promise<string> {
  const base = `/sys/bus/pci/devices/${address}/nvme`;
  for (let waited = 0; waited < 90_000; waited += 100) {
    try {
      const [controller] = readdirSync(base);
      const disk = readdirSync(join(base, controller as string)).find((name) => /^nvme\d+(c\d+)?n\d+$/.test(name));
      if (disk !== undefined) {
        statSync(`/dev/${disk}`);
        return `/dev/${disk}`;
      }
    } catch {
      // Not there yet: the driver probes in the background.
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`the kernel's driver made no block device for ${address}`);
}
