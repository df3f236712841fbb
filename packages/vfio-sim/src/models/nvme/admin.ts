/** Admin commands: NVMe 1.4, section 5. */

import { type Command, checkFlags } from './command.js';
import {
  activeNamespaces,
  identifyController,
  identifyNamespace,
  namespaceDescriptors,
  Structure,
} from './identify.js';
import { resolvePrps, scatter } from './prp.js';
import { CompletionQueue, SubmissionQueue } from './queues.js';
import type { ControllerState } from './state.js';
import { permanent, Status } from './status.js';

const Opcode = {
  deleteSubmissionQueue: 0x00,
  createSubmissionQueue: 0x01,
  getLogPage: 0x02,
  deleteCompletionQueue: 0x04,
  createCompletionQueue: 0x05,
  identify: 0x06,
  abort: 0x08,
  setFeatures: 0x09,
  getFeatures: 0x0a,
  asynchronousEventRequest: 0x0c,
} as const;

/** Carries out one admin command. Answers its status, or `held`; then `done` is called when it ends. */
export function executeAdmin(state: ControllerState, command: Command, done: (status: number) => void): number {
  const wrong = checkFlags(command);
  if (wrong !== Status.success) return wrong;
  switch (command.opcode) {
    case Opcode.createCompletionQueue:
      return createCompletionQueue(state, command);
    case Opcode.createSubmissionQueue:
      return createSubmissionQueue(state, command);
    case Opcode.deleteCompletionQueue:
      return deleteCompletionQueue(state, command);
    case Opcode.deleteSubmissionQueue:
      return deleteSubmissionQueue(state, command);
    case Opcode.identify:
      return identify(state, command);
    case Opcode.getLogPage:
      return answer(state, command, state.logs.get(command));
    case Opcode.setFeatures:
      return state.features.set(command);
    case Opcode.getFeatures:
      return state.features.get(command);
    case Opcode.asynchronousEventRequest:
      return state.events.request(command, done);
    case Opcode.abort:
      return abort(state, command);
    default:
      return permanent(Status.invalidOpcode);
  }
}

/** Sends data to the host's buffer, or passes the status on. */
function answer(state: ControllerState, command: Command, data: Uint8Array | number): number {
  if (typeof data === 'number') return data;
  const where = resolvePrps(state.bus, command.prp1, command.prp2, data.length, state.pageSize);
  if ('status' in where) return where.status;
  return scatter(state.bus, where.segments, data) ? Status.success : Status.dataTransferError;
}

/** Section 5.15. */
function identify(state: ControllerState, command: Command): number {
  const { namespaces, options } = state;
  const id = command.namespaceId;
  const structure = command.dword(10) & 0xff;
  switch (structure) {
    case Structure.controller:
      return answer(state, command, identifyController(options));
    case Structure.namespace:
      if (!namespaces.valid(id)) return permanent(Status.invalidNamespace);
      return answer(state, command, identifyNamespace(namespaces.get(id), options.serial));
    case Structure.activeNamespaces:
      if (id >= 0xffff_fffe) return permanent(Status.invalidNamespace);
      return answer(state, command, activeNamespaces(namespaces, id));
    case Structure.descriptors: {
      const namespace = namespaces.find(id);
      if (typeof namespace === 'number') return namespace;
      return answer(state, command, namespaceDescriptors(namespace, options.serial));
    }
    default:
      return permanent(Status.invalidField);
  }
}

const queueIdentifier = (command: Command): number => command.dword(10) & 0xffff;
/** The field counts from 0. */
const queueSize = (command: Command): number => (command.dword(10) >>> 16) + 1;

/** What both kinds of queue must keep to; 0 if they do. */
function checkQueue(state: ControllerState, command: Command, existing: ReadonlyMap<number, unknown>): number {
  const id = queueIdentifier(command);
  const size = queueSize(command);
  if (id === 0 || id > state.options.queues || existing.has(id)) return permanent(Status.invalidQueueIdentifier);
  if (size < 2 || size > state.options.queueEntries) return permanent(Status.invalidQueueSize);
  if (command.prp1 % BigInt(state.pageSize) !== 0n) return permanent(Status.invalidPrpOffset);
  // CAP.CQR: queues are physically contiguous.
  if ((command.dword(11) & 1) === 0) return permanent(Status.invalidField);
  return Status.success;
}

/** Section 5.3. */
function createCompletionQueue(state: ControllerState, command: Command): number {
  const wrong = checkQueue(state, command, state.queues.completion);
  if (wrong !== Status.success) return wrong;
  if (!state.entrySizesChosen.completion) return permanent(Status.invalidQueueSize);
  const vector = command.dword(11) >>> 16;
  if (vector >= Math.max(1, vectorsInForce(state))) return permanent(Status.invalidInterruptVector);
  const interruptsEnabled = ((command.dword(11) >>> 1) & 1) === 1;
  const queue = new CompletionQueue(
    queueIdentifier(command),
    command.prp1,
    queueSize(command),
    vector,
    interruptsEnabled,
  );
  state.queues.addCompletion(queue);
  return Status.success;
}

function vectorsInForce({ bus, options }: ControllerState): number {
  if (bus.interruptMode === 'msix') return options.vectors;
  return bus.interruptMode === 'msi' ? options.messages : 1;
}

/** Section 5.4. */
function createSubmissionQueue(state: ControllerState, command: Command): number {
  const completionId = command.dword(11) >>> 16;
  const completionQueue = state.queues.completion.get(completionId);
  if (completionId === 0 || completionQueue === undefined) return permanent(Status.completionQueueInvalid);
  const wrong = checkQueue(state, command, state.queues.submission);
  if (wrong !== Status.success) return wrong;
  if (!state.entrySizesChosen.submission) return permanent(Status.invalidQueueSize);
  state.queues.addSubmission(
    new SubmissionQueue(queueIdentifier(command), command.prp1, queueSize(command), completionQueue),
  );
  return Status.success;
}

/** Section 5.5. */
function deleteCompletionQueue(state: ControllerState, command: Command): number {
  const id = queueIdentifier(command);
  const queue = state.queues.completion.get(id);
  if (id === 0 || queue === undefined) return permanent(Status.invalidQueueIdentifier);
  if (queue.submissionQueues.size > 0) return Status.invalidQueueDeletion;
  state.queues.removeCompletion(queue);
  state.queuesChanged();
  return Status.success;
}

/** Section 5.6. */
function deleteSubmissionQueue(state: ControllerState, command: Command): number {
  const id = queueIdentifier(command);
  const queue = state.queues.submission.get(id);
  if (id === 0 || queue === undefined) return permanent(Status.invalidQueueIdentifier);
  state.queues.removeSubmission(queue);
  return Status.success;
}

/** Section 5.1. Bit 0 of the result is 0 if the command was aborted. */
function abort(state: ControllerState, command: Command): number {
  const queue = state.queues.submission.get(command.dword(10) & 0xffff);
  const id = command.dword(10) >>> 16;
  command.result = 1;
  if (queue === undefined) return permanent(Status.invalidField);
  const aborted = queue.id === 0 ? state.events.abort(id) : state.queues.abort(queue, id);
  if (aborted) command.result = 0;
  return Status.success;
}
