/**
 * The controller's registers in use: what it can do, disabling, enabling, shutting down. Every wait is bounded.
 * Source: NVM Express Base 1.4, sections 3.1, 7.6.1 (initialization) and 7.6.2 (shutdown).
 */

import { type DmaBuffer, type RegisterWindow, type SystemCalls, VfioError } from 'vfio-core';
import { bindRegisters, type RegistersOf } from 'vfio-pci';
import { COMPLETION_SHIFT, ENTRY_SHIFT } from './commands.js';
import { NVME, SMALLEST_PAGE_SHIFT } from './registers.js';
import { checkStatus } from './watch.js';

/** What CAP says, in plain units. */
export interface ControllerLimits {
  /** Entries of the largest I/O queue. */
  readonly queueDepth: number;
  /** ms for a change of CC.EN to take effect. */
  readonly readyTimeout: number;
  /** Bytes from doorbell to doorbell. */
  readonly doorbellStride: number;
  /** Memory page that this driver uses, bytes: the smallest that the controller takes. */
  readonly pageSize: number;
}

/** ms that a shutdown may take where the controller does not say (RTD3E is 0). */
const SHUTDOWN_TIMEOUT = 5000;

export class ControllerHardware {
  readonly registers: RegistersOf<typeof NVME>;
  readonly limits: ControllerLimits;

  /** Throws `ERR_VFIO_DEVICE_GONE` for a device that answers all-ones, `ERR_NVME_CONTROLLER` for one that this driver cannot run. */
  constructor(
    readonly window: RegisterWindow,
    private readonly system: SystemCalls,
    /** Throws why the device does not answer, as `PciDevice.checkAlive` does. */
    private readonly checkAlive: () => void,
  ) {
    this.registers = bindRegisters(window, NVME);
    this.alive();
    const cap = this.registers.CAP.fields();
    if ((cap.CSS & 1) === 0) {
      throw new VfioError('ERR_NVME_CONTROLLER', 'The controller does not have the NVM command set (CAP.CSS).', {
        details: { commandSets: cap.CSS },
      });
    }
    this.limits = {
      queueDepth: cap.MQES + 1,
      readyTimeout: Math.max(1, cap.TO) * 500,
      doorbellStride: 4 << cap.DSTRD,
      pageSize: 2 ** (SMALLEST_PAGE_SHIFT + cap.MPSMIN),
    };
  }

  /** CC.EN to 0, then waits for CSTS.RDY to follow: from then on the controller touches no memory. Throws `ERR_NVME_NOT_READY`. */
  async disable(): Promise<void> {
    this.alive();
    this.stop();
    // A fatal state is what disabling ends, so it is no reason to stop here.
    await this.wait('become not ready', this.limits.readyTimeout, () => {
      this.alive();
      return this.registers.CSTS.RDY.read() === 0;
    });
  }

  /** CC.EN to 0, without waiting: for a close that cannot wait. Bus mastering goes off after it. */
  stop(): void {
    this.registers.CC.update({ EN: 0, SHN: 'NONE' });
  }

  /**
   * Section 7.6.1: the admin queue's place, then the configuration and CC.EN to 1, then waits for CSTS.RDY.
   * Throws `ERR_NVME_NOT_READY`, `ERR_NVME_FATAL`.
   */
  async enable(submission: DmaBuffer, completion: DmaBuffer, depth: number): Promise<void> {
    const { registers, limits } = this;
    registers.AQA.set({ ASQS: depth - 1, ACQS: depth - 1 });
    registers.ASQ.write(submission.address);
    registers.ACQ.write(completion.address);
    registers.CC.set({
      EN: 1,
      CSS: 'NVM',
      MPS: Math.log2(limits.pageSize) - SMALLEST_PAGE_SHIFT,
      AMS: 'ROUND_ROBIN',
      SHN: 'NONE',
      IOSQES: ENTRY_SHIFT,
      IOCQES: COMPLETION_SHIFT,
    });
    await this.wait('become ready', limits.readyTimeout, () => (checkStatus(this.window, this.checkAlive) & 1) === 1);
  }

  /**
   * Section 7.6.2: a normal shutdown, so that caches are written out. The queues are gone already.
   * Throws `ERR_NVME_NOT_READY` where it does not end in time.
   * @param microseconds RTD3E of Identify Controller, 0 where not reported
   */
  async shutdown(microseconds: number): Promise<void> {
    this.registers.CC.SHN.write('NORMAL');
    await this.wait('shut down', microseconds > 0 ? Math.ceil(microseconds / 1000) : SHUTDOWN_TIMEOUT, () => {
      checkStatus(this.window, this.checkAlive);
      return this.registers.CSTS.SHST.text() === 'COMPLETE';
    });
  }

  /** Pin-based interrupts held back, for a polled controller. Not for MSI-X: section 3.1.3. */
  maskInterrupts(): void {
    this.registers.INTMS.write(0xffffffff);
  }

  /** All-ones in CSTS is no status, it is an empty bus. */
  private alive(): void {
    if (this.registers.CSTS.read() !== 0xffffffff) return;
    this.checkAlive();
    const status = this.registers.CSTS.read();
    if (status !== 0xffffffff) return;
    throw new VfioError('ERR_VFIO_DEVICE_GONE', 'The controller answers all-ones: it left the bus.', {
      details: { register: 'CSTS', value: status },
    });
  }

  private async wait(what: string, limit: number, done: () => boolean): Promise<void> {
    const { system } = this;
    const start = system.now();
    while (!done()) {
      const waited = system.now() - start;
      if (waited > limit) {
        this.checkAlive();
        throw new VfioError('ERR_NVME_NOT_READY', `The controller did not ${what} within ${limit} ms.`, {
          details: { limit, waited, CC: this.registers.CC.read(), CSTS: this.registers.CSTS.read() },
        });
      }
      await system.sleep(1);
    }
  }
}
