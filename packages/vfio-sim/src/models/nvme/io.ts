/** I/O commands of the NVM command set: NVMe 1.4, section 6. */

import { type Command, checkFlags } from './command.js';
import { everyNamespace, type Namespace } from './namespaces.js';
import { gather, resolvePrps, scatter } from './prp.js';
import type { ControllerState } from './state.js';
import { permanent, Status } from './status.js';

const Opcode = {
  flush: 0x00,
  write: 0x01,
  read: 0x02,
  compare: 0x05,
  writeZeroes: 0x08,
  datasetManagement: 0x09,
} as const;

/** Bytes of one range of Dataset Management. */
const rangeBytes = 16;

/** Carries out one I/O command and answers its status. */
export function executeIo(state: ControllerState, command: Command): number {
  const wrong = checkFlags(command);
  if (wrong !== Status.success) return wrong;
  // Flush alone may speak to all namespaces at once.
  if (command.opcode === Opcode.flush && command.namespaceId === everyNamespace) {
    for (const namespace of state.namespaces) {
      const status = flush(state, namespace);
      if (status !== Status.success) return status;
    }
    return Status.success;
  }
  const namespace = state.namespaces.find(command.namespaceId);
  if (typeof namespace === 'number') return namespace;
  switch (command.opcode) {
    case Opcode.flush:
      return flush(state, namespace);
    case Opcode.read:
      return read(state, command, namespace);
    case Opcode.write:
      return write(state, command, namespace);
    case Opcode.compare:
      return compare(state, command, namespace);
    case Opcode.writeZeroes:
      return writeZeroes(state, command, namespace);
    case Opcode.datasetManagement:
      return datasetManagement(state, command, namespace);
    default:
      return permanent(Status.invalidOpcode);
  }
}

/** Bytes that the command moves, or the status of a transfer that is too large or reaches past the end. */
function checkTransfer(state: ControllerState, command: Command, { disk }: Namespace): { length: number } | number {
  const length = command.blockCount * disk.blockSize;
  const { mdts } = state.options;
  if (mdts !== 0 && length > 4096 * 2 ** mdts) return permanent(Status.invalidField);
  if (outside(command.firstBlock, command.blockCount, disk.blocks)) return permanent(Status.lbaOutOfRange);
  return { length };
}

const outside = (first: number, count: number, blocks: number): boolean => first + count > blocks;

/** Section 6.9. */
function read(state: ControllerState, command: Command, namespace: Namespace): number {
  const transfer = checkTransfer(state, command, namespace);
  if (typeof transfer === 'number') return transfer;
  const where = resolvePrps(state.bus, command.prp1, command.prp2, transfer.length, state.pageSize);
  if ('status' in where) return where.status;
  const data = state.buffer(transfer.length);
  if (!readDisk(state, namespace, command.firstBlock, data)) return permanent(Status.unrecoveredReadError);
  if (!scatter(state.bus, where.segments, data)) return Status.dataTransferError;
  state.logs.statistics.reads++;
  state.logs.statistics.read += data.length;
  return Status.success;
}

/** Section 6.15. */
function write(state: ControllerState, command: Command, namespace: Namespace): number {
  const transfer = checkTransfer(state, command, namespace);
  if (typeof transfer === 'number') return transfer;
  if (namespace.disk.readOnly) return permanent(Status.writeProtected);
  const where = resolvePrps(state.bus, command.prp1, command.prp2, transfer.length, state.pageSize);
  if ('status' in where) return where.status;
  const data = state.buffer(transfer.length);
  if (!gather(state.bus, where.segments, data)) return Status.dataTransferError;
  const done = changeDisk(state, () => namespace.disk.write(command.firstBlock, data));
  if (done !== Status.success) return done;
  state.logs.statistics.writes++;
  state.logs.statistics.written += data.length;
  // Force Unit Access (bit 30): on the medium before the command completes.
  return (command.dword(12) >>> 30) & 1 ? flush(state, namespace) : Status.success;
}

/** Section 6.6. */
function compare(state: ControllerState, command: Command, namespace: Namespace): number {
  const transfer = checkTransfer(state, command, namespace);
  if (typeof transfer === 'number') return transfer;
  const where = resolvePrps(state.bus, command.prp1, command.prp2, transfer.length, state.pageSize);
  if ('status' in where) return where.status;
  const expected = state.buffer(transfer.length);
  if (!gather(state.bus, where.segments, expected)) return Status.dataTransferError;
  const stored = new Uint8Array(transfer.length);
  if (!readDisk(state, namespace, command.firstBlock, stored)) return permanent(Status.unrecoveredReadError);
  state.logs.statistics.reads++;
  return stored.every((byte, i) => byte === expected[i]) ? Status.success : Status.compareFailure;
}

/** Section 6.17: moves no data, so that MDTS does not limit it. */
function writeZeroes(state: ControllerState, command: Command, { disk }: Namespace): number {
  if (outside(command.firstBlock, command.blockCount, disk.blocks)) return permanent(Status.lbaOutOfRange);
  if (disk.readOnly) return permanent(Status.writeProtected);
  return changeDisk(state, () => disk.clear(command.firstBlock, command.blockCount));
}

/** Section 6.7. Of its hints only Deallocate has an effect: the blocks read as zeroes then. */
function datasetManagement(state: ControllerState, command: Command, { disk }: Namespace): number {
  const count = (command.dword(10) & 0xff) + 1;
  const deallocate = (command.dword(11) >>> 2) & 1;
  const where = resolvePrps(state.bus, command.prp1, command.prp2, count * rangeBytes, state.pageSize);
  if ('status' in where) return where.status;
  const ranges = new DataView(new ArrayBuffer(count * rangeBytes));
  if (!gather(state.bus, where.segments, new Uint8Array(ranges.buffer))) return Status.dataTransferError;
  if (!deallocate) return Status.success;
  if (disk.readOnly) return permanent(Status.writeProtected);
  for (let at = 0; at < ranges.byteLength; at += rangeBytes) {
    const blocks = ranges.getUint32(at + 4, true);
    const first = ranges.getUint32(at + 12, true) * 2 ** 32 + ranges.getUint32(at + 8, true);
    if (outside(first, blocks, disk.blocks)) return permanent(Status.lbaOutOfRange);
    const status = changeDisk(state, () => disk.clear(first, blocks));
    if (status !== Status.success) return status;
  }
  return Status.success;
}

/** Section 6.8. */
function flush(state: ControllerState, { disk }: Namespace): number {
  return changeDisk(state, () => disk.flush());
}

/** A disk that throws is a medium that fails. */
function readDisk(state: ControllerState, { disk }: Namespace, block: number, into: Uint8Array): boolean {
  try {
    disk.read(block, into);
    return true;
  } catch {
    state.logs.statistics.mediaErrors++;
    return false;
  }
}

function changeDisk(state: ControllerState, change: () => void): number {
  try {
    change();
    return Status.success;
  } catch {
    state.logs.statistics.mediaErrors++;
    return permanent(Status.writeFault);
  }
}
