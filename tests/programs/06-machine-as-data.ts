// A machine as data: what does my program say to a group that is not viable, and to a small limit on locked memory?
import { isVfioError, type VfioError } from 'vfio-core';
import { PciDevice } from 'vfio-pci';
import { type SimulationOptions, simulation } from 'vfio-sim';

const nic = '0000:01:00.0';
const neighbours = [
  { address: '0000:00:01.0', driver: 'pcieport' },
  { address: '0000:01:00.1', driver: 'xhci_hcd' },
];

/** My program, as far as it gets: it opens its device and takes a megabyte for it. */
async function run(machine: SimulationOptions): Promise<VfioError | 'it runs'> {
  const backend = simulation(machine);
  try {
    await using device = await PciDevice.open(nic, { backend });
    device.dma.allocate(1 << 20);
    return 'it runs';
  } catch (error) {
    if (!isVfioError(error)) throw error;
    return error;
  }
}

export const alone = () => run({ kernel: '6.12', groups: { 7: [nic] } });

/** A group with a bridge and a USB controller. */
export const crowded = () => run({ kernel: '6.12', groups: { 7: [nic, ...neighbours] } });

/** The same, once what the error says was done: the controller is bound, and the bridge is left alone. */
export const cured = () =>
  run({ kernel: '6.12', groups: { 7: [nic, neighbours[0]!, { ...neighbours[1]!, driver: 'vfio-pci' }] } });

/** 64 KiB of locked memory, the default of many distributions. */
export const tight = () => run({ kernel: '6.12', groups: { 7: [nic] }, memlock: 64 << 10 });
