import { defaultBackend, type SystemCalls, VfioError } from 'vfio-core';
import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { findDevice, hostUsage, PciDevice } from 'vfio-pci';
import { memoryDisk, nvmeController, simulation } from 'vfio-sim';

/** The controller that the demo drives. */
export interface Target {
  readonly backend: SystemCalls;
  readonly address: string;
  /** Whether its contents may be overwritten. */
  readonly writable: boolean;
  open(): Promise<PciDevice>;
}

const MiB = 2 ** 20;

/** A controller in software with two namespaces, of 512- and 4096-byte blocks. */
export function simulatedTarget(): Target {
  const address = '0000:01:00.0';
  const disks = [memoryDisk(256 * MiB, { blockSize: 512 }), memoryDisk(256 * MiB, { blockSize: 4096 })];
  const backend = simulation({ devices: { [address]: nvmeController({ disks }) } });
  return { backend, address, writable: true, open: () => PciDevice.open(address, { backend }) };
}

/**
 * A real controller. Throws `ERR_VFIO_DEVICE_IN_USE` for a disk that is mounted, held by another block device, or in use as swap; opens
 * nothing yet.
 */
export function realTarget(address: string, options: { destroyData: boolean; unsafe: boolean }): Target {
  const backend = defaultBackend();
  const fn = findDevice(address, { backend });
  const usage = hostUsage(fn.address, { backend });
  if (usage.length > 0)
    throw new VfioError(
      'ERR_VFIO_DEVICE_IN_USE',
      `${fn.address} (${fn.name}) is in use: ${usage.map((use) => use.description).join('; ')}.`,
      { details: { address: fn.address, usage } },
    );
  const open = async () =>
    options.unsafe
      ? PciDevice.from(await openUnsafe(fn.address, { acknowledge: acknowledgement, backend }))
      : PciDevice.open(fn.address, { backend });
  return { backend, address: fn.address, writable: options.destroyData, open };
}
