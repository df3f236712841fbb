/** Features: NVMe 1.4, section 5.21.1. */

import type { Command } from './command.js';
import { everyNamespace, type Namespaces } from './namespaces.js';
import { permanent, Status } from './status.js';

const Feature = {
  arbitration: 0x01,
  powerManagement: 0x02,
  temperatureThreshold: 0x04,
  errorRecovery: 0x05,
  volatileWriteCache: 0x06,
  numberOfQueues: 0x07,
  interruptCoalescing: 0x08,
  interruptVector: 0x09,
  writeAtomicity: 0x0a,
  asynchronousEvents: 0x0b,
} as const;

/** Kelvin. */
export const temperatures = { now: 0x143, warning: 0x157, critical: 0x175 } as const;

const capability = { namespaceSpecific: 1 << 1, changeable: 1 << 2 } as const;

/** What the host chose, and what it would be without a choice. */
export class Features {
  private readonly values = new Map<number, number>();

  constructor(
    private readonly queues: number,
    private readonly vectors: number,
    private readonly writeCache: boolean,
    private readonly namespaces: Namespaces,
    private readonly queuesExist: () => boolean,
  ) {}

  reset(): void {
    this.values.clear();
  }

  get(command: Command): number {
    const feature = command.dword(10) & 0xff;
    const select = (command.dword(10) >>> 8) & 7;
    const known = this.describe(feature);
    if (known === undefined || select > 3) return permanent(Status.invalidField);
    if (select === 3) {
      command.result = known;
      return Status.success;
    }
    if (known & capability.namespaceSpecific) {
      const namespace = this.namespaces.find(command.namespaceId);
      if (typeof namespace === 'number') return namespace;
    }
    if (feature === Feature.interruptVector && (command.dword(11) & 0xffff) >= Math.max(1, this.vectors)) {
      return permanent(Status.invalidField);
    }
    // Nothing can be saved, so that the saved value is the default one.
    const key = this.key(feature, command);
    command.result = (select === 0 ? this.values.get(key) : undefined) ?? this.default(feature, command);
    return Status.success;
  }

  set(command: Command): number {
    const feature = command.dword(10) & 0xff;
    const value = command.dword(11);
    const known = this.describe(feature);
    if (command.dword(10) >>> 31 === 1) return permanent(Status.featureNotSaveable);
    if (known === undefined) return permanent(Status.invalidField);
    if (known & capability.namespaceSpecific) {
      if (command.namespaceId !== everyNamespace) {
        const namespace = this.namespaces.find(command.namespaceId);
        if (typeof namespace === 'number') return namespace;
      }
    } else if (command.namespaceId !== 0 && command.namespaceId !== everyNamespace) {
      return permanent(
        this.namespaces.valid(command.namespaceId) ? Status.featureNotNamespaceSpecific : Status.invalidNamespace,
      );
    }
    if (!(known & capability.changeable)) return permanent(Status.featureNotChangeable);
    switch (feature) {
      case Feature.numberOfQueues:
        return this.setQueues(command, value);
      case Feature.powerManagement:
        if ((value & 0x1f) !== 0) return permanent(Status.invalidField);
        break;
      case Feature.interruptVector:
        if ((value & 0xffff) >= Math.max(1, this.vectors)) return permanent(Status.invalidField);
        break;
      case Feature.temperatureThreshold:
        if (((value >>> 16) & 15) > 8 && ((value >>> 16) & 15) !== 15) return permanent(Status.invalidField);
        break;
      case Feature.errorRecovery:
        if (command.namespaceId === everyNamespace) {
          for (const namespace of this.namespaces) this.values.set(namespaceKey(feature, namespace.id), value & 0xffff);
          return Status.success;
        }
        break;
    }
    this.values.set(this.key(feature, command), value);
    return Status.success;
  }

  /** Refused once there are I/O queues: their number is settled by then. */
  private setQueues(command: Command, value: number): number {
    if ((value & 0xffff) === 0xffff || value >>> 16 === 0xffff) return permanent(Status.invalidField);
    if (this.queuesExist()) return permanent(Status.commandSequenceError);
    command.result = this.allQueues;
    return Status.success;
  }

  /** Both counts from 0. The controller grants all that it has, whatever was asked for. */
  private get allQueues(): number {
    return (((this.queues - 1) << 16) | (this.queues - 1)) >>> 0;
  }

  /** Bits of its capabilities, or undefined for a feature that is not there. */
  private describe(feature: number): number | undefined {
    switch (feature) {
      case Feature.errorRecovery:
        return capability.changeable | capability.namespaceSpecific;
      case Feature.volatileWriteCache:
        return this.writeCache ? capability.changeable : undefined;
      case Feature.arbitration:
      case Feature.powerManagement:
      case Feature.temperatureThreshold:
      case Feature.numberOfQueues:
      case Feature.interruptCoalescing:
      case Feature.interruptVector:
      case Feature.writeAtomicity:
      case Feature.asynchronousEvents:
        return capability.changeable;
      default:
        return undefined;
    }
  }

  /** Some features have a value a namespace, a vector or a sensor. */
  private key(feature: number, command: Command): number {
    if (feature === Feature.errorRecovery) return namespaceKey(feature, command.namespaceId);
    if (feature === Feature.interruptVector) return namespaceKey(feature, command.dword(11) & 0xffff);
    if (feature === Feature.temperatureThreshold) return namespaceKey(feature, (command.dword(11) >>> 16) & 0x3f);
    return feature;
  }

  private default(feature: number, command: Command): number {
    switch (feature) {
      case Feature.arbitration:
        return 7; // no limit to a burst
      case Feature.temperatureThreshold: {
        const sensor = (command.dword(11) >>> 16) & 15;
        const under = ((command.dword(11) >>> 20) & 3) === 1;
        if (sensor > 0) return under ? 0 : 0xffff;
        return under ? 0 : temperatures.warning;
      }
      case Feature.volatileWriteCache:
        return 1;
      case Feature.numberOfQueues:
        return this.allQueues;
      case Feature.interruptVector: {
        const vector = command.dword(11) & 0xffff;
        return vector === 0 ? 0x1_0000 : vector; // the admin queue's vector is never coalesced
      }
      default:
        return 0;
    }
  }
}

const namespaceKey = (feature: number, which: number): number => feature + (which + 1) * 256;
