import { IrqIndex, isVfioError, type SystemCalls } from 'vfio-core';
import { findDevice, hostUsage, PciDevice } from 'vfio-pci';
import { bytes, hex, json, type Output, table } from '../output.js';

const irqNames = Object.entries(IrqIndex);
const regionNames = ['BAR 0', 'BAR 1', 'BAR 2', 'BAR 3', 'BAR 4', 'BAR 5', 'ROM', 'config', 'VGA'];

/** What only an open device tells; undefined where it cannot be opened, with the reason. */
async function opened(system: SystemCalls, address: string) {
  const device = await PciDevice.open(address, { backend: system });
  try {
    const { channel } = device;
    const info = channel.info();
    const regions = [];
    for (let index = 0; index < info.regionCount; index++) {
      // The VGA region exists for VGA devices only; for others the kernel refuses to describe it.
      if (index === 8 && device.classCode >> 8 !== 0x0300) continue;
      const { size, readable, writable, mappable } = channel.region(index);
      if (size > 0)
        regions.push({ index, name: regionNames[index] ?? `region ${index}`, size, readable, writable, mappable });
    }
    const interrupts = [];
    for (const [name, index] of irqNames) {
      try {
        const { count, maskable, automasked } = channel.irq(index);
        if (count > 0) interrupts.push({ name, count, maskable, automasked });
      } catch (error) {
        // An index that this kernel does not describe for this device (ERR on a conventional one) is one that it does not have.
        if (!isVfioError(error)) throw error;
      }
    }
    const capabilities = [...device.config.capabilities()].map(({ id, name, offset }) => ({ id, name, offset }));
    return { resettable: info.resettable, regions, interrupts, capabilities };
  } finally {
    device.close();
  }
}

/** `vfio info ADDRESS`: what sysfs says, and, where the device is bound to vfio-pci and can be opened, its regions, interrupts and capabilities. */
export async function info(
  system: SystemCalls,
  output: Output,
  address: string,
  options: { json?: boolean },
): Promise<number> {
  const fn = findDevice(address, { backend: system });
  const members = fn.iommuGroup?.members() ?? [];
  let device: Awaited<ReturnType<typeof opened>> | undefined;
  let reason: string | undefined;
  if (fn.driver === 'vfio-pci') {
    try {
      device = await opened(system, fn.address);
    } catch (error) {
      if (!isVfioError(error)) throw error;
      reason = error.message;
    }
  } else reason = `not opened: bound to ${fn.driver ?? 'no driver'}, not to vfio-pci`;

  const usage = hostUsage(fn.address, { backend: system });
  if (options.json) {
    output.out(
      json({
        address: fn.address,
        name: fn.name,
        vendor: fn.vendor,
        device: fn.device,
        subsystemVendor: fn.subsystemVendor,
        subsystemDevice: fn.subsystemDevice,
        class: fn.classCode,
        className: fn.className,
        revision: fn.revision,
        driver: fn.driver ?? null,
        iommuGroup: fn.iommuGroup?.id ?? null,
        members: members.map(({ address: name, driver, className, blocksGroup }) => ({
          address: name,
          driver: driver ?? null,
          className,
          blocksGroup,
        })),
        inUse: usage,
        opened: device ?? null,
        notOpened: reason ?? null,
      }),
    );
    return 0;
  }
  const ids = `${hex(fn.vendor, 4)}:${hex(fn.device, 4)}`;
  output.out(`${fn.address}  ${fn.name}  [${ids}]  ${fn.className}, revision ${fn.revision}`);
  output.out(`driver       ${fn.driver ?? '-'}`);
  output.out(`IOMMU group  ${fn.iommuGroup?.id ?? 'none'}`);
  for (const member of members)
    if (member.address !== fn.address)
      output.out(`             with ${member.address} ${member.className}, ${member.driver ?? 'no driver'}`);
  for (const use of usage) output.out(`in use       ${use.description}`);
  if (device === undefined) {
    output.out(reason ?? '');
    return 0;
  }
  output.out(`reset        ${device.resettable ? 'function reset' : 'none'}`);
  output.out('');
  output.out(
    table(
      ['REGION', 'SIZE', 'ACCESS'],
      device.regions.map((region) => [
        region.name,
        bytes(region.size),
        [region.readable && 'read', region.writable && 'write', region.mappable && 'map'].filter(Boolean).join(', '),
      ]),
    ),
  );
  output.out('');
  output.out(
    table(
      ['INTERRUPT', 'COUNT'],
      device.interrupts.map(({ name, count }) => [name, String(count)]),
    ),
  );
  output.out('');
  output.out(
    table(
      ['AT', 'CAPABILITY'],
      device.capabilities.map(({ name, offset }) => [`0x${hex(offset, 2)}`, name]),
    ),
  );
  return 0;
}
