// Failing well: what a newcomer sees first is usually an error.
import { isVfioError } from 'vfio-core';
import { PciDevice } from 'vfio-pci';
import { edu, simulation } from 'vfio-sim';

export async function openNotViable(): Promise<string> {
  const backend = simulation({
    devices: { '0000:01:00.0': edu() },
    groups: { 7: ['0000:01:00.0', { address: '0000:01:00.1', driver: 'snd_hda_intel', class: 0x040300 }] },
  });
  try {
    (await PciDevice.open('0000:01:00.0', { backend })).close();
    return 'opened';
  } catch (error) {
    if (!isVfioError(error)) throw error;
    return error.message;
  }
}
