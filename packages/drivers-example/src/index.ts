/** Userspace drivers over VFIO: NVMe, and the edu teaching device. */

export { EDU, Edu, type EduOptions } from './edu/edu.js';
export { Admin } from './nvme/admin.js';
export {
  type AddressHalves,
  AdminOpcode,
  Cns,
  command,
  createCompletionQueue,
  createSubmissionQueue,
  Feature,
  IoOpcode,
  identify,
  type QueuePlace,
} from './nvme/commands.js';
export { Nvme } from './nvme/controller.js';
export {
  type ControllerData,
  controllerLayout,
  decodeController,
  decodeNamespace,
  decodeNamespaceList,
  type NamespaceData,
  namespaceLayout,
} from './nvme/identify.js';
export type { InterruptChoice, InterruptMode } from './nvme/interrupt-mode.js';
export { Namespace, type StreamOptions, type TransferOptions } from './nvme/namespace.js';
export type { NvmeOptions, QueuePairOptions } from './nvme/options.js';
export { QueuePair } from './nvme/queue.js';
export type { CompletionHandler, QueueNamespace } from './nvme/queue-parts.js';
export { NVME } from './nvme/registers.js';
export type { QueueTicket } from './nvme/share.js';
export { NvmeStatus, statusNames } from './nvme/status.js';
