/**
 * A driver of one page for QEMU's teaching device: registers, an interrupt, DMA. Source: QEMU, docs/specs/edu.rst.
 *
 * Read it from top to bottom; the NVMe driver beside it does the same things, only more of them.
 */

import { type Device, type DmaBuffer, type SystemCalls, VfioError } from 'vfio-core';
import { type InterruptSet, interrupts } from 'vfio-irq';
import { bit, bits, type PciDevice, type RegistersOf, reg32, reg64, registers } from 'vfio-pci';
import { takeDevice } from '../take-device.js';

/** Registers in BAR 0: 32-bit accesses below 80h; from there on 64 bits at once, since a store to one half is lost or clears the other. */
export const EDU = registers('edu', {
  IDENTIFICATION: reg32(0x00, 'RO', { MAGIC: bits(7, 0, 'RO'), MINOR: bits(23, 16, 'RO'), MAJOR: bits(31, 24, 'RO') }),
  LIVENESS: reg32(0x04, 'RW', { text: 'reads the complement of what was written' }),
  FACTORIAL: reg32(0x08, 'RW', { text: 'write n, read n! once STATUS.BUSY is 0' }),
  STATUS: reg32(0x20, 'RW', {
    BUSY: bit(0, 'RO'),
    RAISE_IRQ: bit(7, 'RW', { text: 'interrupt at the end of a factorial' }),
  }),
  IRQ_STATUS: reg32(0x24, 'RO', { FACTORIAL: bit(0, 'RO'), DMA: bit(8, 'RO') }),
  IRQ_RAISE: reg32(0x60, 'WO'),
  IRQ_ACK: reg32(0x64, 'WO'),
  DMA_SRC: reg64(0x80, 'RW', { access: 64 }),
  DMA_DST: reg64(0x88, 'RW', { access: 64 }),
  DMA_COUNT: reg64(0x90, 'RW', { access: 64, unit: 'bytes' }),
  DMA_CMD: reg64(0x98, 'RW', { RUN: bit(0, 'RW'), TO_MEMORY: bit(1, 'RW'), RAISE_IRQ: bit(2, 'RW') }, { access: 64 }),
});

/**
 * The buffer inside the device, in the address space of its DMA engine. It has 4096 bytes, but QEMU before 8.0 ends itself
 * when a transfer touches the last one, so this driver leaves it alone.
 */
export const EDU_BUFFER = { address: 0x40000n, bytes: 4095 } as const;
/** The device reaches 28 bits of address. */
export const EDU_REACH = 1n << 28n;

const MAGIC = 0xed;
const FACTORIAL_DONE = 1 << 0;
const DMA_DONE = 1 << 8;

/** Options of {@link Edu.open}. */
export interface EduOptions {
  /** For an address: where the system calls go. */
  readonly backend?: SystemCalls;
  /** `msi` by default. `polled` uses no interrupt. */
  readonly interrupts?: 'msi' | 'intx' | 'polled';
  /** ms that anything may take; 2000 by default. */
  readonly timeout?: number;
}

/** An open edu device. */
export class Edu implements AsyncDisposable, Disposable {
  readonly registers: RegistersOf<typeof EDU>;
  /** Interrupts taken so far. */
  interruptCount = 0;

  /** By address, or on a device that is open already, which is then closed with it. Throws `ERR_VFIO_NOT_SUPPORTED` for another device. */
  static async open(target: string | Device, options: EduOptions = {}): Promise<Edu> {
    const { backend, interrupts: kind = 'msi', timeout = 2000 } = options;
    return takeDevice(target, backend, async (device) => {
      const regs = device.bar(0).registers(EDU);
      const identification = regs.IDENTIFICATION.read();
      if (identification === 0xffffffff) {
        throw new VfioError('ERR_VFIO_DEVICE_GONE', `${device.address} answers all-ones.`);
      }
      if ((identification & 0xff) !== MAGIC) {
        throw new VfioError(
          'ERR_VFIO_NOT_SUPPORTED',
          `${device.address} is no edu device: it says 0x${identification.toString(16)}.`,
          {
            remedy: 'Start QEMU with -device edu, or use the simulation.',
            details: { identification },
          },
        );
      }
      // DMA and message-signalled interrupts are the device's own accesses to the bus. Nobody else turns this on.
      device.busMaster.enable();
      const irqs = kind === 'polled' ? undefined : await interrupts(device).enable(kind, 1);
      return new Edu(device, regs, irqs, timeout);
    });
  }

  private constructor(
    readonly device: PciDevice,
    regs: RegistersOf<typeof EDU>,
    private readonly irqs: InterruptSet | undefined,
    private readonly timeout: number,
  ) {
    this.registers = regs;
  }

  /** `RRrr00edh`: major and minor version. */
  get identification(): number {
    return this.registers.IDENTIFICATION.read();
  }

  /** The device's inverter: proof that it answers. */
  invert(value: number): number {
    this.registers.LIVENESS.write(value);
    return this.registers.LIVENESS.read();
  }

  /**
   * n!, computed by the device. Throws `ERR_VFIO_TIMEOUT`, or why the device does not answer, as all calls here do:
   * `ERR_VFIO_DEVICE_GONE`, `ERR_VFIO_DEVICE_ASLEEP`.
   * @param n 0 to 12; 13! does not fit into 32 bits
   */
  async factorial(n: number): Promise<number> {
    if (!Number.isInteger(n) || n < 0 || n > 12) {
      throw new VfioError('ERR_VFIO_ARGUMENT', `edu computes factorials of 0 to 12, not ${n}.`, { details: { n } });
    }
    const { STATUS, FACTORIAL } = this.registers;
    STATUS.RAISE_IRQ.write(this.irqs === undefined ? 0 : 1);
    FACTORIAL.write(n);
    if (this.irqs === undefined) await this.until('compute', () => STATUS.BUSY.read() === 0);
    else await this.interrupt(FACTORIAL_DONE);
    return this.answered(FACTORIAL.read());
  }

  /**
   * Lets the device interrupt, and waits for that. Throws `ERR_VFIO_TIMEOUT`.
   * @param value bits for IRQ_STATUS, not 0
   * @returns IRQ_STATUS at the interrupt
   */
  async raise(value: number): Promise<number> {
    this.registers.IRQ_RAISE.write(value);
    return this.interrupt(value);
  }

  /** Memory in the device's reach. */
  allocate(bytes: number): DmaBuffer {
    return this.device.dma.allocate(bytes, { below: EDU_REACH });
  }

  /** Copies the first `bytes` bytes of `buffer` (all by default; 4095 at most) into the device, to byte `at` of its buffer. */
  async copyIn(buffer: DmaBuffer, bytes: number = buffer.length, at = 0): Promise<void> {
    await this.transfer(buffer.address, EDU_BUFFER.address + BigInt(at), bytes, false);
  }

  /** Copies from byte `at` of the device's buffer into `buffer`. */
  async copyOut(buffer: DmaBuffer, bytes: number = buffer.length, at = 0): Promise<void> {
    await this.transfer(EDU_BUFFER.address + BigInt(at), buffer.address, bytes, true);
  }

  /**
   * One run of the DMA engine between a device address and the device's own buffer. Throws `ERR_VFIO_ARGUMENT` for what the
   * device does not reach (QEMU ends itself when told to leave the buffer), `ERR_VFIO_TIMEOUT`.
   *
   * An address where nothing is mapped is the IOMMU's to refuse: the device ends as if all was well.
   */
  async transfer(source: bigint, destination: bigint, bytes: number, toMemory: boolean): Promise<void> {
    const [inside, memory] = toMemory ? [source, destination] : [destination, source];
    const at = inside - EDU_BUFFER.address;
    const fits = Number.isInteger(bytes) && bytes > 0 && at >= 0n && at + BigInt(bytes) <= BigInt(EDU_BUFFER.bytes);
    if (!fits || memory < 0n || memory + BigInt(bytes) > EDU_REACH) {
      throw new VfioError(
        'ERR_VFIO_ARGUMENT',
        `edu cannot move ${bytes} bytes between byte ${at} of its buffer and address ${memory}.`,
        {
          remedy: 'The buffer has 4095 usable bytes, and memory must be below 256 MiB: use edu.allocate(bytes).',
          details: { bytes, at, memory },
        },
      );
    }
    const { DMA_SRC, DMA_DST, DMA_COUNT, DMA_CMD } = this.registers;
    DMA_SRC.write(source);
    DMA_DST.write(destination);
    DMA_COUNT.write(BigInt(bytes));
    DMA_CMD.set({ RUN: 1, TO_MEMORY: toMemory ? 1 : 0, RAISE_IRQ: this.irqs === undefined ? 0 : 1 });
    if (this.irqs !== undefined) await this.interrupt(DMA_DONE);
    await this.until('transfer', () => DMA_CMD.RUN.read() === 0);
  }

  /** Interrupts off, bus mastering off, device closed, memory freed. Idempotent. */
  close(): void {
    this.device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device[Symbol.asyncDispose]();
  }

  /** Waits until an interrupt for one of `bits` came; acknowledges what is there. */
  private async interrupt(wanted: number): Promise<number> {
    const { IRQ_STATUS, IRQ_ACK } = this.registers;
    const irq = this.irqs?.[0];
    if (irq === undefined) {
      await this.until('interrupt', () => (IRQ_STATUS.read() & wanted) !== 0);
      const status = this.answered(IRQ_STATUS.read());
      IRQ_ACK.write(status);
      return status;
    }
    const signal = AbortSignal.timeout(this.timeout);
    for (;;) {
      try {
        this.interruptCount += await irq.once({ signal });
      } catch (error) {
        if (signal.aborted) throw this.late('interrupt');
        throw error;
      }
      const status = this.answered(IRQ_STATUS.read());
      IRQ_ACK.write(status); // lowers the line, so that unmasking it does not interrupt again
      if (irq.automasked) irq.unmask();
      if ((status & wanted) !== 0) return status;
    }
  }

  private async until(what: string, done: () => boolean): Promise<void> {
    const { system } = this.device.channel;
    for (const start = system.now(); !done(); await system.sleep(1)) {
      if (system.now() - start > this.timeout) throw this.late(what);
    }
  }

  /** All-ones is what an empty bus answers, and 0 no factorial and no reason for an interrupt: then asks whether the device is there. */
  private answered(value: number): number {
    if (value === 0xffffffff || value === 0) this.device.checkAlive();
    return value;
  }

  /** A device that does not answer is not late: throws that instead. */
  private late(what: string): VfioError {
    this.device.checkAlive();
    return new VfioError('ERR_VFIO_TIMEOUT', `edu did not ${what} within ${this.timeout} ms.`, {
      details: { timeout: this.timeout },
    });
  }
}
