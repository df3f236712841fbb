export { type BackendOption, defaultBackend } from './backend.js';
export { Container, type ContainerPath } from './container/container.js';
export { exitPhase } from './container/exit-phases.js';
export {
  deviceExists,
  driverOf,
  findGroup,
  type GroupMember,
  groupOf,
  type IommuGroup,
  servesVfio,
} from './container/find-group.js';
export { Group, type GroupStatus } from './container/group.js';
export { pciAddress } from './container/pci-address.js';
export { isBridgeClass, pciClassName } from './container/pci-class.js';
export { notPermitted, notViable } from './container/refusals.js';
export { Type1 } from './container/type1.js';
export {
  type ClosePhase,
  closePhases,
  type Device,
  type DeviceChannel,
  type DeviceInfo,
  IrqIndex,
  type IrqInfo,
  type IrqRequest,
  type MappedRange,
  RegionIndex,
  type RegionInfo,
} from './device/device.js';
export { encodeIrqRequest } from './device/irq-set.js';
export { type ChannelTicket, KernelChannel, type KernelChannelOptions } from './device/kernel-channel.js';
export { mappableSpan } from './device/mappable-span.js';
export { type ClosableChannel, OpenDevice, type OpenDeviceParts } from './device/open-device.js';
export { setVfToken, vfTokenBytes } from './device/vf-token.js';
export * from './errors/index.js';
export { type BindOptions, DeviceFile, findDeviceFile } from './iommufd/device-file.js';
export { Hwpt, type HwptRequest, type IommuHardware, iommuHardware } from './iommufd/hwpt.js';
export { type CopyRequest, Ioas, type IoasAccess, type MapFileRequest } from './iommufd/ioas.js';
export { Iommufd, type IommufdCall } from './iommufd/iommufd.js';
export { IommufdObject } from './iommufd/object.js';
export { type ArenaPiece, DmaArena } from './memory/arena.js';
export { attachDma } from './memory/attach.js';
export type { Backing } from './memory/backing.js';
export { type BufferParts, ContiguousBuffer } from './memory/buffer.js';
export { addressIn } from './memory/buffer-index.js';
export { DirtyPages, type DirtyRange } from './memory/dirty-pages.js';
export { type DirtySource, DirtyTracker, type ReadDirtyOptions, type TrackedRange } from './memory/dirty-tracker.js';
export type {
  AddressRange,
  AllocateOptions,
  DeviceRange,
  DmaAddress,
  DmaBuffer,
  DmaDirection,
  DmaSpace,
  DmaTicket,
  FileRange,
  Headroom,
  Iova,
  MapOptions,
  MapSource,
  PhysicalAddress,
  Place,
  Way,
} from './memory/dma.js';
export { isImmovable } from './memory/immovable.js';
export { IommufdSpace, type IommufdSpaceOptions, isIommufdSpace } from './memory/iommufd-space.js';
export { IovaAllocator, type IovaObstacle, type IovaOptions, msiWindow } from './memory/iova-allocator.js';
export { type IovaSpace, isIovaSpace } from './memory/iova-space.js';
export { MappedBuffer, type MappedParts } from './memory/mapped-buffer.js';
export type { Mapper, MapperInfo, MapRequest } from './memory/mapper.js';
export type { MemberRequest, OpenMember } from './memory/member.js';
export { type MemlockState, mappingOutOfMemory, memlock } from './memory/memlock.js';
export { PagedBuffer, type PagedParts } from './memory/paged-buffer.js';
export type { DescriptorKind, Descriptors, PassedOn } from './memory/passed-on.js';
export { isType1Space, Type1Space } from './memory/type1-space.js';
export { type OpenOptions, openDevice } from './opening/open.js';
export { chooseWay, openSpace, type SpaceOptions, type WayOption, type WayQuestion } from './opening/ways.js';
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
