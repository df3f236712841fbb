// A first driver, one page from nothing to an interrupt and DMA: QEMU's edu device.

import { interrupts } from 'vfio-irq';
import { bit, type PciDevice, reg32, reg64, registers } from 'vfio-pci';

const EDU = registers('edu', {
  FACTORIAL: reg32(0x08, 'RW'),
  STATUS: reg32(0x20, 'RW', { BUSY: bit(0, 'RO'), RAISE_IRQ: bit(7, 'RW') }),
  IRQ_STATUS: reg32(0x24, 'RO'),
  IRQ_ACK: reg32(0x64, 'WO'),
  DMA_SOURCE: reg64(0x80, 'RW', { access: 64 }), // edu drops a store to one half
  DMA_DESTINATION: reg64(0x88, 'RW', { access: 64 }),
  DMA_COUNT: reg64(0x90, 'RW', { access: 64 }),
  DMA_COMMAND: reg64(0x98, 'RW', { access: 64 }),
});
/** Where the device's own 4 KiB of memory stand in its address space. */
const INSIDE = 0x40000n;
const START = 1n;
const FROM_DEVICE = 2n;
const INTERRUPT = 4n;

export async function firstDriver(open: () => Promise<PciDevice>): Promise<{ factorial: number; copied: string }> {
  await using device = await open();
  const regs = device.bar(0).registers(EDU);
  device.busMaster.enable(); // DMA and message-signalled interrupts need it; nobody else turns it on
  await using irqs = await interrupts(device).enable('msi', 1);
  const [irq] = irqs;
  const interrupted = async () => {
    await irq!.once({ signal: AbortSignal.timeout(20_000) });
    regs.IRQ_ACK.write(regs.IRQ_STATUS.read());
  };

  regs.STATUS.RAISE_IRQ.write(1);
  regs.FACTORIAL.write(10);
  await interrupted();
  const factorial = regs.FACTORIAL.read();

  using buffer = device.dma.allocate(4096, { below: 1n << 28n }); // edu reaches 28 bits
  const copy = async (source: bigint, destination: bigint, command: bigint) => {
    regs.DMA_SOURCE.write(source);
    regs.DMA_DESTINATION.write(destination);
    regs.DMA_COUNT.write(16n);
    regs.DMA_COMMAND.write(command | START | INTERRUPT);
    await interrupted();
  };
  buffer.bytes.set(new TextEncoder().encode('through a device'));
  await copy(buffer.address, INSIDE, 0n);
  buffer.bytes.fill(0);
  await copy(INSIDE, buffer.address, FROM_DEVICE);
  return { factorial, copied: new TextDecoder().decode(buffer.bytes.subarray(0, 16)) };
}
