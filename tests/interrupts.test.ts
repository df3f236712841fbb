import { type Device, openDevice, RegionIndex } from 'vfio-core';
import { interrupts } from 'vfio-irq';
import { acknowledgement, leftoverFiles, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';
import { edu, simulation } from 'vfio-sim';
import { describe, expect, it } from 'vitest';

const address = '0000:01:00.0';
/** Registers of edu. Source: docs/specs/edu.rst of QEMU. */
const [IRQ_STATUS, RAISE, ACKNOWLEDGE] = [0x24, 0x60, 0x64];

/** edu with its registers: `raise` asks for an interrupt, `lower` acknowledges all. */
async function open() {
  const backend = simulation({ devices: { [address]: edu() } });
  const device = await openDevice(address, { backend });
  const command = new Uint8Array(2);
  device.channel.read(RegionIndex.CONFIG, 4, command);
  command[0]! |= 6;
  device.channel.write(RegionIndex.CONFIG, 4, command);
  const registers = device.channel.window(RegionIndex.BAR0, 0, 0x100);
  return {
    backend,
    device,
    raise: () => registers.write32(RAISE, 1),
    lower: () => registers.write32(ACKNOWLEDGE, registers.read32(IRQ_STATUS)),
  };
}

describe('interrupts on the simulation', () => {
  it('[IRQ-43] INTx comes once until it is unmasked', async () => {
    const { device, raise, lower, backend } = await open();
    const [irq] = await interrupts(device).enable('intx');
    raise();
    expect(await irq!.once()).toBe(1);
    lower();
    raise();
    expect(irq!.wait(50)).toBe(0);
    irq!.unmask();
    expect(irq!.wait(50)).toBe(1);
    lower();
    irq!.unmask();
    expect(irq!.wait(50)).toBe(0);
    device.close();
    expect(backend.openFds).toEqual([]);
  });

  it('[IRQ-46] INTx comes again at once when it is unmasked while the device still asserts', async () => {
    const { device, raise } = await open();
    const [irq] = await interrupts(device).enable('intx');
    raise();
    expect(irq!.wait(50)).toBe(1);
    irq!.unmask();
    expect(irq!.wait(50)).toBe(1);
    device.close();
  });

  it('MSI arrives in all ways of waiting', async () => {
    const { device, raise, lower } = await open();
    await using irqs = await interrupts(device).enable('msi', 1);
    const again = (): void => {
      lower();
      raise();
    };
    again();
    expect(await irqs[0].once()).toBe(1);
    again();
    expect(irqs[0].wait(50)).toBe(1);
    again();
    for await (const count of irqs[0]) {
      expect(count).toBe(1);
      break;
    }
    irqs[0].trigger();
    expect(await irqs[0].once()).toBe(1);
    device.close();
  });

  it('an unplug or unbind asks for the device', async () => {
    const { device } = await open();
    const requests = interrupts(device).requests();
    requests.trigger();
    expect(await requests.once()).toBe(1);
    device.close();
  });

  it('are the same of a device and of the PciDevice around it', async () => {
    const { device } = await open();
    expect(interrupts(PciDevice.from(device))).toBe(interrupts(device));
    device.close();
  });

  it('says in words that MSI will not arrive while bus mastering is off', async () => {
    const backend = simulation({ devices: { [address]: edu() } });
    const device = await openDevice(address, { backend });
    const said: string[] = [];
    await interrupts(device).enable('msi', 1, { onWarning: (message) => said.push(message) });
    expect(said).toEqual([expect.stringContaining('busMaster.enable()')]);
    device.close();
  });
});

describe('without an IOMMU on the simulation', () => {
  const acknowledge = acknowledgement;
  const unsafe = (options: Partial<Parameters<typeof simulation>[0]> = {}) => {
    const backend = simulation({ devices: { [address]: edu() }, noiommu: true, ...options });
    return { backend, opened: openUnsafe(address, { acknowledge, backend }) };
  };

  it('memory is where the device finds it, and nothing is left at the end', async () => {
    const { backend, opened } = unsafe();
    const device: Device = await opened;
    using buffer = device.dma.allocate(8192);
    expect(buffer.address).toBeGreaterThan(0n);
    expect(buffer.bytes.every((byte) => byte === 0)).toBe(true);
    expect(backend.list('/dev/hugepages')).toHaveLength(1);
    expect(leftoverFiles(address, { backend })).toEqual([]);
    device.close();
    expect(backend.list('/dev/hugepages')).toEqual([]);
    expect(backend.openFds).toEqual([]);
  });

  it('[NOI-4] a device with an IOMMU is refused', async () => {
    const { opened } = unsafe({ noiommu: false });
    await expect(opened).rejects.toMatchObject({ code: 'ERR_VFIO_NOT_SUPPORTED' });
  });
});
