export { type BackendOption, defaultBackend } from './backend.js';
export {
  type ClosePhase,
  closePhases,
  type Device,
  type DeviceChannel,
  type DeviceInfo,
  IrqIndex,
  type IrqInfo,
  type IrqRequest,
  RegionIndex,
  type RegionInfo,
} from './device/device.js';
export * from './errors/index.js';
export type {
  AddressRange,
  AllocateOptions,
  DmaAddress,
  DmaBuffer,
  DmaDirection,
  DmaSpace,
  DmaTicket,
  Iova,
  PhysicalAddress,
} from './memory/dma.js';
export type { RegisterWindow } from './seam/register-window.js';
export {
  type DeviceMapping,
  type EventWatch,
  type ExitStep,
  type Fd,
  type FileStatus,
  type IoctlPlaces,
  type MemoryMapping,
  type MemoryRequest,
  OpenFlag,
  Protection,
  type SystemCalls,
} from './seam/system-calls.js';
export { MappedWindow, PositionedWindow } from './seam/windows.js';
export * from './uapi/index.js';
