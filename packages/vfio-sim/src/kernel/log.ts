/** The kernel log, and DMA faults as data. */

/** A DMA access that the machine refused. */
export interface DmaFault {
  /** The device that tried: `dddd:bb:dd.f`. */
  readonly device: string;
  /** Device address of the first byte that was refused. */
  readonly address: bigint;
  /** Bytes of the whole access. */
  readonly length: number;
  readonly write: boolean;
  /**
   * `unmapped`: nothing is mapped there. `protection`: mapped, but not for this direction. `bus master`: bus mastering is off.
   * `no memory`: without an IOMMU, no memory of this process has this physical address.
   */
  readonly reason: 'unmapped' | 'protection' | 'bus master' | 'no memory';
}

/** Lines that a real kernel would have written to its log, and the faults behind some of them. */
export class KernelLog {
  readonly lines: string[] = [];
  readonly faults: DmaFault[] = [];

  add(line: string): void {
    this.lines.push(line);
  }

  /** Remembers a fault and writes the line that Linux writes for it (Intel IOMMU wording). */
  fault(fault: DmaFault): void {
    this.faults.push(fault);
    const kind = fault.write ? 'Write' : 'Read';
    const address = `0x${fault.address.toString(16)}`;
    if (fault.reason === 'bus master') {
      this.add(`pci ${fault.device}: DMA ${kind.toLowerCase()} of ${address} went nowhere: bus mastering is off`);
    } else if (fault.reason === 'no memory') {
      this.add(
        `pci ${fault.device}: DMA ${kind.toLowerCase()} of physical address ${address}, which is not this process's memory`,
      );
    } else {
      const code = fault.write ? '0x05' : '0x06';
      const function_ = fault.device.replace(/^0000:/, '');
      this.add(
        `DMAR: [DMA ${kind} NO_PASID] Request device [${function_}] fault addr ${address} [fault reason ${code}] ` +
          `PTE ${kind} access is not set`,
      );
    }
  }
}
